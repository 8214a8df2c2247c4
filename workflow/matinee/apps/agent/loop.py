"""The agent: recall, plan, act, reflect, answer, keep. Every task ends in exactly one answer."""

from __future__ import annotations

from collections.abc import Sequence

from matinee.apps.agent.acting import CallOutcome, attempt
from matinee.apps.agent.events import (
    AgentLimits,
    Answered,
    Kept,
    MemoryHit,
    PlanMade,
    Reflected,
    Subtask,
    SubtaskChanged,
    Task,
)
from matinee.apps.agent.memory import RecallingMemory
from matinee.apps.agent.planning import TaskPlan, TaskPlanner
from matinee.apps.agent.reflecting import BoundedReflection, NoReflection
from matinee.apps.agent.thinking import AgentRun, Play, ShortTermMemory
from matinee.apps.agent.tools import ToolSource
from matinee.evaluation.playing import system_message
from matinee.messages.conversations import Message, Tool
from matinee.messages.parsing import CallForm

NO_RESULT = "没有得到结果。"
_STEP = "现在做第{number}步：{goal}"
_WRITE_UP = "请根据以上结果，用一两句话回答：{question}"


class Agent:
    """Answers tasks with tools, within limits. Its parts can be switched off one by one.

    `memory`: None switches long-term memory off. `reflection`: `NoReflection` switches it off.
    `form`: how the model writes calls.
    """

    def __init__(
        self,
        source: ToolSource,
        planner: TaskPlanner,
        *,
        form: CallForm = "hermes",
        memory: RecallingMemory | None = None,
        reflection: BoundedReflection | None = None,
        limits: AgentLimits | None = None,
    ) -> None:
        self._source = source
        self._planner = planner
        self._form = form
        self._memory = memory
        self._reflection = reflection if reflection is not None else NoReflection()
        self._limits = limits if limits is not None else AgentLimits()

    def play(self, task: Task) -> Play[Answered]:
        """The task as a generator of events and requests, for `driving`; the last event is its only
        `Answered`."""
        answered = yield from self._recall(task)
        if answered is None:
            answered = yield from self._work(task)
        yield answered
        return answered

    def _recall(self, task: Task) -> Play[Answered | None]:
        """An earlier answer, where there is one that may be used again."""
        recalled = self._memory.recall(task) if self._memory is not None else None
        if recalled is None:
            return None
        yield MemoryHit(recalled.entry, recalled.judgement)
        if not recalled.judgement.usable:
            return None
        return Answered(recalled.text, complete=True, sources=recalled.entry.sources, reused=True)

    def _work(self, task: Task) -> Play[Answered]:
        run = self._start(task)
        plan = yield from self._planner.plan(run)
        yield PlanMade(self._planner.name, plan.subtasks, plan.procedure, plan.note)
        run.reserved = 0 if plan.whole else 1
        board = list(plan.subtasks)
        for position in range(len(board)):
            board[position] = yield from self._settle(run, plan, board, board[position])
        text = yield from self._write_up(run, plan, board)
        answered = self._answer(run, board, text)
        if self._memory is not None and answered.complete and answered.sources:
            yield Kept(self._memory.keep(task, answered.text, answered.sources))
        return answered

    def _start(self, task: Task) -> AgentRun:
        opening = [Message("system", system_message(task.today)), *task.history]
        tools = self._source.tools
        context = ShortTermMemory(opening, tools, self._limits.context_tokens)
        return AgentRun(task, self._source, self._limits, self._form, context)

    def _settle(
        self, run: AgentRun, plan: TaskPlan, board: Sequence[Subtask], subtask: Subtask
    ) -> Play[Subtask]:
        """The subtask in its final status."""
        status = {other.number: other.status for other in board}
        hindered = [number for number in subtask.after if status.get(number) != "done"]
        if hindered:
            skipped = subtask.becomes("skipped", reason=f"第{hindered[0]}步没有完成")
            yield SubtaskChanged(skipped)
            return skipped
        run.say(Message("user", _told(run, plan, subtask)))
        while True:
            subtask = subtask.becomes("running")
            yield SubtaskChanged(subtask)
            outcome = yield from attempt(run, subtask, _shown(run, plan, subtask), plan.rounds)
            subtask = _ended(subtask, outcome)
            yield SubtaskChanged(subtask)
            if subtask.status == "done":
                return subtask
            decision = self._reflection.decide(subtask, outcome, run.steps_left("act"))
            yield Reflected(subtask, decision.again, decision.reason)
            if not decision.again:
                return subtask
            run.say(Message("user", decision.advice))

    def _write_up(self, run: AgentRun, plan: TaskPlan, board: Sequence[Subtask]) -> Play[str]:
        """The answer in the model's words; where it writes none, what the subtasks found."""
        if plan.whole:
            return board[0].result
        run.say(Message("user", _WRITE_UP.format(question=run.task.question)))
        thought = yield from run.think("answer", run.source.tools)
        if thought is not None and thought.parse.error is None and thought.parse.content.strip():
            return thought.parse.content.strip()
        return "\n".join(subtask.result for subtask in board if subtask.status == "done")

    def _answer(self, run: AgentRun, board: Sequence[Subtask], text: str) -> Answered:
        failed = tuple(
            subtask for subtask in board if subtask.status != "done" and not subtask.optional
        )
        if failed:
            text = self._reflection.partial(text.strip(), failed)
        usage = run.usage
        return Answered(
            text.strip() or NO_RESULT,
            complete=not failed,
            missing=tuple(f"{subtask.goal}（{subtask.reason}）" for subtask in failed),
            sources=tuple(run.sources),
            steps=usage.steps,
            calls=usage.calls,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=usage.seconds,
        )


def _told(run: AgentRun, plan: TaskPlan, subtask: Subtask) -> str:
    """What the model is told to do: the question itself, or the next step of the plan."""
    if plan.whole:
        return run.task.question
    step = _STEP.format(number=subtask.number, goal=subtask.goal)
    return f"任务：{run.task.question}\n{step}" if subtask.number == 1 else step


def _shown(run: AgentRun, plan: TaskPlan, subtask: Subtask) -> tuple[Tool, ...]:
    """The tools that the model may use for the subtask."""
    if not plan.narrow or subtask.tool is None:
        return run.source.tools
    return tuple(tool for tool in run.source.tools if tool.name == subtask.tool)


def _ended(subtask: Subtask, outcome: CallOutcome) -> Subtask:
    return subtask.becomes(
        "done" if outcome.done else "failed", result=outcome.result, reason=outcome.reason
    )
