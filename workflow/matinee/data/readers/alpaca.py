"""alpaca: `instruction`, `input`, `output`, and `history` as pairs of question and answer."""

from __future__ import annotations

from matinee.data.readers.base import (
    Account,
    BadRow,
    Reader,
    Row,
    list_of,
    shorten,
    text_of,
)
from matinee.data.readers.chat import MEDIA, PREFERENCE, good_row, row_level
from matinee.messages.conversations import Conversation, Message

ROW = row_level(
    {
        "instruction": ("instruction", "prompt", "query", "question"),
        "input": ("input", "context"),
        "output": ("output", "response", "completion", "answer"),
        "history": ("history",),
        "system": ("system",),
    },
    # Stanford's own prompt around the other columns.
    frozenset({"text"}),
    MEDIA | PREFERENCE | {"tools": "this format has no calls; `reader: openai` has"},
)


def convert(row: Row, account: Account) -> Conversation:
    """The input follows the instruction on a new line. There are no tools."""
    found = good_row(ROW, row, account)
    texts = {name: text_of(value, name) for name, value in found.items() if name in TEXTS}
    messages = [Message("system", texts["system"])] if texts.get("system") else []
    for pair in list_of(found.get("history"), "history"):
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(text, str) for text in pair)
        ):
            raise BadRow("wrong_columns", f"history is not of pairs of texts: {shorten(str(pair))}")
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    asked = "\n".join(part for part in (texts["instruction"], texts.get("input")) if part)
    return Conversation(
        "", (*messages, Message("user", asked), Message("assistant", texts["output"]))
    )


TEXTS = ("instruction", "input", "output", "system")
READER = Reader(
    columns=(ROW.reads["instruction"], ROW.reads["output"]), convert=convert, levels=(ROW,)
)
