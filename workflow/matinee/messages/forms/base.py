"""What a form of calls is: how calls are written, read, recognised and bounded by a grammar."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from matinee.messages.conversations import Tool, ToolCall
from matinee.messages.repairing import RepairError, repair_values
from matinee.messages.strict_json import DECODER, SURROGATE, NotStrict, deeper_than
from matinee.messages.transcripts import Detail, ParsedCall

# No tool needs more, and whatever walks the arguments later may do so recursively.
MAXIMUM_DEPTH = 32

SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Template:
    """A prompt template of our own, in the file NAME.jinja beside the form that it writes.

    `turn_end`: what ends an assistant turn; None for the tokenizer's end of sequence.
    """

    turn_end: str | None
    about: str


class Broken(ValueError):
    """Where and why a text is not in the form; `position` counts characters from 0.

    The words of `detail` are in `messages/details.yaml`.
    """

    def __init__(self, position: int, key: str, /, **values: str | int | Detail) -> None:
        super().__init__(key)
        self.position = position
        self.detail = Detail(key=key, values=dict(values))


# What Python's decoder says, as keys.
JSON_PROBLEMS = {
    "Expecting value": "json_value",
    "Expecting property name enclosed in double quotes": "json_key",
    "Expecting ',' delimiter": "json_comma",
    "Expecting ':' delimiter": "json_colon",
    "Unterminated string starting at": "json_open_string",
    "Invalid control character at": "json_control",
    "Invalid \\escape": "json_escape",
    "Invalid \\uXXXX escape": "json_escape",
}


@dataclass
class Reading:
    """A model's text, and what was found in it so far.

    `schemas`: per tool its parameters' JSON Schema, for forms that write values without types.
    `rests`: the text around calls.
    """

    text: str
    lenient: bool = False
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calls: list[ParsedCall] = field(default_factory=list)
    rests: list[str] = field(default_factory=list)

    def skip(self, at: int) -> int:
        """Where the space at `at` ends."""
        space = SPACE.match(self.text, at)
        return space.end() if space else at

    def has(self, at: int, mark: str) -> int | None:
        """Where `mark` ends if it stands at `at`, space around it left aside."""
        at = self.skip(at)
        return at + len(mark.strip()) if self.text.startswith(mark.strip(), at) else None

    def expect(self, at: int, mark: str, after: str) -> int:
        """Where the `mark` that must stand at `at` ends; `after` is a key. Raises Broken."""
        end = self.has(at, mark)
        if end is None:
            raise Broken(self.skip(at), "expected", mark=mark.strip(), after=Detail(key=after))
        return end

    def until(self, at: int, mark: str, what: str) -> tuple[str, int]:
        """The text up to `mark`, and where the mark ends; `what` is a key. Raises Broken."""
        end = self.text.find(mark, at)
        if end < 0:
            raise Broken(at, "expected", mark=mark.strip(), after=Detail(key=what))
        return self.text[at:end], end + len(mark)

    def json(self, at: int) -> tuple[Any, int]:
        """The JSON value at `at` (space skipped) and where it ends. Raises Broken."""
        begin = self.skip(at)
        try:
            return DECODER.raw_decode(self.text, begin)
        except NotStrict as error:
            raise Broken(begin, "not_usable_json", detail=error.detail) from error
        except json.JSONDecodeError as error:
            if self.lenient:
                line = self.text.find("\n", begin)
                end = line if line >= 0 else len(self.text)
                return self.repaired(begin, end)[0], end
            problem = Detail(key=JSON_PROBLEMS.get(error.msg, "json_value"))
            raise Broken(error.pos, "not_json", detail=problem) from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits
            raise Broken(begin, "not_usable_json", detail=Detail(key="json_too_much")) from error

    def repaired(self, start: int, stop: int) -> list[Any]:
        """The JSON between two positions; where it is broken, as `repair_values` understands it."""
        try:
            return repair_values(self.text[start:stop])
        except RepairError as error:
            raise Broken(start, error.detail.key, **error.detail.values) from error

    def named_call(
        self, value: Any, position: int, key: str = "arguments", more: Sequence[str] = ()
    ) -> ParsedCall:
        """The call of `{"name": …, "arguments": …}`; `more`: keys that may be there too."""
        if not isinstance(value, dict):
            raise Broken(position, "no_named_call")
        if self.lenient:
            given = value.get("arguments", value.get("parameters", {}))
            return self.call(value.get("name"), given, position)
        if not isinstance(value.get("name"), str):
            raise Broken(position, "no_tool_name")
        if differing := (set(value) - set(more)) ^ {"name", key}:
            keys = ", ".join(sorted(differing))[:80]
            raise Broken(position, "other_keys", key=key, keys=keys)
        return self.call(value["name"], value[key], position)

    def call(self, name: Any, arguments: Any, position: int) -> ParsedCall:
        """The call, checked. Raises Broken for what is no name or no object of arguments."""
        if not isinstance(name, str) or not name.strip():
            raise Broken(position, "no_tool_name")
        if self.lenient:
            name = name.strip()
            if isinstance(arguments, str):
                inner = Reading(arguments, lenient=True)
                arguments = inner.repaired(0, len(arguments))[0] if arguments.strip() else {}
            arguments = {} if arguments is None else arguments
        if not isinstance(arguments, dict):
            raise Broken(position, "no_object")
        if deeper_than(MAXIMUM_DEPTH, arguments):
            raise Broken(position, "too_deep", number=MAXIMUM_DEPTH)
        try:
            encoded = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise Broken(position, "not_finite") from error
        if SURROGATE.search(name + encoded):
            raise Broken(position, "half_of_a_pair")
        return ParsedCall(name=name, arguments=encoded)


class Form(ABC):
    """One spelling of calls.

    `marks`: texts that open or close calls, which a tokenizer may know as tokens of their own.
    `start`: where a call begins, or a text that only a call may hold; `\\A` where calls can only
    stand at the very beginning. `templates`: those of our own that write this form. `vllm`: the
    name of vLLM's parser of it; empty where it has none.
    """

    name: str
    about: str
    marks: tuple[str, ...] = ()
    start: re.Pattern[str]
    vllm: str = ""
    templates: ClassVar[Mapping[str, Template]] = {}

    @abstractmethod
    def read(self, reading: Reading) -> None:
        """Fills in calls and rests. Raises Broken, after the broken text was put with the rests."""

    @abstractmethod
    def write(self, calls: Sequence[ToolCall | ParsedCall], content: str = "") -> str:
        """The text that is read back as these calls."""

    @abstractmethod
    def opening(self, name: str) -> str:
        """With what a call of this tool begins, up to its arguments."""

    @abstractmethod
    def grammar(self, tools: Sequence[Tool], tokens: Mapping[str, int]) -> str:
        """llguidance's grammar of answers; `tokens`: the marks that are special tokens."""
