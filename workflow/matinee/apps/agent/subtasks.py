"""Subtasks and their status: what an agent set out to do, and how far it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["waiting", "running", "done", "failed", "skipped"]

# A failed subtask may run again: reflection tries another way.
_MAY_FOLLOW: Mapping[Status, frozenset[Status]] = {
    "waiting": frozenset({"running", "skipped"}),
    "running": frozenset({"done", "failed"}),
    "failed": frozenset({"running"}),
    "done": frozenset(),
    "skipped": frozenset(),
}


@dataclass(frozen=True)
class Subtask:
    """One part of a task.

    `number`: from 1, in the order of the plan. `goal`: what the model is told to do. `tool`: only
    a successful call of this tool makes the subtask done; None leaves the choice to the model.
    `optional`: its failure leaves the task complete. `after`: numbers of subtasks that must be
    done before; where one is not, this one is skipped. `attempts`: how often it was tried.
    `result`: what it found; `reason`: why it failed or was skipped.
    """

    number: int
    goal: str
    tool: str | None = None
    optional: bool = False
    after: tuple[int, ...] = ()
    status: Status = "waiting"
    attempts: int = 0
    result: str = ""
    reason: str = ""

    def becomes(self, status: Status, *, result: str = "", reason: str = "") -> Subtask:
        """The subtask in its next status. Raises ValueError for a step that no subtask takes."""
        if status not in _MAY_FOLLOW[self.status]:
            raise ValueError(f"a subtask that is {self.status} cannot become {status}")
        attempts = self.attempts + (status == "running")
        return replace(self, status=status, attempts=attempts, result=result, reason=reason)
