"""How a task is cut into subtasks: four ways, and the written procedures of one of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from matinee.apps.agent.events import PlanMade, PlannerName, Subtask
from matinee.apps.agent.thinking import AgentRun, Play
from matinee.messages.conversations import Message
from matinee.runtime.errors import UserError
from matinee.runtime.strict import Strict, read_yaml

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
class Planner:
    """Cuts a task into subtasks, in one of four ways.

    `direct`: the question as it is, with one round of calls. `react`: call after call until the
    model has what it needs (S. Yao and others, ReAct: Synergizing Reasoning and Acting in Language
    Models, 2023). `plan`: the model writes down the steps first, then each is worked on (L. Wang
    and others, Plan-and-Solve Prompting, 2023). `sop`: the first of the written `procedures` that
    fits the question. What cannot be cut is one subtask.
    """

    name: PlannerName = "react"
    procedures: tuple[Procedure, ...] = ()

    def plan(self, run: AgentRun) -> Play[PlanMade]:
        """The plan; may ask the model. Never empty."""
        whole = PlanMade((Subtask(1, run.task.question),), run.limits.max_rounds)
        if self.name == "direct":
            return replace(whole, rounds=1)
        if self.name == "plan":
            goals = yield from _written_steps(run)
            if len(goals) < 2:
                return replace(whole, note=UNREADABLE)
            return replace(whole, subtasks=tuple(map(Subtask, itertools.count(1), goals)))
        if self.name == "sop":
            procedure = procedure_for(self.procedures, run.task.question)
            if procedure is None:
                return replace(whole, note=NO_PROCEDURE)
            subtasks = tuple(
                Subtask(number, step.goal, tool=step.tool, optional=step.optional, after=step.after)
                for number, step in enumerate(procedure.steps, start=1)
            )
            return replace(whole, subtasks=subtasks, procedure=procedure.title)
        return whole


def _written_steps(run: AgentRun) -> Play[tuple[str, ...]]:
    """The steps that the model writes down; none where its steps are used up."""
    most = run.limits.max_subtasks
    run.say(Message("user", _ASK_FOR_PLAN.format(most=most, question=run.task.question)))
    wrote = yield from run.think("plan", run.source.tools)
    if wrote is None:
        return ()
    run.say(Message("assistant", wrote.text.strip()))
    return read_steps(wrote.parse.content)[:most]


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
    kind = TypeAdapter(tuple[Procedure, ...])
    procedures = read_yaml(path, kind, "title, words, unless and steps")
    for procedure in procedures:
        for number, step in enumerate(procedure.steps, start=1):
            where = f"{path}: procedure {procedure.title!r}, step {number}"
            if step.tool is not None and step.tool not in tools:
                raise UserError(
                    f"{where}: the tool {step.tool!r} is not at hand. Tools: {', '.join(tools)}."
                )
            late = [earlier for earlier in step.after if not 1 <= earlier < number]
            if late:
                raise UserError(
                    f"{where}: `after` names step {late[0]}; only earlier steps, from 1, can be "
                    "named."
                )
    return procedures


def procedure_for(procedures: Sequence[Procedure], question: str) -> Procedure | None:
    """The first procedure that fits."""
    return next((procedure for procedure in procedures if procedure.fits(question)), None)
