"""The tasks on which ways of running the agent are compared, read from YAML and checked."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from matinee.messages.scenarios import Fault, GoldCall
from matinee.runtime.errors import UserError
from matinee.runtime.places import RESOURCES
from matinee.runtime.strict import Strict, read_yaml

TASKS = RESOURCES / "tasks"
PROCEDURES = TASKS / "procedures.yaml"
Kind = Literal["chain", "detour", "repeat", "procedure", "impossible"]
KINDS: tuple[Kind, ...] = ("chain", "detour", "repeat", "procedure", "impossible")
# A tool that is down fails this often, which no task outlasts.
_EVERY_CALL = 100


class TaskQuestion(Strict):
    """One question, asked in a conversation of its own.

    `after_days`: since the ask before. `gold`: rounds of calls that lead to the answer; a call may
    fail where the world makes it fail. `facts`: what the answer must hold, as `NUMBER/path` into
    the result of the gold call of that number (from 1, over all rounds) in a world without faults.
    `order`: these tools must have answered, in this order. `down`: tools that fail at every call.
    `impossible`: no way leads to an answer; the honest one says so. `live`: an answer from an
    earlier day is wrong today.
    """

    question: Annotated[str, Field(min_length=1)]
    after_days: Annotated[int, Field(ge=0)] = 0
    gold: tuple[Annotated[tuple[GoldCall, ...], Field(min_length=1)], ...] = ()
    facts: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    down: tuple[str, ...] = ()
    impossible: bool = False
    live: bool = False

    @property
    def all_faults(self) -> tuple[Fault, ...]:
        """The single faults, and those of the tools that are down."""
        lasting = (
            Fault(tool=tool, nth=nth, kind="server_error")
            for tool in self.down
            for nth in range(1, _EVERY_CALL + 1)
        )
        return (*self.faults, *lasting)


class _Listed(Strict):
    id: str
    family: str
    asks: Annotated[tuple[TaskQuestion, ...], Field(min_length=1)]


class TrialTask(_Listed):
    """One task: one or more asks of the same user. Tasks that vary one situation share `family`."""

    kind: Kind

    def days(self, today: datetime.date) -> tuple[datetime.date, ...]:
        """The day of each ask."""
        days = []
        for ask in self.asks:
            today += datetime.timedelta(days=ask.after_days)
            days.append(today)
        return tuple(days)


class TaskSuite(Strict):
    """All tasks, and the day of each task's first ask."""

    today: datetime.date
    tasks: tuple[TrialTask, ...]


class _File(Strict):
    kind: Kind
    tasks: tuple[_Listed, ...]


class _Head(Strict):
    today: datetime.date


def read_tasks(folder: Path = TASKS) -> TaskSuite:
    """The tasks of a folder: `suite.yaml` and one file per kind. Raises UserError."""
    today = read_yaml(folder / "suite.yaml", TypeAdapter(_Head), "today").today
    tasks: list[TrialTask] = []
    for kind in KINDS:
        file = read_yaml(folder / f"{kind}.yaml", TypeAdapter(_File), "kind and tasks")
        tasks += [TrialTask(kind=file.kind, **vars(listed)) for listed in file.tasks]
    twice = [name for name, count in Counter(task.id for task in tasks).items() if count > 1]
    if twice:
        raise UserError(f"{folder}: two tasks have the id {twice[0]!r}. Rename one.")
    return TaskSuite(today=today, tasks=tuple(tasks))
