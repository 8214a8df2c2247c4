"""What was read, what was left out and why: the tally of one data set's conversion."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matinee.data.readers.base import Counts


@dataclass(frozen=True)
class Problem:
    """One row that is not as it should be. `row` is its number in the file, from 1."""

    kind: str
    file: str
    row: int
    reason: str


@dataclass
class FormatReport:
    """The tally, filled while `read_dataset` runs.

    `before` counts the raw rows that were converted and `after` the conversations made of them;
    the two are equal, because a row whose counts differ is a bad row. `bad` rows are left out;
    `warnings` are about rows that are kept.
    """

    source: str = ""
    reader: str = ""
    files: list[str] = field(default_factory=list)
    rows: int = 0
    converted: int = 0
    before: Counts = field(default_factory=Counts)
    after: Counts = field(default_factory=Counts)
    bad: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def add(self, before: Counts, after: Counts) -> None:
        """Counts one converted row."""
        self.converted += 1
        self.before += before
        self.after += after

    def refuse(self, kind: str, path: Path, row: int, reason: str) -> None:
        """Counts one row that is left out."""
        self.bad.append(Problem(kind, path.name, row, reason))

    def warn(self, kind: str, path: Path, row: int, reason: str) -> None:
        """Counts one thing to know about a row that is kept."""
        self.warnings.append(Problem(kind, path.name, row, reason))

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, with counts by class."""
        return {
            **asdict(self),
            "bad_by_kind": dict(sorted(Counter(one.kind for one in self.bad).items())),
            "warnings_by_kind": dict(sorted(Counter(one.kind for one in self.warnings).items())),
        }
