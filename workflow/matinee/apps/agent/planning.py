"""Planners: how a task is cut into subtasks. Four ways behind one interface."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from matinee.apps.agent.events import PlannerName, Subtask
from matinee.apps.agent.thinking import AgentRun, Play
from matinee.messages.conversations import Message
from matinee.runtime.errors import UserError
from matinee.runtime.strict import Strict

_LINE = re.compile(
    r"^\s*(?:第?\s*(?:\d{1,2}|[一二三四五六七八九十])\s*[.、．)）:：步]|[-*•])\s*[:：、.]?\s*(.+)$"
)
_ASK_FOR_PLAN = (
    "先不要调用工具。请把下面的任务分成最多{most}个步骤，每行写一步，"
    "格式为“1. 步骤”，每一步只做一件事。\n任务：{question}"
)
UNREADABLE = "模型没有写出能读懂的步骤，按一个任务执行"
NO_PROCEDURE = "没有适合这个问题的规程，按一个任务执行"


@dataclass(frozen=True)
class TaskPlan:
    """What is to be done.

    `rounds`: rounds of calls in one attempt at a subtask. `narrow`: a subtask with a tool is shown
    that tool only. `procedure` and `note`: see `PlanMade`.
    """

    subtasks: tuple[Subtask, ...]
    rounds: int
    narrow: bool = False
    procedure: str = ""
    note: str = ""

    @property
    def whole(self) -> bool:
        """Whether the only subtask is the question itself."""
        return len(self.subtasks) == 1 and self.subtasks[0].tool is None


class TaskPlanner(Protocol):
    """Makes the plan of a task."""

    @property
    def name(self) -> PlannerName:
        """Which of the four it is."""
        ...

    def plan(self, run: AgentRun) -> Play[TaskPlan]:
        """The plan; may ask the model. Never empty."""
        ...


class DirectPlanner:
    """The question as it is, with one round of calls: call, read, answer."""

    name: PlannerName = "direct"

    def plan(self, run: AgentRun) -> Play[TaskPlan]:
        """One subtask, one round."""
        return TaskPlan((Subtask(1, run.task.question),), rounds=1)
        yield  # a generator like the others, though it asks nothing


class ReactPlanner:
    """The question as it is, with call after call until the model has what it needs.

    S. Yao and others, ReAct: Synergizing Reasoning and Acting in Language Models, 2023.
    """

    name: PlannerName = "react"

    def plan(self, run: AgentRun) -> Play[TaskPlan]:
        """One subtask, as many rounds as are allowed."""
        return TaskPlan((Subtask(1, run.task.question),), rounds=run.limits.max_rounds)
        yield


class PlanFirstPlanner:
    """The model writes down the steps first; then each step is worked on.

    L. Wang and others, Plan-and-Solve Prompting, 2023.
    """

    name: PlannerName = "plan"

    def plan(self, run: AgentRun) -> Play[TaskPlan]:
        """The steps that the model wrote; one subtask where it wrote none."""
        most = run.limits.max_subtasks
        asked = _ASK_FOR_PLAN.format(most=most, question=run.task.question)
        run.say(Message("user", asked))
        thought = yield from run.think("plan", run.source.tools)
        goals: tuple[str, ...] = ()
        if thought is not None:
            run.say(Message("assistant", thought.text.strip()))
            goals = read_steps(thought.parse.content)[:most]
        if len(goals) < 2:
            return TaskPlan(
                (Subtask(1, run.task.question),), rounds=run.limits.max_rounds, note=UNREADABLE
            )
        subtasks = tuple(Subtask(number, goal) for number, goal in enumerate(goals, start=1))
        return TaskPlan(subtasks, rounds=run.limits.max_rounds)


class SopPlanner:
    """A written procedure where one fits the question; the whole question as one task elsewhere."""

    name: PlannerName = "sop"

    def __init__(self, procedures: Sequence[Procedure]) -> None:
        self._procedures = tuple(procedures)

    def plan(self, run: AgentRun) -> Play[TaskPlan]:
        """The steps of the first procedure that fits."""
        procedure = procedure_for(self._procedures, run.task.question)
        rounds = run.limits.max_rounds
        if procedure is None:
            return TaskPlan((Subtask(1, run.task.question),), rounds=rounds, note=NO_PROCEDURE)
        subtasks = tuple(
            Subtask(number, step.goal, tool=step.tool, optional=step.optional, after=step.after)
            for number, step in enumerate(procedure.steps, start=1)
        )
        return TaskPlan(subtasks, rounds=rounds, narrow=True, procedure=procedure.title)
        yield


def planner_of(name: PlannerName, procedures: Sequence[Procedure] = ()) -> TaskPlanner:
    """The planner of that name; `sop` follows the procedures."""
    if name == "sop":
        return SopPlanner(procedures)
    plain: dict[PlannerName, type[TaskPlanner]] = {
        "direct": DirectPlanner,
        "react": ReactPlanner,
        "plan": PlanFirstPlanner,
    }
    return plain[name]()


def read_steps(text: str) -> tuple[str, ...]:
    """The steps in a model's text: numbered or bulleted lines, in order."""
    matches = (_LINE.match(line) for line in text.splitlines())
    return tuple(match[1].strip() for match in matches if match is not None and match[1].strip())


