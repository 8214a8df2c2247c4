"""The agent: recall, plan, act, reflect, answer, keep. Every task ends in exactly one answer."""

from __future__ import annotations

from collections.abc import Sequence

from matinee.apps.agent.acting import NO_STEPS, CallOutcome, another_way, attempt
from matinee.apps.agent.events import (
    AgentLimits,
    Answered,
    Kept,
    PlanMade,
    Reflected,
    Status,
    Subtask,
    SubtaskChanged,
    Task,
)
from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.agent.planning import Planner
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

    `memory`: None switches long-term memory off. `reflection`: whether a subtask that failed is
    tried another way, up to `limits.max_attempts` times, and the answer then says what is missing.
    `form`: how the model writes calls.
    """

    def __init__(
        self,
        source: ToolSource,
        planner: Planner | None = None,
        *,
        form: CallForm = "hermes",
        memory: LongTermMemory | None = None,
        reflection: bool = False,
        limits: AgentLimits | None = None,
    ) -> None:
        self._source = source
        self._planner = planner or Planner()
        self._form = form
        self._memory = memory
        self._reflection = reflection
        self._limits = limits or AgentLimits()

    def play(self, task: Task) -> Play[Answered]:
        """The task as a generator of events and requests, for `driving`; the last event is its only
        `Answered`."""
        hit = self._memory.recall(task) if self._memory is not None else None
        if hit is not None:
            yield hit
        if hit is not None and hit.judgement.usable:
            answered = Answered(hit.text, complete=True, sources=hit.entry.sources, reused=True)
        else:
            answered = yield from self._work(task)
        yield answered
        return answered

    def _work(self, task: Task) -> Play[Answered]:
        opening = [Message("system", system_message(task.today)), *task.history]
        context = ShortTermMemory(opening, self._source.tools, self._limits.context_tokens)
        run = AgentRun(task, self._source, self._limits, self._form, context)
        plan = yield from self._planner.plan(run)
        yield plan
        run.reserved = 0 if plan.whole else 1
        board = list(plan.subtasks)
        for position in range(len(board)):
            board[position] = yield from self._settle(run, plan, board, board[position])
        text = yield from _write_up(run, plan, board)
        answered = self._answer(run, board, text)
        if self._memory is not None and answered.complete and answered.sources:
            yield Kept(self._memory.keep(task, answered.text, answered.sources))
        return answered

    def _settle(
        self, run: AgentRun, plan: PlanMade, board: Sequence[Subtask], subtask: Subtask
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
            ended: Status = "done" if outcome.done else "failed"
            subtask = subtask.becomes(ended, result=outcome.result, reason=outcome.reason)
            yield SubtaskChanged(subtask)
            if outcome.done:
                return subtask
            reflected = self._reflect(run, subtask, outcome)
            yield reflected
            if not reflected.again:
                return subtask
            run.say(Message("user", another_way(outcome)))

    def _reflect(self, run: AgentRun, subtask: Subtask, outcome: CallOutcome) -> Reflected:
        """Whether the subtask, which has just failed, is tried again."""
        if not self._reflection:
            return Reflected(subtask, False, outcome.reason)
        if run.steps_left("act") < 1:
            return Reflected(subtask, False, NO_STEPS)
        if subtask.attempts >= self._limits.max_attempts:
            return Reflected(subtask, False, f"已经试了{subtask.attempts}次：{outcome.reason}")
        return Reflected(subtask, True, outcome.reason)

    def _answer(self, run: AgentRun, board: Sequence[Subtask], text: str) -> Answered:
        missing = tuple(
            f"{subtask.goal}（{subtask.reason}）"
            for subtask in board
            if subtask.status != "done" and not subtask.optional
        )
        text = text.strip()
        if missing and self._reflection:
            listed = "\n".join(f"- {one}" for one in missing)
            text = f"{text}\n\n没有完成：\n{listed}".strip()
        return Answered(
            text or NO_RESULT,
            complete=not missing,
            missing=missing,
            sources=tuple(run.sources),
            usage=run.usage,
        )


def _write_up(run: AgentRun, plan: PlanMade, board: Sequence[Subtask]) -> Play[str]:
    """The answer in the model's words; where it writes none, what the subtasks found."""
    if plan.whole:
        return board[0].result
    run.say(Message("user", _WRITE_UP.format(question=run.task.question)))
    wrote = yield from run.think("answer", run.source.tools)
    if wrote is not None and wrote.parse.error is None and wrote.parse.content.strip():
        return wrote.parse.content
    return "\n".join(subtask.result for subtask in board if subtask.status == "done")


def _told(run: AgentRun, plan: PlanMade, subtask: Subtask) -> str:
    """What the model is told to do: the question itself, or the next step of the plan."""
    if plan.whole:
        return run.task.question
    step = _STEP.format(number=subtask.number, goal=subtask.goal)
    return f"任务：{run.task.question}\n{step}" if subtask.number == 1 else step


def _shown(run: AgentRun, plan: PlanMade, subtask: Subtask) -> tuple[Tool, ...]:
    """The tools that the model may use; a procedure's step that names one is shown that one."""
    if not plan.procedure or subtask.tool is None:
        return run.source.tools
    return tuple(tool for tool in run.source.tools if tool.name == subtask.tool)
