"""The one row format: a conversation with its tools, and its JSON Lines form.

Tool parameters and call arguments are kept as JSON *strings* wherever rows are stored,
because columnar storage would otherwise merge their schemas and invent nulls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from matinee.runtime.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]

# The label of rows that are held out of training.
SPLIT = "split"
VALIDATION = "validation"


def canonical_json(value: Any) -> str:
    """JSON text with readable Unicode and default separators, key order kept."""
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Tool:
    """A function that the model may call.

    `parameters` is the JSON text of a JSON Schema of type object.
    """

    name: str
    description: str
    parameters: str

    @property
    def schema(self) -> dict[str, Any]:
        """The parameters' JSON Schema."""
        return dict(json.loads(self.parameters))

    def as_openai(self) -> dict[str, Any]:
        """The form that chat templates and OpenAI-compatible servers take."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.schema,
        }
        return {"type": "function", "function": function}

    @classmethod
    def from_openai(cls, value: dict[str, Any]) -> Tool:
        """Reads `{"type": "function", "function": {…}}` or the bare inner object."""
        function = value.get("function", value)
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        return cls(
            str(function["name"]),
            str(function.get("description") or ""),
            canonical_json(parameters),
        )


@dataclass(frozen=True)
class ToolCall:
    """One call. `arguments` is the JSON text of an object, as the model wrote it."""

    name: str
    arguments: str = "{}"

    @property
    def values(self) -> dict[str, Any]:
        """The decoded arguments."""
        return dict(json.loads(self.arguments))


@dataclass(frozen=True)
class Message:
    """One message. Only assistant messages have `tool_calls`; only tool messages have `name`.

    `reasoning`: what an assistant thought before it wrote the rest. `supervised`: whether its
    answer is learned; a wrong step on the way may be shown without being taught.
    """

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    reasoning: str = ""
    supervised: bool = True

    def as_openai(self) -> dict[str, Any]:
        """The form that chat templates take: arguments decoded, `content` always a string."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": call.values}}
                for call in self.tool_calls
            ]
        if self.name is not None:
            message["name"] = self.name
        if self.reasoning:
            message["reasoning"] = self.reasoning
        return message


@dataclass(frozen=True)
class Conversation:
    """One row of training data.

    `category` and `language` are labels for counting; `source` names the data set.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    source: str = ""
    category: str = ""
    language: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Whether the row is kept for measuring the loss, and not trained on."""
        return self.labels.get(SPLIT) == VALIDATION

    def to_row(self) -> dict[str, Any]:
        """The stored form: `tools` is one JSON string, `arguments` are JSON strings."""
        return {
            "id": self.id,
            "source": self.source,
            "category": self.category,
            "language": self.language,
            "labels": canonical_json(self.labels),
            "tools": canonical_json([tool.as_openai()["function"] for tool in self.tools]),
            "messages": [
                {
                    "role": message.role,
                    "content": message.content,
                    "name": message.name or "",
                    **({"reasoning": message.reasoning} if message.reasoning else {}),
                    **({} if message.supervised else {"supervised": False}),
                    "tool_calls": [
                        {"name": call.name, "arguments": call.arguments}
                        for call in message.tool_calls
                    ],
                }
                for message in self.messages
            ],
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Conversation:
        """The inverse of `to_row`."""
        return cls(
            id=row["id"],
            source=row["source"],
            category=row["category"],
            language=row["language"],
            labels=json.loads(row["labels"]),
            tools=tuple(Tool.from_openai(tool) for tool in json.loads(row["tools"])),
            messages=tuple(
                Message(
                    role=message["role"],
                    content=message["content"],
                    name=message["name"] or None,
                    reasoning=message.get("reasoning", ""),
                    supervised=message.get("supervised", True),
                    tool_calls=tuple(
                        ToolCall(call["name"], call["arguments"]) for call in message["tool_calls"]
                    ),
                )
                for message in row["messages"]
            ),
        )


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Rows that `write_conversations` wrote. Raises DataError with the line."""
    # Bytes: a line that is no UTF-8 must have its number in the message too.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            yield parse_row(line, f"{path}:{number}")


def parse_row(line: str | bytes, place: str) -> Conversation:
    """One line that `write_conversations` wrote. `place` names it in the DataError."""
    try:
        return Conversation.from_row(json.loads(line))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place}: not a conversation row ({error}). "
            "Delete the file and run the workflow again to rebuild it."
        ) from error


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> int:
    """Writes JSON Lines and returns the number of rows. The caller renames the finished file."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for conversation in conversations:
            file.write(canonical_json(conversation.to_row()) + "\n")
            count += 1
    return count
