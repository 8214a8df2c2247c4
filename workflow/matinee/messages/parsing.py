"""Model text → tool calls, or a recorded error: total, linear in the text, strict by default.

`hermes`: `<tool_call>{"name": …, "arguments": {…}}</tool_call>` blocks with any text around.
`action`: `Action: name` / `Action Input: {…}` line pairs after any text, nothing behind them.

Strict takes exactly that: JSON as RFC 8259 has it, no key twice, finite numbers, an object as
arguments. Lenient also repairs the usual slips, see `Lenient`. Neither evaluates anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.repairing import (
    RepairError,
    close_fences,
    goes_on,
    read_values,
    repair_values,
)
from matinee.messages.transcripts import Parse, ParsedCall

CallForm = Literal["hermes", "action"]

# No tool needs more, and whatever walks the arguments later may do so recursively.
MAXIMUM_DEPTH = 32

_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = re.compile(r"</?tool_call>")
_LENIENT_TAG = re.compile(r"[<＜]\s?[/／]?\s?tool_call\s?[>＞]")
# One space may stand before it: the plain_action template begins an answer with one.
_ACTION = re.compile(r"^ ?Action:", re.MULTILINE)
_LENIENT_ACTION = re.compile(r"^[ \t]{0,8}Action ?[:：]", re.MULTILINE)
_INPUT = re.compile(r"Action Input:")
_LENIENT_INPUT = re.compile(r"[ \t]{0,8}Action Input ?[:：]")
_STRAY_INPUT = re.compile(r"^Action Input:", re.MULTILINE)


class _Broken(ValueError):
    """Where and why a text is not in the form; `position` counts characters from 0."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


@dataclass(frozen=True)
class _Found:
    """The calls of one block or pair and where its text ends. Strict, and in pairs: one call."""

    calls: tuple[ParsedCall, ...]
    end: int


def parse(form: CallForm, text: str, *, lenient: bool = False) -> Parse:
    """The calls in a model's text, and the text around them.

    Never raises. On the first break `error` says which call, at which character (from 1), and
    what was wrong; calls before it are kept, and the broken rest stays in `content`.
    """
    text = printable(text)
    parser = _hermes if form == "hermes" else _action
    calls: list[ParsedCall] = []
    rests: list[str] = []
    error = None
    try:
        parser(text, lenient, calls, rests)
    except _Broken as broken:
        error = f"call {len(calls) + 1}, character {broken.position + 1}: {broken.reason}"
    if lenient and error is None and not calls:
        calls, rests = _bare_call(text, calls, rests)
    content = "\n".join(part for part in (close_fences(r, lenient) for r in rests) if part)
    return Parse(content=content, calls=tuple(calls), error=error)


