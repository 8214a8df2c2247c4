"""What a reader is, and the small steps that several readers share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from matinee.messages.conversations import Message, Tool, ToolCall, canonical_json

BadKind = Literal[
    "not_json",
    "wrong_columns",
    "roles_out_of_order",
    "unlisted_tool",
    "repeated_tool",
    "broken_arguments",
    "empty",
    "over_long",
    "lost_content",
]

Row = Mapping[str, Any]


class BadRow(Exception):
    """A row that cannot be used; `kind` is its class, `reason` one sentence."""

    def __init__(self, kind: BadKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: BadKind = kind
        self.reason = reason


@dataclass(frozen=True)
class Counts:
    """What a row holds. A turn is a user or assistant message, or the answers to its calls."""

    turns: int = 0
    calls: int = 0
    tools: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.turns + other.turns, self.calls + other.calls, self.tools + other.tools)


@dataclass(frozen=True)
class Draft:
    """A row's messages and tools before they are checked."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()

    @property
    def counts(self) -> Counts:
        """What the conversation holds."""
        return Counts(
            turns=count_turns(message.role for message in self.messages),
            calls=sum(len(message.tool_calls) for message in self.messages),
            tools=len(self.tools),
        )


@dataclass(frozen=True)
class Numbered:
    """A raw row with its number in the file, from 1; `problem` where it could not be had."""

    number: int
    value: Any = None
    problem: str = ""
    kind: BadKind = "not_json"


@dataclass(frozen=True)
class Reader:
    """How one published format is read.

    `columns`: those a row must have. `convert` makes the conversation and raises BadRow.
    `count` counts turns, calls and tools in the raw row by other means than `convert`, so that a
    difference shows what a conversion lost. `gather`: for formats where several rows make one
    conversation.
    """

    columns: tuple[str, ...]
    convert: Callable[[Row], Draft]
    count: Callable[[Row], Counts]
    gather: Callable[[Iterable[Numbered]], Iterator[Numbered]] | None = None


def count_turns(roles: Iterable[str]) -> int:
    """Turns in a sequence of roles: system messages are none, answers in a row are one."""
    turns, previous = 0, ""
    for role in roles:
        if role != "system" and not (role == previous == "tool"):
            turns += 1
        previous = role
    return turns


def decode(text: Any, what: str, kind: BadKind = "not_json") -> Any:
    """The value of a JSON text; a value that is no string is taken as decoded already."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRow(kind, f"{what} is not JSON ({error}): {shorten(text)}") from error


def decode_all(text: str) -> list[Any]:
    """Every JSON object of a text, in order, whatever stands between them."""
    decoder = json.JSONDecoder()
    found = []
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError as error:
            raise BadRow("not_json", f"tool list is not JSON ({error})") from error
        found.append(value)
        position = text.find("{", end)
    return found


def tools_of(value: Any) -> tuple[Tool, ...]:
    """Tools from a list (or its JSON text) of OpenAI tools or bare functions; none if empty."""
    decoded = decode(value, "tools") if value not in (None, "") else []
    if not isinstance(decoded, list):
        raise BadRow("wrong_columns", f"tools is not a list: {shorten(str(value))}")
    try:
        return tuple(Tool.from_openai(tool) for tool in decoded)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRow("wrong_columns", f"a tool has no name: {shorten(str(decoded))}") from error


def call_of(value: Any) -> ToolCall:
    """A call from `{"name": …, "arguments": …}`, with the arguments decoded or as JSON text."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise BadRow("broken_arguments", f"a call has no name: {shorten(str(value))}")
    arguments = decode(value.get("arguments") or {}, "arguments", "broken_arguments")
    if not isinstance(arguments, dict):
        raise BadRow("broken_arguments", f"arguments are no object: {shorten(str(arguments))}")
    return ToolCall(value["name"], canonical_json(arguments))


def name_answers(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Gives each tool message the name of the call that it answers, where that is certain."""
    named: list[Message] = []
    open_calls: list[str] = []
    for message in messages:
        if message.role == "tool":
            name = message.name or (open_calls.pop(0) if open_calls else None)
            named.append(Message("tool", message.content, name=name))
        else:
            open_calls = [call.name for call in message.tool_calls]
            named.append(message)
    return tuple(named)


TYPES = {
    **{"dict": "object", "map": "object", "object": "object"},
    **{"list": "array", "tuple": "array", "set": "array", "array": "array"},
    **{"str": "string", "string": "string", "int": "integer", "integer": "integer"},
    **{"float": "number", "double": "number", "number": "number", "bool": "boolean"},
    **{"boolean": "boolean", "null": "null", "none": "null"},
}


def standard_schema(schema: Any) -> Any:
    """The schema with Python's and other names of types replaced by those of JSON Schema.

    A type that has no such name (`any`) is left out, which allows every value.
    """
    if isinstance(schema, list):
        return [standard_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {
        key: standard_schema(value) for key, value in schema.items() if key not in ("type", "enum")
    }
    if "enum" in schema:
        changed["enum"] = schema["enum"]
    kind = schema.get("type")
    if isinstance(kind, str):
        if standard := TYPES.get(kind.lower().split("[")[0].strip()):
            changed = {"type": standard, **changed}
    elif kind is not None:
        changed = {"type": standard_schema(kind), **changed}
    return changed


def shorten(text: str, length: int = 120) -> str:
    """The beginning of a text, on one line."""
    flat = re.sub(r"\s+", " ", text)
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def language_of(text: str) -> str:
    """`zh`, `en` or `other`, by which letters are most: Han counts double, for its density."""
    han = 2 * len(re.findall(r"[\u4e00-\u9fff]", text))
    latin = len(re.findall(r"[A-Za-z]", text))
    letters = sum(map(str.isalpha, text))
    if han and han >= latin:
        return "zh"
    return "en" if latin and 2 * latin >= letters else "other"
