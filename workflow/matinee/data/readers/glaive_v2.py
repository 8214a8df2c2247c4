"""Raw glaive-function-calling-v2: `system` and `chat` as text with USER:, ASSISTANT: and so on."""

from __future__ import annotations

import json
import re

from matinee.data.readers.base import (
    BadRow,
    Counts,
    Draft,
    Reader,
    Row,
    call_of,
    decode_all,
    name_answers,
    shorten,
    tools_of,
)
from matinee.messages.conversations import Message, Role, ToolCall

MARK = re.compile(r"^[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE):", re.MULTILINE)
ROLES: dict[str, Role] = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
CALL = "<functioncall>"
END = "<|endoftext|>"
HEAD = re.compile(r'\{\s*"name"\s*:\s*"([^"]+)"\s*(?:,\s*"arguments"\s*:\s*(.*))?\}\s*$', re.DOTALL)


def convert(row: Row) -> Draft:
    """The system text gives the tools; what it says besides is a prompt, which templates spell."""
    system = str(row["system"])
    tools = tools_of(decode_all(system))
    parts = MARK.split(str(row["chat"]))
    if parts[0].strip():
        raise BadRow("roles_out_of_order", f"text before the first turn: {shorten(parts[0])}")
    messages = [
        _message(ROLES[mark], text) for mark, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    if not tools and "access to" not in system:
        said = system.removeprefix("SYSTEM:").strip()
        messages = [Message("system", said), *messages] if said else messages
    return Draft(name_answers(messages), tools)


def _message(role: Role, text: str) -> Message:
    text = text.replace(END, "").strip()
    if role != "assistant" or CALL not in text:
        return Message(role, text)
    said, *calls = text.split(CALL)
    return Message(role, said.strip(), tuple(_call(call.strip()) for call in calls))


def _call(text: str) -> ToolCall:
    """`{"name": …, "arguments": '{…}'}`: the arguments are JSON between single quotes."""
    match = HEAD.match(text)
    if match is None:
        raise BadRow("broken_arguments", f"not a function call: {shorten(text)}")
    name, arguments = match[1], (match[2] or "{}").strip()
    if len(arguments) >= 2 and arguments[0] == arguments[-1] == "'":
        arguments = arguments[1:-1].replace("\\'", "'")
    return call_of({"name": name, "arguments": _twice_encoded(arguments)})


def _twice_encoded(arguments: str) -> str:
    if arguments.startswith('"'):
        try:
            return str(json.loads(arguments))
        except ValueError:
            return arguments
    return arguments


def count(row: Row) -> Counts:
    """Turns by their marks, calls by their tags, tools by the JSON objects of the system text."""
    return Counts(
        turns=len(MARK.findall(str(row["chat"]))),
        calls=str(row["chat"]).count(CALL),
        tools=len(decode_all(str(row["system"]))),
    )


READER = Reader(columns=("system", "chat"), convert=convert, count=count)