_Words = Annotated[tuple[str, ...], Field(min_length=1)]


class ProcedureStep(Strict):
    """One step. `tool`: must answer for the step to be done; without it the step is one inference.

    `after`: numbers (from 1) of earlier steps that must be done; where one is not, the step is
    skipped. `optional`: its failure leaves the task complete.
    """

    goal: Annotated[str, Field(min_length=1)]
    tool: str | None = None
    after: tuple[int, ...] = ()
    optional: bool = False


class Procedure(Strict):
    """A procedure for the tasks whose question has one word of every group in `words`.

    `unless`: a question with one of these words is another kind of task.
    """

    title: Annotated[str, Field(min_length=1)]
    words: Annotated[tuple[_Words, ...], Field(min_length=1)]
    unless: tuple[str, ...] = ()
    steps: Annotated[tuple[ProcedureStep, ...], Field(min_length=1)]

    def fits(self, question: str) -> bool:
        """Whether the question is of this kind."""
        return all(any(word in question for word in group) for group in self.words) and not any(
            word in question for word in self.unless
        )


def read_procedures(path: Path, tools: Collection[str]) -> tuple[Procedure, ...]:
    """The procedures of a YAML file, a list. Raises UserError, naming the entry.

    `tools`: names of the tools at hand; a step may name no other.
    """
    try:
        entries: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        procedures = TypeAdapter(tuple[Procedure, ...]).validate_python(entries)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "(file)"
        raise UserError(
            f"{path}: entry {where}: {first['msg']}. The file is a list of procedures with the "
            "keys title, words, unless and steps."
        ) from error
    for procedure in procedures:
        _refuse_unfit(path, procedure, tools)
    return procedures


def procedure_for(procedures: Sequence[Procedure], question: str) -> Procedure | None:
    """The first procedure that fits."""
    return next((procedure for procedure in procedures if procedure.fits(question)), None)


def _refuse_unfit(path: Path, procedure: Procedure, tools: Collection[str]) -> None:
    for number, step in enumerate(procedure.steps, start=1):
        where = f"{path}: procedure {procedure.title!r}, step {number}"
        if step.tool is not None and step.tool not in tools:
            raise UserError(
                f"{where}: the tool {step.tool!r} is not at hand. Tools: {', '.join(tools)}."
            )
        late = [earlier for earlier in step.after if not 1 <= earlier < number]
        if late:
            raise UserError(
                f"{where}: `after` names step {late[0]}; only earlier steps, from 1, can be named."
            )
