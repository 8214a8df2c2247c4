"""Raw files into checked conversations; every row is converted, or named with its reason."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from matinee.data.readers import (
    alpaca,
    chat,
    glaive_v2,
    hermes_v1,
    oasst,
    toolace,
    toolbench,
    xlam,
)
from matinee.data.readers.base import (
    Account,
    BadRow,
    Numbered,
    Reader,
    Row,
    language_of,
    list_of,
    lost_pieces,
    pieces,
    require_shallow,
    shorten,
)
from matinee.data.readers.checks import MARKUP, check, schema_warnings
from matinee.data.readers.rows import read_rows
from matinee.data.readers.schemas import tools_of
from matinee.messages.conversations import Conversation, canonical_json
from matinee.runtime.errors import DataError

LONGEST_CHARACTERS = 200_000
# A reader trusts its format; a row that is shaped otherwise fails in these ways.
SHAPES = (LookupError, TypeError, AttributeError, ValueError, RecursionError)
# By the names that the configuration uses.
READERS: dict[str, Reader] = {
    "sharegpt": chat.READER,
    "glaive_v2": glaive_v2.READER,
    "xlam": xlam.READER,
    "hermes_v1": hermes_v1.READER,
    "toolace": toolace.READER,
    "toolbench": toolbench.READER,
    "openai": chat.READER,
    "alpaca": alpaca.READER,
    "oasst": oasst.READER,
}


@dataclass(frozen=True)
class RowProblem:
    """One row that is not as it should be. `row` is its number in the file, from 1."""

    kind: str
    file: str
    row: int
    reason: str


@dataclass
class FormatReport:
    """The tally, filled while `read_dataset` runs.

    `bad` rows are left out; `warnings` are about rows that are kept. `left` counts the keys left
    out on purpose by level and name, `notes` the rows in which something was put right.
    """

    source: str = ""
    reader: str = ""
    files: list[str] = field(default_factory=list)
    rows: int = 0
    converted: int = 0
    bad: list[RowProblem] = field(default_factory=list)
    warnings: list[RowProblem] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, with counts by class."""
        return {
            **asdict(self),
            "left": dict(sorted(self.left.items())),
            "notes": dict(sorted(self.notes.items())),
            "bad_by_kind": dict(sorted(Counter(one.kind for one in self.bad).items())),
            "warnings_by_kind": dict(sorted(Counter(one.kind for one in self.warnings).items())),
        }


