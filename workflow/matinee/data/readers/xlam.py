"""xlam-function-calling-60k: one `query`, its `tools`, and the calls that answer it."""

from __future__ import annotations

import re
from typing import Any

from matinee.data.readers.base import (
    Account,
    BadRow,
    Reader,
    Row,
    decode,
    list_of,
    text_of,
)
from matinee.data.readers.chat import good_row, row_level
from matinee.data.readers.schemas import CALL, TOOL, WORDS, call_of, tools_of
from matinee.data.readers.turns import RawTurn, draft_of
from matinee.messages.conversations import Conversation

ROW = row_level({"query": ("query",), "tools": ("tools",), "answers": ("answers",)})
TYPE = re.compile(r",(?![^\[]*\])")


def convert(row: Row, account: Account) -> Conversation:
    """`tools` and `answers` are JSON texts; parameters are `name: {type, description, default}`."""
    found = good_row(ROW, row, account)
    answers = list_of(found["answers"], "answers")
    calls = tuple(call_of(call, account, f"answers[{n}]") for n, call in enumerate(answers))
    listed = [_tool(tool) for tool in list_of(found["tools"], "tools")]
    turns = [RawTurn("user", text_of(found["query"], "query")), RawTurn("assistant", calls=calls)]
    return draft_of(turns, tools_of(listed, account), account)


def _tool(value: Any) -> Any:
    """The tool with a JSON Schema. A parameter is required unless it says `optional` or has a
    default."""
    if not isinstance(value, dict):
        raise BadRow("wrong_columns", f"a tool is no object: {value!r}")
    parameters = decode(value.get("parameters") or {}, "parameters")
    if not isinstance(parameters, dict) or isinstance(parameters.get("properties"), dict):
        return value
    properties, required = {}, []
    for name, described in parameters.items():
        if not isinstance(described, dict):
            raise BadRow("broken_schema", f"parameter {name} is no object")
        kind, *remarks = [part.strip() for part in TYPE.split(str(described.get("type") or "any"))]
        properties[name] = {**described, "type": kind}
        if "optional" not in remarks and "default" not in described:
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required}
    return {**value, "parameters": schema}


READER = Reader(
    columns=(("query",), ("tools",), ("answers",)),
    convert=convert,
    levels=(ROW, TOOL, CALL),
    words=WORDS,
)
