"""ToolACE: the tools stand in the system text, calls are written `[Name(key="value"), …]`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from matinee.data.readers.base import (
    DECODER,
    Account,
    BadRow,
    Draft,
    Reader,
    Row,
    literal,
    shorten,
    text_of,
)
from matinee.data.readers.chat import LEVELS, ROW, supervision
from matinee.data.readers.chat import READER as CHAT
from matinee.data.readers.hermes_v1 import messages, without
from matinee.data.readers.schemas import RawCall, tools_of
from matinee.data.readers.turns import RawTurn, draft_of, role_of

PAIRS = {"(": ")", "[": "]", "{": "}"}
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


def convert(row: Row, account: Account) -> Draft:
    """The system text gives the tools, and is kept where it says more."""
    found = ROW.read(dict(row), account)
    turns: list[RawTurn] = []
    listed: Any = found.get("tools")
    tools = tools_of(listed, account)
    for number, turn in enumerate(messages(found, account)):
        at = f"turn {number}"
        role, text = role_of(turn.get("role")), text_of(turn.get("content", ""), at)
        supervised = supervision(turn, role, at)
        if role == "system":
            before, listed, after = _list_in(text)
            if listed and not tools:
                tools = tools_of(listed, account)
                text = before + "\n" + after
            text = without(PROTOCOL, text, account) if tools else text
            turns += [RawTurn("system", text)] if text else []
        elif role == "assistant":
            said, calls = calls_in(text, [tool.name for tool in tools], at)
            turns.append(RawTurn(role, said, calls, supervised=supervised))
        else:
            turns.append(RawTurn(role, text, supervised=supervised))
    return draft_of(turns, tools, account)


def _list_in(system: str) -> tuple[str, list[Any], str]:
    """What stands before the list of tools, the list, and what stands after it."""
    start = system.find("[{")
    if start < 0:
        return system, [], ""
    try:
        listed, end = DECODER.raw_decode(system, start)
    except (ValueError, RecursionError) as error:
        raise BadRow("not_json", f"tool list is not JSON ({error})") from error
    return system[:start], listed, system[end:]


def calls_in(text: str, names: Sequence[str], at: str) -> tuple[str, tuple[RawCall, ...]]:
    """What an answer says before its calls, and these. Raises BadRow for calls that are torn."""
    begins = [match.start() for match in re.finditer(r"\[\s*(?=[^\[\]\s(][^\[\](]*\()", text)]
    for start in begins:
        inner = text[start + 1 :].strip()
        called = next((name for name in names if inner.startswith(f"{name}(")), None)
        whole_answer = not text[:start].strip() and inner.endswith(")]")
        if called is None and not (whole_answer and inner.split("(")[0].isidentifier()):
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
    return literal(text, "broken_arguments")


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


READER = Reader(columns=CHAT.columns, convert=convert, levels=LEVELS, words=CHAT.words)
