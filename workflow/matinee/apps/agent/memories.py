"""What long-term memory holds and says: an entry, and whether it may be used again."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Protocol

from matinee.apps.agent.task import Task


@dataclass(frozen=True)
class MemoryEntry:
    """An answer that was kept. `asked_on`: the day that the question's 昨天 counts from.

    `sources`: the tools that the answer rests on. `kept_at` has a time zone.
    """

    id: int
    question: str
    answer: str
    sources: tuple[str, ...]
    kept_at: datetime.datetime
    asked_on: datetime.date


@dataclass(frozen=True)
class Judgement:
    """Whether an entry may be used again.

    `rule`: the name of the rule that decided. `age`: since it was kept. `limit`: the age up to
    which the rule allows it; None means for ever. `reason`: the rule in one sentence.
    """

    usable: bool
    rule: str
    age: datetime.timedelta
    limit: datetime.timedelta | None
    reason: str


@dataclass(frozen=True)
class Recalled:
    """An entry that answers the same question. `text`: the answer with its age, source and rule."""

    entry: MemoryEntry
    judgement: Judgement
    text: str


class Memory(Protocol):
    """What the loop asks of long-term memory."""

    def recall(self, task: Task) -> Recalled | None:
        """The user's latest entry for the same question, judged; None where there is none."""
        ...

    def keep(self, task: Task, answer: str, sources: tuple[str, ...]) -> MemoryEntry:
        """Stores an answer for the task's user."""
        ...
