"""Planners: how a task is cut into subtasks. Four ways behind one interface."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matinee.apps.agent.events import PlannerName
from matinee.apps.agent.procedures import Procedure, procedure_for
from matinee.apps.agent.subtasks import Subtask
from matinee.apps.agent.thinking import Play, Run
from matinee.messages.conversations import Message

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
class Plan:
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


class Planner(Protocol):
    """Makes the plan of a task."""

    @property
    def name(self) -> PlannerName:
        """Which of the four it is."""
        ...

    def plan(self, run: Run) -> Play[Plan]:
        """The plan; may ask the model. Never empty."""
        ...


class DirectPlanner:
    """The question as it is, with one round of calls: call, read, answer."""

    name: PlannerName = "direct"

    def plan(self, run: Run) -> Play[Plan]:
        """One subtask, one round."""
        return Plan((Subtask(1, run.task.question),), rounds=1)
        yield  # a generator like the others, though it asks nothing


class ReactPlanner:
    """The question as it is, with call after call until the model has what it needs.

    S. Yao and others, ReAct: Synergizing Reasoning and Acting in Language Models, 2023.
    """

    name: PlannerName = "react"

    def plan(self, run: Run) -> Play[Plan]:
        """One subtask, as many rounds as are allowed."""
        return Plan((Subtask(1, run.task.question),), rounds=run.limits.max_rounds)
        yield


class PlanFirstPlanner:
    """The model writes down the steps first; then each step is worked on.

    L. Wang and others, Plan-and-Solve Prompting, 2023.
    """

    name: PlannerName = "plan"

    def plan(self, run: Run) -> Play[Plan]:
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
            return Plan(
                (Subtask(1, run.task.question),), rounds=run.limits.max_rounds, note=UNREADABLE
            )
        subtasks = tuple(Subtask(number, goal) for number, goal in enumerate(goals, start=1))
        return Plan(subtasks, rounds=run.limits.max_rounds)


class SopPlanner:
    """A written procedure where one fits the question; the whole question as one task elsewhere."""

    name: PlannerName = "sop"

    def __init__(self, procedures: Sequence[Procedure]) -> None:
        self._procedures = tuple(procedures)

    def plan(self, run: Run) -> Play[Plan]:
        """The steps of the first procedure that fits."""
        procedure = procedure_for(self._procedures, run.task.question)
        rounds = run.limits.max_rounds
        if procedure is None:
            return Plan((Subtask(1, run.task.question),), rounds=rounds, note=NO_PROCEDURE)
        subtasks = tuple(
            Subtask(number, step.goal, tool=step.tool, optional=step.optional, after=step.after)
            for number, step in enumerate(procedure.steps, start=1)
        )
        return Plan(subtasks, rounds=rounds, narrow=True, procedure=procedure.title)
        yield


def read_steps(text: str) -> tuple[str, ...]:
    """The steps in a model's text: numbered or bulleted lines, in order."""
    matches = (_LINE.match(line) for line in text.splitlines())
    return tuple(match[1].strip() for match in matches if match is not None and match[1].strip())
