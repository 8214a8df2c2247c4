"""ToolACE: the tools stand in the system text, calls are written `[Name(key="value"), …]`."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from matinee.data.readers.base import (
    BadRow,
    Counts,
    Draft,
    Reader,
    Row,
    count_turns,
    name_answers,
    shorten,
    standard_schema,
)
from matinee.data.readers.sharegpt import ROLES
from matinee.messages.conversations import Message, Tool, ToolCall, canonical_json

PAIRS = {"(": ")", "[": "]", "{": "}"}
CONSTANTS = {"true": True, "false": False, "null": None, "none": None}


def convert(row: Row) -> Draft:
    """The system text gives the tools; what it says besides is a prompt, which templates spell."""
    tools = _tools(str(row["system"]))
    names = [tool.name for tool in tools]
    messages = []
    for turn in row["conversations"]:
        role = ROLES.get(turn["from"])
        if role is None:
            raise BadRow("roles_out_of_order", f"unknown role {turn['from']!r}")
        text = str(turn["value"])
        if role == "assistant" and is_call_list(text, names):
            calls = tuple(_call(one) for one in split(text.strip()[1:-1]))
            messages.append(Message(role, tool_calls=calls))
        else:
            messages.append(Message(role, text))
    return Draft(name_answers(messages), tools)


def _tools(system: str) -> tuple[Tool, ...]:
    start = system.find("[{")
    if start < 0:
        return ()
    try:
        listed, _ = json.JSONDecoder().raw_decode(system, start)
    except ValueError as error:
        raise BadRow("not_json", f"tool list is not JSON ({error})") from error
    if not all(isinstance(tool, dict) and isinstance(tool.get("name"), str) for tool in listed):
        raise BadRow("wrong_columns", f"a tool has no name: {shorten(str(listed))}")
    return tuple(
        Tool(
            tool["name"].strip(),
            str(tool.get("description") or ""),
            canonical_json(
                standard_schema(tool.get("parameters")) or {"type": "object", "properties": {}}
            ),
        )
        for tool in listed
    )


def is_call_list(text: str, names: Sequence[str]) -> bool:
    """Whether an answer is a list of calls: in brackets, and beginning with a call."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith(")]")):
        return False
    inner = text[1:].lstrip()
    return any(inner.startswith(f"{name}(") for name in names) or inner.split("(")[0].isidentifier()


def _call(text: str) -> ToolCall:
    # The name may hold spaces, and parentheses of its own; the arguments are the last pair.
    opening = _opening_of_last_pair(text)
    if not text.endswith(")") or opening <= 0:
        raise BadRow("broken_arguments", f"not a call: {shorten(text)}")
    arguments: dict[str, Any] = {}
    for pair in split(text[opening + 1 : -1]):
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadRow("broken_arguments", f"an argument without `=`: {shorten(pair)}")
        arguments[key.strip().strip("'\"")] = _value(value.strip())
    return ToolCall(text[:opening].strip(), canonical_json(arguments))


def _opening_of_last_pair(text: str) -> int:
    opening, depth = -1, 0
    for position, character in _unquoted(text):
        if character in PAIRS:
            if depth == 0 and character == "(":
                opening = position
            depth += 1
        elif character in PAIRS.values():
            depth -= 1
    return opening


def _value(text: str) -> Any:
    if text.lower() in CONSTANTS:
        return CONSTANTS[text.lower()]
    for decode in (json.loads, ast.literal_eval):
        try:
            value = decode(text)
            json.dumps(value)
        except (ValueError, SyntaxError, TypeError):
            continue
        return value
    raise BadRow("broken_arguments", f"neither JSON nor a literal: {shorten(text)}")


def split(text: str) -> list[str]:
    """The parts between commas, without those inside brackets or quotes."""
    parts, start, depth = [], 0, 0
    for position, character in _unquoted(text):
        if character in PAIRS:
            depth += 1
        elif character in PAIRS.values():
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _unquoted(text: str) -> list[tuple[int, str]]:
    """Position and character of everything outside quotes. A quote opens only after `=([{,:`."""
    found, quote, previous, escaped = [], "", "", False
    for position, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "\"'" and previous in "=([{,:":
            quote, escaped = character, False
        else:
            found.append((position, character))
        previous = previous if character.isspace() else character
    return found


def count(row: Row) -> Counts:
    """Turns by their roles; calls by the closing parentheses outside all brackets; tools listed."""
    tools = _tools(str(row["system"]))
    names = [tool.name for tool in tools]
    answers = [one["value"] for one in row["conversations"] if one["from"] in ("assistant", "gpt")]
    return Counts(
        turns=count_turns(ROLES[turn["from"]] for turn in row["conversations"]),
        calls=sum(_count_calls(text) for text in answers if is_call_list(text, names)),
        tools=len(tools),
    )


def _count_calls(text: str) -> int:
    """Commas between calls, plus one."""
    depth = commas = 0
    for _, character in _unquoted(text.strip()):
        depth += (character in PAIRS) - (character in PAIRS.values())
        commas += character == "," and depth == 1
    return commas + 1


READER = Reader(columns=("system", "conversations"), convert=convert, count=count)