def read_tools(path: Path | None) -> list[Any]:
    """The tools that a data set has in a file of its own. Raises DataError."""
    if path is None:
        return []
    try:
        listed = list_of(path.read_text(encoding="utf-8"), str(path))
        tools_of(listed, Account(), str(path))
    except (BadRow, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no list of tools ({error}).") from error
    return listed


def read_dataset(
    reader: str,
    files: Sequence[Path],
    *,
    source: str,
    on_bad_row: Literal["error", "skip"],
    on_unknown_key: Literal["error", "warn"] = "error",
    tools: Sequence[Any] = (),
    report: FormatReport | None = None,
) -> Iterator[Conversation]:
    """The conversations of the files, in order, each checked.

    `source` names the data set in every row. `tools` are those of rows that list none. `report` is
    filled while the rows are taken, and complete after the last. Raises DataError at the first bad
    row unless they are skipped, and where a file cannot be read.
    """
    report = report if report is not None else FormatReport()
    report.source, report.reader = source, reader
    report.files = [path.name for path in files]
    read = READERS[reader]
    rows: Iterable[Numbered] = (row for path in files for row in read_rows(path))
    for row in read.gather(rows) if read.gather is not None else rows:
        report.rows += 1
        try:
            draft = _convert(reader, _with_tools(row, tools), on_unknown_key, report)
        except BadRow as problem:
            if on_bad_row == "error":
                raise DataError(
                    f"{row.file}, row {row.number}: {problem.kind}: {problem.reason}. Mend the "
                    f"row, or set `on_bad_row: skip` for data set `{source}`; skipped rows are "
                    "counted."
                ) from problem
            report.bad.append(RowProblem(problem.kind, row.file.name, row.number, problem.reason))
            continue
        report.converted += 1
        yield _finish(draft, f"{source}-{report.rows}", source)
    if report.converted == 0:
        raise DataError(
            f"Data set `{source}` has no usable row ({report.rows} read with reader `{reader}`). "
            f"{report.bad[0].reason if report.bad else 'The files are empty'}."
        )


def _convert(name: str, row: Numbered, on_unknown_key: str, report: FormatReport) -> Conversation:
    """The row's draft, counted in the report. Raises BadRow."""
    if row.problem:
        raise BadRow(row.kind, row.problem)
    reader, value, account = READERS[name], row.value, Account()
    if not isinstance(value, dict):
        raise BadRow("wrong_columns", f"a row must be an object, found {shorten(str(value))}")
    require_shallow(value)
    if not reader.fits(value):
        wanted = ", ".join(" or ".join(names) for names in reader.columns)
        raise BadRow(
            "wrong_columns",
            f"it has {', '.join(map(str, value))}, not {wanted}{_fitting(name, value)}",
        )
    try:
        draft = reader.convert(value, account)
        check(draft, LONGEST_CHARACTERS)
        _require_text(draft)
    except SHAPES as error:
        raise BadRow(
            "wrong_columns", f"not shaped as the format says ({type(error).__name__}: {error})"
        ) from error
    unknown = account.unknown
    if unknown and on_unknown_key == "error":
        raise BadRow(
            "unknown_key",
            f"{', '.join(unknown[:5])}: not known to reader `{name}`, so it would be lost. Take it "
            "out, or set `on_unknown_key: warn` for the data set: left out, counted, listed",
        )
    if lost := lost_pieces(value, draft, account, _known_pieces(name)):
        raise BadRow(
            "lost_content", f"these words of it do not come out again: {' '.join(lost[:10])}"
        )
    found = [("unknown_key", path) for path in unknown] + list(schema_warnings(draft))
    report.warnings += [RowProblem(kind, row.file.name, row.number, why) for kind, why in found]
    report.left += account.left
    report.notes += account.notes
    return draft


def _with_tools(row: Numbered, tools: Sequence[Any]) -> Numbered:
    listing = isinstance(row.value, dict) and any(map(row.value.get, ("tools", "functions")))
    if not tools or listing or not isinstance(row.value, dict):
        return row
    return replace(row, value={**row.value, "tools": list(tools)})


@functools.cache
def _known_pieces(name: str) -> frozenset[str]:
    reader = READERS[name]
    known = reader.words.union(*(level.words for level in reader.levels))
    return frozenset(pieces(" ".join(known).replace("_", " ")))


def _fitting(name: str, row: Row) -> str:
    """Which other reader would take the row."""
    fitting = [other for other in READERS if other != name and _takes(READERS[other], row)]
    if all(row.get(key) is not None for key in oasst.COLUMNS):
        fitting.append("oasst")
    written = canonical_json(row)
    marked = [other for mark, other in MARKUP.items() if mark in written and other in fitting]
    return f"; `reader: {(marked or fitting)[0]}` reads such rows" if fitting else ""


def _takes(reader: Reader, row: Row) -> bool:
    if reader.gather is not None or not reader.fits(row):
        return False
    try:
        reader.convert(row, Account())
    except (BadRow, *SHAPES):
        return False
    return True


def _require_text(draft: Conversation) -> None:
    """Raises BadRow for halves of characters, which no file can hold."""
    try:
        canonical_json(draft.to_row()).encode()
    except UnicodeEncodeError as error:
        half = (
            error.object[error.start : error.start + 1].encode(errors="backslashreplace").decode()
        )
        raise BadRow(
            "not_json", f"it holds half of a character ({half}) or a byte that is no UTF-8"
        ) from error


def _finish(draft: Conversation, identifier: str, source: str) -> Conversation:
    asked = " ".join(message.content for message in draft.messages if message.role == "user")
    calls = any(message.tool_calls for message in draft.messages)
    return replace(
        draft,
        id=identifier,
        source=source,
        category="call" if calls else "no_call" if draft.tools else "plain",
        language=language_of(asked),
    )
