"""sharegpt with `tools`, as LLaMA-Factory ships glaive: a list of `from`/`value` turns."""

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
    count_turns,
    decode,
    name_answers,
    shorten,
    tools_of,
)
from matinee.messages.conversations import Message, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}


def convert(row: Row) -> Draft:
    """`function_call` turns hold a call or a list of calls as JSON; `tools` is a JSON text."""
    messages = [_message(turn) for turn in row["conversations"]]
    if row.get("system"):
        messages.insert(0, Message("system", str(row["system"])))
    return Draft(name_answers(messages), tools_of(row.get("tools")))


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict) or "from" not in turn or not isinstance(turn.get("value"), str):
        raise BadRow("wrong_columns", f"a turn needs `from` and `value`: {shorten(str(turn))}")
    role = ROLES.get(turn["from"])
    if role is None:
        raise BadRow("roles_out_of_order", f"unknown role {turn['from']!r}")
    if turn["from"] == "function_call":
        calls = decode(turn["value"], "a function call", "broken_arguments")
        listed = calls if isinstance(calls, list) else [calls]
        return Message(role, tool_calls=tuple(map(call_of, listed)))
    return Message(role, turn["value"])


def count(row: Row) -> Counts:
    """Turns by their roles; calls by the JSON of `function_call`; tools by the JSON of `tools`."""
    calls = [
        json.loads(one["value"]) for one in row["conversations"] if one["from"] == "function_call"
    ]
    return Counts(
        turns=count_turns(ROLES[one["from"]] for one in row["conversations"]),
        calls=sum(len(call) if isinstance(call, list) else 1 for call in calls),
        tools=len(json.loads(row.get("tools") or "[]")),
    )


READER = Reader(columns=("conversations",), convert=convert, count=count)
