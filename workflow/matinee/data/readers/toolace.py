"""ToolACE: the tools stand in the system text, calls are written `[Name(key="value"), …]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from matinee.data.readers.base import Account, BadRow, list_in, literal, shorten
from matinee.data.readers.markup import Markup
from matinee.data.readers.schemas import RawCall
from matinee.data.readers.turns import RawTurn

CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
# How the set tells a model to call: the prompt template says it again in its own words.
PROTOCOL = re.compile(
    r"""You\ are\ an\ expert\ in\ composing\ functions\.
    | You\ are\ given\ a\ question\ and\ a\ set\ of\ possible\ functions\.
    | Based\ on\ the\ question,\ you\ will\ need\ to\ make\ one\ or\ more\ function/tool\ calls\ to
      \ achieve\ the\ purpose\.
    | If\ none\ of\ the\ functions?\ can\ be\ used,\ point\ it\ out\.
    | If\ the\ given\ question\ lacks\ the\ parameters\ required\ by\ the\ function,
      \s*also\ point\ it\ out\.
    | You\ should\ only\ return\ the\ function\ calls?\ in\ (?:the\ )?tools?\ calls?\ sections?\.
    | Here\ is\ a\ list\ of\ functions\ in\ JSON\ format\ that\ you\ can\ invoke:?
    | Should\ you\ decide\ to\ return\ the\ function\ call\(s\)\.?,?
    | (?:You\ MUST\ )?Put\ it\ in\ the\ format\ of\ \[func1\([^\n]*\]\.?
    | NO\ other\ text\ MUST\ be\ included\.?
    | (?<![\w.])Tools:\s*(?=\Z|\n)""",
    re.VERBOSE | re.IGNORECASE,
)


def tools_in(system: str) -> tuple[str, list[Any]]:
    """The system text without its list of tools, and this."""
    begins = [match.start() for match in re.finditer(r"""\[\s*\{\s*["']""", system)]
    for start in begins:
        if found := list_in(system, start):
            return system[:start] + "\n" + system[found[1] :], found[0]
    if begins:
        raise BadRow("not_json", f"its list of tools is broken: {shorten(system[begins[0] :])}")
    return system, []


def read(turn: RawTurn, names: Sequence[str], account: Account, at: str) -> RawTurn:
    """The turn with the calls that end an assistant's text."""
    if turn.role != "assistant":
        return turn
    said, calls = calls_in(turn.content, names, at)
    return replace(turn, content=said, calls=calls)


def calls_in(text: str, names: Sequence[str], at: str) -> tuple[str, tuple[RawCall, ...]]:
    """What an answer says before its calls, and these. Raises BadRow for calls that are torn."""
    begins = [match.start() for match in re.finditer(r"\[\s*(?=[^\[\]\s(][^\[\](]*\()", text)]
    for start in begins:
        inner = text[start + 1 :].strip()
        called = next((name for name in names if inner.startswith(f"{name}(")), None)
        whole_answer = not text[:start].strip() and inner.endswith(")]")
        if called is None and not (
            whole_answer and re.fullmatch(r"[^\W\d][\w.\-/]*", inner.partition("(")[0])
        ):
            continue
        if not inner.endswith("]"):
            raise BadRow(
                "broken_arguments", f"{at}: calls that do not end its text: {shorten(inner)}"
            )
        return text[:start].strip(), tuple(_call(one) for one in split(inner[:-1]))
    return text, ()


def _call(text: str) -> RawCall:
    # The name may hold spaces, and parentheses of its own; the arguments are the last pair.
    opening = _opening_of_last_pair(text)
    if not text.endswith(")") or opening <= 0:
        raise BadRow("broken_arguments", f"not a call: {shorten(text)}")
    arguments: dict[str, Any] = {}
    for pair in split(text[opening + 1 : -1]):
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadRow("broken_arguments", f"an argument without `=`: {shorten(pair)}")
        name = key.strip().strip("'\"")
        if name in arguments:
            raise BadRow("broken_arguments", f"the argument {name} stands twice: {shorten(text)}")
        arguments[name] = _value(value.strip())
    return RawCall(text[:opening].strip(), arguments)


def _opening_of_last_pair(text: str) -> int:
    return max((at for at, depth, sign in _unquoted(text) if sign == "(" and not depth), default=-1)


def _value(text: str) -> Any:
    if text.lower() in CONSTANTS:
        return CONSTANTS[text.lower()]
    return literal(text, "broken_arguments")


def split(text: str) -> list[str]:
    """The parts between commas, without those inside brackets or quotes."""
    commas = [at for at, depth, sign in _unquoted(text) if sign == "," and not depth]
    edges = zip([-1, *commas], [*commas, len(text)], strict=True)
    return [part for start, end in edges if (part := text[start + 1 : end].strip())]


def _unquoted(text: str) -> Iterator[tuple[int, int, str]]:
    """Place, brackets around it, and character outside of quotes, which open after `=([{,:`."""
    quote, previous, escaped, depth = "", "", False, 0
    for position, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "\"'" and previous in "=([{,:":
            quote, escaped = character, False
        else:
            depth -= character in ")]}"
            yield position, depth, character
            depth += character in "([{"
        previous = previous if character.isspace() else character


READER = Markup(PROTOCOL, tools_in, read).reader()
