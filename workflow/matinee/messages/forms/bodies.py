"""How families spell one call: as JSON, as Python, in tags, or in Gemma's own way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from matinee.messages.conversations import Tool, ToolCall, canonical_json
from matinee.messages.forms.base import MAXIMUM_DEPTH, Broken, Reading
from matinee.messages.forms.grammar import (
    json_arguments,
    json_value,
    lazily,
    quoted,
    spelled,
    without,
)
from matinee.messages.transcripts import ParsedCall

Call = ToolCall | ParsedCall
_WORD = re.compile(r"[^\W\d][\w.\-]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_CONSTANTS = {
    **{"true": True, "True": True, "false": False, "False": False},
    **{"null": None, "None": None},
}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.|\n))", re.DOTALL
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "a": "\a", "\n": ""}
_ESCAPES["v"] = "\v"


@dataclass(frozen=True)
class JsonBody:
    """`{"name": …, "arguments": {…}}`; `extra`: a further key, and what its value looks like."""

    arguments: str = "arguments"
    extra: str = ""
    pattern: str = ""

    def read(self, reading: Reading, at: int) -> tuple[ParsedCall, int]:
        value, end = reading.json(at)
        more = [self.extra] if self.extra else []
        return reading.named_call(value, at, self.arguments, more), end

    def write(self, call: Call) -> str:
        tail = f', "{self.extra}": "call00000"' if self.extra else ""
        return f"{self.opening(call.name)}{call.arguments}{tail}}}"

    def opening(self, name: str) -> str:
        return f'{{"name": {canonical_json(name)}, "{self.arguments}": '

    def grammar(self, tool: Tool, number: int, tokens: Mapping[str, int]) -> str:
        tail = '"}"'
        if self.extra:
            key = quoted(f', "{self.extra}": "')
            tail = f'({key} /{self.pattern}/ "\\"")? "}}"'
        head = spelled(self.opening(tool.name), tokens)
        return f"tool_{number}: {head} {json_arguments(tool)} {tail}"


@dataclass(frozen=True)
class NameThenJson:
    """`BEFORE name BETWEEN {…} AFTER`; `aside`: what may stand behind the name and is no part."""

    before: str = ""
    between: str = "\n"
    after: str = ""
    aside: str = ""

    def read(self, reading: Reading, at: int) -> tuple[ParsedCall, int]:
        start = reading.expect(at, self.before, "part_mark")
        between = self.between.strip() or self.between
        name, end = reading.until(reading.skip(start), between, "part_tool")
        value, end = reading.json(end)
        if self.after:
            end = reading.expect(end, self.after, "part_json")
        name = name.partition(self.aside)[0] if self.aside else name
        return reading.call(name.strip(), value, start), end

    def write(self, call: Call) -> str:
        return f"{self.opening(call.name)}{call.arguments}{self.after}"

    def opening(self, name: str) -> str:
        return f"{self.before}{name}{self.between}"

    def grammar(self, tool: Tool, number: int, tokens: Mapping[str, int]) -> str:
        head = spelled(self.opening(tool.name), tokens)
        return f"tool_{number}: {head} {json_arguments(tool)} {spelled(self.after, tokens)}"


@dataclass(frozen=True)
class Tagged:
    """A name, and each argument between tags: text as it is, all else as JSON.

    `name`, `key`, `value`: what stands before and behind each. `after`: what ends the call.
    """

    name: tuple[str, str]
    key: tuple[str, str]
    value: tuple[str, str]
    after: str = ""

    def read(self, reading: Reading, at: int) -> tuple[ParsedCall, int]:
        start = reading.expect(at, self.name[0], "part_mark")
        behind = self.name[1].strip()
        if behind:
            name, at = reading.until(start, behind, "part_tool")
        else:
            line = re.compile(r"[^\n<]*").match(reading.text, reading.skip(start))
            name, at = (line[0], line.end()) if line else ("", start)
        if not name.strip():
            raise Broken(start, "no_tool_name")
        name = name.strip()
        known = _properties(reading.schemas.get(name, {}))
        values: dict[str, Any] = {}
        while (end := reading.has(at, self.key[0])) is not None:
            key, end = reading.until(end, self.key[1].strip(), "part_name")
            opened = self.value[0].lstrip() if not self.value[0].strip() else self.value[0].strip()
            end = reading.expect(end, opened, "part_name") if opened.strip() else end
            raw, at = reading.until(end, self.value[1].strip(), "part_value")
            if key in values:
                raise Broken(end, "argument_twice", name=key[:40])
            values[key] = typed(self._bare(raw), known.get(key))
        if self.after:
            at = reading.expect(at, self.after, "part_arguments")
        return reading.call(name, values, start), at

    def _bare(self, raw: str) -> str:
        """The value without the line breaks that belong to the tags."""
        if raw.startswith("<![CDATA[") and raw.endswith("]]>"):
            return raw[9:-3]
        if self.value[1].startswith("\n"):
            raw = raw.removeprefix("\n").removesuffix("\n")
        return raw

    def write(self, call: Call) -> str:
        items = [
            f"{self.key[0]}{key}{self.key[1]}{self.value[0]}{_as_text(value)}{self.value[1]}"
            for key, value in json.loads(call.arguments).items()
        ]
        return f"{self.opening(call.name)}{''.join(items)}{self.after}"

    def opening(self, name: str) -> str:
        return f"{self.name[0]}{name}{self.name[1]}"

    def grammar(self, tool: Tool, number: int, tokens: Mapping[str, int]) -> str:
        schema = tool.schema
        rules, parts = [], []
        for place, (key, described) in enumerate(_properties(schema).items()):
            rule = f"tool_{number}_{place}"
            parts.append(rule if key in schema.get("required", ()) else f"{rule}?")
            head = f"{self.key[0]}{key}{self.key[1]}{self.value[0]}"
            if is_text(described):
                rules += text_rules(rule, described, (head, self.value[1]), tokens)
            else:
                tail = spelled(self.value[1], tokens)
                rules.append(f"{rule}: {spelled(head, tokens)} {json_value(described)} {tail}")
        head = spelled(self.opening(tool.name), tokens)
        rules.append(f"tool_{number}: {head} {' '.join(parts)} {spelled(self.after, tokens)}")
        return "\n".join(rules)


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def is_text(schema: Any) -> bool:
    """Whether a value of this schema can be nothing but text."""
    if not isinstance(schema, dict):
        return False
    if "enum" in schema:
        return all(isinstance(value, str) for value in schema["enum"])
    return schema.get("type") in ("string", ["string"])


def typed(raw: str, schema: Any) -> Any:
    """A value that was written without quotes: text where the schema says so, else JSON."""
    if is_text(schema):
        return raw
    try:
        value, end = Reading(raw).json(0)
    except Broken:
        return _CONSTANTS.get(raw.strip(), raw)
    return value if not raw[end:].strip() else raw


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


@dataclass(frozen=True)
class Pythonic:
    """`name(key=value, …)` with Python's or JSON's literals."""

    def read(self, reading: Reading, at: int) -> tuple[ParsedCall, int]:
        start = reading.skip(at)
        name = _WORD.match(reading.text, start)
        if name is None or not reading.text.startswith("(", name.end()):
            raise Broken(start, "no_python_call")
        literals = Literals(reading, "=", ("'", '"'))
        values, end = literals.items(name.end() + 1, ")", 0)
        return reading.call(name[0], values, start), end

    def write(self, call: Call) -> str:
        written = [f"{key}={_python(value)}" for key, value in json.loads(call.arguments).items()]
        return f"{call.name}({', '.join(written)})"

    def opening(self, name: str) -> str:
        return f"{name}("

    def grammar(self, tool: Tool, number: int, tokens: Mapping[str, int]) -> str:
        return listed_arguments(tool, number, self.opening(tool.name), PYTHON, tokens)


@dataclass(frozen=True)
class GemmaBody:
    """`call:name{key:value,…}` with `quote` around texts, and keys as they are."""

    quote: str

    def read(self, reading: Reading, at: int) -> tuple[ParsedCall, int]:
        start = reading.expect(at, "call:", "part_mark")
        name, end = reading.until(start, "{", "part_tool")
        known = _properties(reading.schemas.get(name.strip(), {}))
        literals = Literals(reading, ":", (self.quote, '"'))
        values, end = literals.items(end, "}", 0)
        for key, value in values.items():
            if isinstance(value, str) and not is_text(known.get(key, {"type": "string"})):
                values[key] = typed(value, known[key])
        return reading.call(name.strip(), values, start), end

    def write(self, call: Call) -> str:
        return f"{self.opening(call.name)}{self._items(json.loads(call.arguments))}}}"

    def _items(self, values: Mapping[str, Any]) -> str:
        return ",".join(f"{key}:{self._value(values[key])}" for key in sorted(values))

    def _value(self, value: Any) -> str:
        if isinstance(value, str):
            return f"{self.quote}{value}{self.quote}"
        if isinstance(value, dict):
            return f"{{{self._items(value)}}}"
        if isinstance(value, list):
            return f"[{','.join(self._value(item) for item in value)}]"
        return canonical_json(value)

    def opening(self, name: str) -> str:
        return f"call:{name}{{"

    def grammar(self, tool: Tool, number: int, tokens: Mapping[str, int]) -> str:
        listing = Listing(":", ",", "}", self.quote)
        return listed_arguments(tool, number, self.opening(tool.name), listing, tokens)


def _python(value: Any) -> str:
    """JSON's literals but for the constants, which are Python's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{canonical_json(k)}: {_python(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return str(value) if value is None or isinstance(value, bool) else canonical_json(value)


class Literals:
    """Reads literals: `equals` stands behind an argument's name, `quotes` around texts.

    A quote of more than one character knows no escapes.
    """

    def __init__(self, reading: Reading, equals: str, quotes: tuple[str, str]) -> None:
        self._reading = reading
        self._equals = equals
        self._quotes = quotes

    def items(self, at: int, closing: str, depth: int) -> tuple[dict[str, Any], int]:
        """`key=value, …` up to the closing bracket, and where that ends. Raises Broken."""
        reading, values = self._reading, dict[str, Any]()
        equals = ":" if closing == "}" else self._equals
        while (end := reading.has(at, closing)) is None:
            if values:
                at = reading.expect(at, ",", "part_value")
                if (end := reading.has(at, closing)) is not None:
                    break
            place = reading.skip(at)
            key, at = self._key(place, equals)
            at = reading.expect(at, equals, "part_name")
            if key in values:
                raise Broken(place, "argument_twice", name=key[:40])
            values[key], at = self._value(at, depth + 1)
        return values, end

    def _key(self, at: int, equals: str) -> tuple[str, int]:
        for quote in self._quotes:
            if self._reading.text.startswith(quote, at):
                return self._string(at, quote)
        end = self._reading.text.find(equals, at)
        key = self._reading.text[at:end].strip()
        if end < 0 or not key or (equals == "=" and not _WORD.fullmatch(key)):
            raise Broken(at, "no_argument_name", mark=equals)
        return key, end

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        reading = self._reading
        at = reading.skip(at)
        if depth > MAXIMUM_DEPTH:
            raise Broken(at, "too_deep", number=MAXIMUM_DEPTH)
        for quote in self._quotes:
            if reading.text.startswith(quote, at):
                return self._string(at, quote)
        if reading.text.startswith("{", at):
            return self.items(at + 1, "}", depth)
        if reading.text.startswith("[", at):
            return self._list(at + 1, depth)
        number = _NUMBER.match(reading.text, at)
        if number is not None:
            return reading.json(at)
        word = _WORD.match(reading.text, at)
        if word is not None and word[0] in _CONSTANTS:
            return _CONSTANTS[word[0]], word.end()
        raise Broken(at, "no_value")

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        while (end := self._reading.has(at, "]")) is None:
            if values:
                at = self._reading.expect(at, ",", "part_value")
                if (end := self._reading.has(at, "]")) is not None:
                    break
            value, at = self._value(at, depth + 1)
            values.append(value)
        return values, end

    def _string(self, at: int, quote: str) -> tuple[str, int]:
        text, begin = self._reading.text, at + len(quote)
        end, escapes = begin, len(quote) == 1
        while (end := text.find(quote, end)) >= 0:
            raw = text[begin:end]
            if not escapes or (len(raw) - len(raw.rstrip("\\"))) % 2 == 0:
                return (_unescaped(raw) if escapes else raw), end + len(quote)
            end += 1
        raise Broken(at, "open_quote")


def _unescaped(raw: str) -> str:
    def meant(escape: re.Match[str]) -> str:
        code = escape[1] or escape[2] or escape[3]
        if code:
            return chr(min(int(code, 16), 0x10FFFF))
        return _ESCAPES.get(escape[4], escape[4] if escape[4] in "'\"\\/" else escape[0])

    text = _ESCAPE.sub(meant, raw)
    # Two escapes that are one character in UTF-16, as JSON writes them.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def text_rules(
    rule: str, schema: Mapping[str, Any], around: tuple[str, str], tokens: Mapping[str, int]
) -> list[str]:
    """The rules of a text without escapes between head and tail, which ends at the first tail."""
    head, tail = around
    if "enum" in schema:
        texts = " | ".join(spelled(f"{head}{one}{tail}", tokens) for one in schema["enum"])
        return [f"{rule}: {texts}"]
    return [
        f"{rule}: {spelled(head, tokens)} {rule}_text",
        lazily(f"{rule}_text", rule.upper(), tail, tokens),
        f"{rule.upper()}: {without([tail.strip()])}",
    ]


class Listing(NamedTuple):
    """How arguments are listed; `quote`: what stands around a text, which then has no escapes."""

    equals: str
    comma: str
    closing: str
    quote: str = ""


PYTHON = Listing("=", ", ", ")")


def listed_arguments(
    tool: Tool, number: int, opening: str, listing: Listing, tokens: Mapping[str, int]
) -> str:
    """The rules of a call with its arguments in the order of the schema, commas between them."""
    equals, comma, closing, quote = listing
    schema, me = tool.schema, f"tool_{number}"
    properties = _properties(schema)
    keys = sorted(properties) if quote else list(properties)
    rules = [f"{me}: {spelled(opening, tokens)} {me}_0_first {spelled(closing, tokens)}"]
    for place, key in enumerate(keys):
        value, described = f"{me}_{place}_value", properties[key]
        if quote and is_text(described):
            rules += text_rules(value, described, (quote, quote), tokens)
        else:
            rules.append(f"{value}: {json_value(described)}")
        # The arguments from here on, where none was written before and where one was.
        for kind, before in (("first", ""), ("more", comma)):
            skip = "" if key in schema.get("required", ()) else f" | {me}_{place + 1}_{kind}"
            written = f"{quoted(before + key + equals)} {value} {me}_{place + 1}_more"
            rules.append(f"{me}_{place}_{kind}: {written}{skip}")
    rules += [f'{me}_{len(keys)}_{kind}: ""' for kind in ("first", "more")]
    return "\n".join(rules)
