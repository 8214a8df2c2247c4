"""Raw rows of published formats, and what the tests of readers ask of a conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matinee.data.readers import read_dataset
from matinee.messages.conversations import Conversation, ToolCall

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA}


def write(folder: Path, rows: list[Any], name: str = "rows.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def read(folder: Path, reader: str, row: dict[str, Any]) -> Conversation:
    """The one conversation of a file with this row."""
    (conversation,) = read_dataset(reader, [write(folder, [row])], source="set", on_bad_row="error")
    return conversation


def roles(conversation: Conversation) -> list[str]:
    return [message.role for message in conversation.messages]


def calls(conversation: Conversation) -> list[ToolCall]:
    return [call for message in conversation.messages for call in message.tool_calls]


def sharegpt(*turns: tuple[str, str], tools: Any = (WEATHER,)) -> dict[str, Any]:
    return {
        "conversations": [{"from": who, "value": text} for who, text in turns],
        "tools": json.dumps(tools),
    }


CALL = json.dumps({"name": "get_weather", "arguments": {"city": "Paris"}})
GOOD = sharegpt(
    ("human", "Weather in Paris?"),
    ("function_call", CALL),
    ("observation", '{"sky": "clear"}'),
    ("gpt", "Clear."),
)
