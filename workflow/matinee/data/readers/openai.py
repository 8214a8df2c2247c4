"""OpenAI messages with `tools`: the form that chat templates and most newer sets use."""

from __future__ import annotations

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
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def convert(row: Row) -> Draft:
    """`tools` and `tool_calls` may be lists or their JSON texts."""
    names = {
        call["id"]: call["function"]["name"]
        for message in row["messages"]
        for call in _calls(message)
        if isinstance(call.get("id"), str) and "function" in call
    }
    messages = [_message(message, names) for message in row["messages"]]
    return Draft(name_answers(messages), tools_of(row.get("tools")))


def _calls(message: Any) -> list[Any]:
    if not isinstance(message, dict):
        raise BadRow("wrong_columns", f"a message is no object: {shorten(str(message))}")
    return list(decode(message.get("tool_calls") or [], "tool_calls", "broken_arguments"))


def _message(message: dict[str, Any], names: dict[str, str]) -> Message:
    role = ROLES.get(str(message.get("role")))
    if role is None:
        raise BadRow("roles_out_of_order", f"unknown role {message.get('role')!r}")
    calls = tuple(call_of(call.get("function", call)) for call in _calls(message))
    name = None
    if role == "tool":
        name = names.get(str(message.get("tool_call_id"))) or message.get("name")
    return Message(role, _text(message.get("content")), calls, name)


def _text(content: Any) -> str:
    """A string, or the text parts of a list; pictures and sounds have no place in a row."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise BadRow("wrong_columns", f"content is not text: {shorten(str(content))}")
    return "".join(part["text"] for part in parts)


def count(row: Row) -> Counts:
    """Turns by their roles, calls and tools by their lists."""
    return Counts(
        turns=count_turns(ROLES[message["role"]] for message in row["messages"]),
        calls=sum(len(_calls(message)) for message in row["messages"]),
        tools=len(decode(row.get("tools") or [], "tools")),
    )


READER = Reader(columns=("messages",), convert=convert, count=count)
