"""xlam-function-calling-60k: one `query`, its `tools`, and the calls that answer it."""

from __future__ import annotations

import json
from typing import Any

from matinee.data.readers.base import (
    BadRow,
    Counts,
    Draft,
    Reader,
    Row,
    call_of,
    decode,
    shorten,
    standard_schema,
)
from matinee.messages.conversations import Message, Tool, canonical_json


def convert(row: Row) -> Draft:
    """`tools` and `answers` are JSON texts; parameters are `name: {type, description, default}`."""
    answers = decode(row["answers"], "answers")
    tools = decode(row["tools"], "tools")
    if not isinstance(answers, list) or not isinstance(tools, list):
        raise BadRow("wrong_columns", f"answers or tools is no list: {shorten(str(answers))}")
    calls = tuple(map(call_of, answers))
    messages = (Message("user", str(row["query"])), Message("assistant", tool_calls=calls))
    return Draft(messages, tuple(map(_tool, tools)))


def _tool(value: Any) -> Tool:
    if not isinstance(value, dict) or "name" not in value:
        raise BadRow("wrong_columns", f"a tool has no name: {shorten(str(value))}")
    parameters = value.get("parameters") or {}
    if parameters.get("type") != "object" or "properties" not in parameters:
        parameters = _schema(parameters)
    return Tool(value["name"], value.get("description") or "", canonical_json(parameters))


def _schema(parameters: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema. A parameter is required unless it says `optional` or has a default."""
    properties, required = {}, []
    for name, description in parameters.items():
        kind, *remarks = str(description.get("type", "any")).split(", ")
        properties[name] = standard_schema({**description, "type": kind})
        if "optional" not in remarks and "default" not in description:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def count(row: Row) -> Counts:
    """Two turns, as many calls as answers, as many tools as listed."""
    return Counts(
        turns=2, calls=len(json.loads(row["answers"])), tools=len(json.loads(row["tools"]))
    )


READER = Reader(columns=("query", "tools", "answers"), convert=convert, count=count)
