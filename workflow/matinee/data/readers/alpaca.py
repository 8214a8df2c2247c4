"""alpaca: `instruction`, `input`, `output`, and `history` as pairs of question and answer."""

from __future__ import annotations

from typing import Any

from matinee.data.readers.base import BadRow, Counts, Draft, Reader, Row, shorten
from matinee.messages.conversations import Message


def convert(row: Row) -> Draft:
    """The input follows the instruction on a new line. There are no tools."""
    messages = [Message("system", str(row["system"]))] if row.get("system") else []
    for pair in _history(row):
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    asked = "\n".join(part for part in (row["instruction"], row.get("input")) if part)
    messages += [Message("user", asked), Message("assistant", str(row["output"]))]
    return Draft(tuple(messages))


def _history(row: Row) -> list[Any]:
    history = list(row.get("history") or [])
    for pair in history:
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise BadRow("wrong_columns", f"history is not of pairs of texts: {shorten(str(pair))}")
    return history


def count(row: Row) -> Counts:
    """Two turns for the row and for each pair of its history."""
    return Counts(turns=2 + 2 * len(row.get("history") or []))


READER = Reader(columns=("instruction", "output"), convert=convert, count=count)
