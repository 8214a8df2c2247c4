"""hermes-function-calling-v1: sharegpt turns with `<tools>`, `<tool_call>`, `<tool_response>`."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from matinee.data.readers.base import (
    BadKind,
    BadRow,
    Counts,
    Draft,
    Reader,
    Row,
    call_of,
    count_turns,
    name_answers,
    shorten,
    tools_of,
)
from matinee.data.readers.sharegpt import ROLES
from matinee.messages.conversations import Message, Tool

TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
RESPONSE = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)


def convert(row: Row) -> Draft:
    """The tools come from the column `tools` or from the system text, which then is left out."""
    tools = _tools(row)
    messages = [
        message
        for turn in row["conversations"]
        for message in _messages(str(turn["from"]), str(turn["value"]))
        if not (tools and message.role == "system")
    ]
    return Draft(name_answers(messages), tools)


def _tools(row: Row) -> tuple[Tool, ...]:
    if row.get("tools"):
        return tools_of(row["tools"])
    for turn in row["conversations"]:
        match = TOOLS.search(turn["value"]) if turn["from"] == "system" else None
        if match is not None and match[1].strip():
            return tools_of(_list_of(match[1].strip()))
    return ()


def _list_of(text: str) -> list[Any]:
    """A list, or objects line by line."""
    if text.startswith("["):
        return list(_literal(text, "not_json"))
    return [_literal(line, "not_json") for line in text.splitlines() if line.strip()]


def _literal(text: str, kind: BadKind) -> Any:
    """JSON or, as in a part of the set, Python's way of writing the same; nothing is run."""
    try:
        return json.loads(text)
    except ValueError:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError) as error:
            raise BadRow(kind, f"neither JSON nor a literal: {shorten(text)}") from error


def _messages(speaker: str, text: str) -> list[Message]:
    role = ROLES.get(speaker)
    if role is None:
        raise BadRow("roles_out_of_order", f"unknown role {speaker!r}")
    if role == "tool" and (answers := RESPONSE.findall(text)):
        return [Message("tool", answer.strip()) for answer in answers]
    if role == "assistant" and (calls := CALL.findall(text)):
        parsed = tuple(call_of(_literal(call, "broken_arguments")) for call in calls)
        return [Message("assistant", CALL.sub("", text).strip(), parsed)]
    return [Message(role, text)]


def count(row: Row) -> Counts:
    """Turns by their roles, calls by their closing tags, tools by the list."""
    turns = row["conversations"]
    return Counts(
        turns=count_turns(ROLES[turn["from"]] for turn in turns),
        calls=sum(
            turn["value"].count("</tool_call>")
            for turn in turns
            if ROLES[turn["from"]] == "assistant"
        ),
        tools=len(_tools(row)),
    )


READER = Reader(columns=("conversations",), convert=convert, count=count)
