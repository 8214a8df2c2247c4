"""Raw files into checked conversations; every row is converted, or named with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from matinee.data.readers.base import BadRow, Draft, Numbered, Reader, language_of, shorten
from matinee.data.readers.checks import check, schema_warnings
from matinee.data.readers.registry import READERS
from matinee.data.readers.report import FormatReport
from matinee.data.readers.rows import read_rows
from matinee.messages.conversations import Conversation
from matinee.runtime.errors import DataError

LONGEST_CHARACTERS = 200_000


def read_dataset(
    reader: str,
    files: Sequence[Path],
    *,
    source: str,
    on_bad_row: Literal["error", "skip"],
    report: FormatReport | None = None,
    longest: int = LONGEST_CHARACTERS,
) -> Iterator[Conversation]:
    """The conversations of the files, in order, each checked.

    `source` names the data set in every row. `report` is filled while the rows are taken, and
    complete after the last. `longest`: most characters of a row. Raises DataError at the first
    bad row if `on_bad_row` is `error`, and where a file cannot be read.
    """
    report = report if report is not None else FormatReport()
    report.source, report.reader = source, reader
    report.files = [path.name for path in files]
    for path in files:
        for number, outcome in _convert_file(READERS[reader], path, report, longest):
            if isinstance(outcome, Draft):
                yield _finish(outcome, f"{source}-{report.rows}", source)
                continue
            if on_bad_row == "error":
                raise DataError(
                    f"{path}, row {number}: {outcome.kind}: {outcome.reason}. Mend the row, or "
                    f"set `on_bad_row: skip` for data set `{source}`; skipped rows are counted."
                )
            report.refuse(outcome.kind, path, number, outcome.reason)
    if report.converted == 0:
        raise DataError(
            f"Data set `{source}` has no usable row ({report.rows} read with reader `{reader}`). "
            f"{report.bad[0].reason if report.bad else 'The files are empty'}."
        )


def _convert_file(
    reader: Reader, path: Path, report: FormatReport, longest: int
) -> Iterator[tuple[int, Draft | BadRow]]:
    rows: Iterable[Numbered] = read_rows(path)
    if reader.gather is not None:
        rows = reader.gather(rows)
    for row in rows:
        report.rows += 1
        try:
            if row.problem:
                raise BadRow(row.kind, row.problem)
            draft = _convert(reader, row.value, longest, report)
        except BadRow as problem:
            yield row.number, problem
            continue
        for kind, reason in schema_warnings(draft):
            report.warn(kind, path, row.number, reason)
        yield row.number, draft


def _convert(reader: Reader, row: Any, longest: int, report: FormatReport) -> Draft:
    if not isinstance(row, dict):
        raise BadRow("wrong_columns", f"a row must be an object, found {shorten(str(row))}")
    if missing := [column for column in reader.columns if row.get(column) is None]:
        raise BadRow(
            "wrong_columns",
            f"columns {', '.join(missing)} are missing; the row has {', '.join(sorted(row))}",
        )
    try:
        draft = reader.convert(row)
        check(draft, longest)
        before, after = reader.count(row), draft.counts
    # A reader trusts its format; a row that is shaped otherwise fails in these ways.
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadRow(
            "wrong_columns", f"not shaped as the format says ({type(error).__name__}: {error})"
        ) from error
    if before != after:
        raise BadRow("lost_content", f"the row holds {before}, its conversation {after}")
    report.add(before, after)
    return draft


def _finish(draft: Draft, identifier: str, source: str) -> Conversation:
    asked = " ".join(message.content for message in draft.messages if message.role == "user")
    calls = any(message.tool_calls for message in draft.messages)
    return Conversation(
        id=identifier,
        messages=draft.messages,
        tools=draft.tools,
        source=source,
        category="call" if calls else "no_call" if draft.tools else "plain",
        language=language_of(asked),
    )