def printable(text: str) -> str:
    """The text with halves of surrogate pairs, which no file can hold, replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def write_calls(form: CallForm, calls: Sequence[ToolCall | ParsedCall], content: str = "") -> str:
    """The text that `parse` reads back as these calls, spelled as the chat templates do."""
    if form == "hermes":
        parts = [
            f'<tool_call>\n{{"name": {canonical_json(call.name)}, "arguments": {call.arguments}}}'
            "\n</tool_call>"
            for call in calls
        ]
    else:
        parts = [f"Action: {call.name}\nAction Input: {call.arguments}" for call in calls]
    return "\n".join([content, *parts] if content else parts)


def _hermes(text: str, lenient: bool, calls: list[ParsedCall], rests: list[str]) -> None:
    tags = _LENIENT_TAG if lenient else _TAG
    position = 0
    while (tag := tags.search(text, position)) is not None:
        rests.append(text[position : tag.start()])
        if "/" in tag[0] or "／" in tag[0]:
            if not lenient:
                rests[-1] = text[position:]
                raise _Broken(tag.start(), "</tool_call> without <tool_call>")
            position = tag.end()
            continue
        try:
            found = _hermes_block(text, tag.end(), tags, lenient)
        except _Broken:
            rests.append(text[tag.start() :])
            raise
        calls.extend(found.calls)
        position = found.end
    rests.append(text[position:])


def _hermes_block(text: str, start: int, tags: re.Pattern[str], lenient: bool) -> _Found:
    """The block whose opening tag ends at `start`."""
    if lenient:
        # Whole JSON first, because a tag in one of its strings is none.
        values, end = read_values(text, start)
        following = tags.search(text, end)
        stop = following.start() if following else len(text)
        if not values or goes_on(text, end):
            values += _repaired(text, end, stop)
        # The next tag is an opening one where the closing one was forgotten.
        closed = following is not None and ("/" in following[0] or "／" in following[0])
        return _Found(
            tuple(_named_call(value, start, lenient) for value in values),
            following.end() if following is not None and closed else stop,
        )
    value, end = _strict_json(text, start)
    call = _named_call(value, start, lenient)
    close = _SPACE.match(text, end)
    end = close.end() if close else end
    if not text.startswith("</tool_call>", end):
        raise _Broken(end, "expected </tool_call> after the JSON")
    return _Found((call,), end + len("</tool_call>"))


def _action(text: str, lenient: bool, calls: list[ParsedCall], rests: list[str]) -> None:
    heads = _LENIENT_ACTION if lenient else _ACTION
    head = heads.search(text)
    rests.append(text[: head.start()] if head else text)
    stray = None if lenient else _STRAY_INPUT.search(text, 0, head.start() if head else len(text))
    if stray is not None:
        raise _Broken(stray.start(), "Action Input without an Action line before it")
    while head is not None:
        try:
            found = _action_pair(text, head, lenient)
            following = _next_head(text, found.end, heads, lenient)
        except _Broken:
            rests.append(text[head.start() :])
            raise
        calls.extend(found.calls)
        stop = following.start() if following else len(text)
        rests.append(text[found.end : stop])
        head = following


def _action_pair(text: str, head: re.Match[str], lenient: bool) -> _Found:
    """The `Action:` line matched by `head` and the input under it."""
    line_end = text.find("\n", head.end())
    name = text[head.end() : line_end if line_end >= 0 else len(text)].strip()
    if not name:
        raise _Broken(head.end(), "no tool name after Action:")
    inputs = _LENIENT_INPUT if lenient else _INPUT
    marker = inputs.match(text, line_end + 1) if line_end >= 0 else None
    if marker is None:
        raise _Broken(
            len(text) if line_end < 0 else line_end + 1,
            "expected an Action Input: line",
        )
    if not lenient:
        value, end = _strict_json(text, marker.end())
        return _Found((_call(name, value, marker.end(), lenient),), end)
    # Further objects name no tool: they are text behind the arguments.
    values, end = read_values(text, marker.end())
    following = _LENIENT_ACTION.search(text, end)
    stop = following.start() if following else len(text)
    value = (values or _repaired(text, end, stop))[0]
    call = _call(name.strip("`\"'“” "), value, marker.end(), lenient)
    return _Found((call,), stop)


def _next_head(text: str, end: int, heads: re.Pattern[str], lenient: bool) -> re.Match[str] | None:
    """The next `Action:` line. Strict: nothing but space may stand before it, or at the end."""
    if lenient:
        return heads.search(text, end)
    space = _SPACE.match(text, end)
    start = space.end() if space else end
    following = heads.match(text, start)
    if following is None and start < len(text):
        raise _Broken(start, "text after the arguments")
    return following


def _bare_call(
    text: str, calls: list[ParsedCall], rests: list[str]
) -> tuple[list[ParsedCall], list[str]]:
    """Lenient only: a text that is nothing but the JSON of calls, their tags forgotten."""
    if not goes_on(text, 0) or "name" not in text:
        return calls, rests
    try:
        values = _repaired(text, 0, len(text))
        return [_named_call(value, 0, lenient=True) for value in values], []
    except _Broken:
        return calls, rests


def _named_call(value: Any, position: int, lenient: bool) -> ParsedCall:
    """The call in a decoded `{"name": …, "arguments": …}`."""
    if not isinstance(value, dict):
        raise _Broken(position, "expected a JSON object with name and arguments")
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise _Broken(position, "no tool name: `name` must be a string")
    if lenient:
        arguments = value.get("arguments", value.get("parameters", {}))
        return _call(name.strip(), arguments, position, lenient)
    if set(value) != {"name", "arguments"}:
        keys = ", ".join(sorted(set(value) ^ {"name", "arguments"}))[:80]
        raise _Broken(
            position,
            f"expected exactly the keys name and arguments (differs in: {keys})",
        )
    return _call(name, value["arguments"], position, lenient)


def _call(name: str, arguments: Any, position: int, lenient: bool) -> ParsedCall:
    if lenient and isinstance(arguments, str):
        arguments = _repaired(arguments, 0, len(arguments))[0] if arguments.strip() else {}
    if lenient and arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise _Broken(position, "the arguments are not a JSON object")
    if _deeper_than(MAXIMUM_DEPTH, arguments):
        raise _Broken(position, f"the arguments are nested deeper than {MAXIMUM_DEPTH} levels")
    try:
        encoded = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise _Broken(position, f"the arguments cannot be kept as JSON ({error})") from error
    if _SURROGATE.search(name + encoded):
        raise _Broken(position, "half of a surrogate pair (\\ud800 to \\udfff) stands alone")
    return ParsedCall(name=name, arguments=encoded)


def _deeper_than(levels: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(levels - 1, child) for child in children)


def _strict_json(text: str, start: int) -> tuple[Any, int]:
    """The JSON value at `start` (space skipped) and where it ends."""
    space = _SPACE.match(text, start)
    begin = space.end() if space else start
    try:
        value, end = _DECODER.raw_decode(text, begin)
    except json.JSONDecodeError as error:
        raise _Broken(error.pos, f"not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise _Broken(begin, f"not usable JSON: {error}") from error
    return value, end


def _repaired(text: str, start: int, stop: int) -> list[Any]:
    """The JSON between two positions; where it is broken, as `repair_values` understands it."""
    try:
        return repair_values(text[start:stop])
    except RepairError as error:
        raise _Broken(start, str(error)) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(literal: str) -> float:
    value = float(literal)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {literal[:20]} is too large")
    return value


def _object_without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_twins,
    parse_constant=_refuse_constant,
    parse_float=_finite,
)
