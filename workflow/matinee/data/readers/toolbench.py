"""ToolBench: the tools stand in the system text, calls as `Thought`, `Action`, `Action Input`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matinee.data.readers.base import Account, BadRow, list_in, literal, shorten
from matinee.data.readers.markup import Markup
from matinee.data.readers.schemas import RawCall
from matinee.data.readers.turns import RawTurn

TOOLS = re.compile(r"(?:access to the following APIs|following tools)\s*:\s*(?=\[)")
ACTION = re.compile(
    r"(?:Thought:(?P<thought>.*?))?Action:(?P<name>[^\n]*)\n+\s*Action Input:(?P<input>.*)",
    re.DOTALL,
)
PROTOCOL = re.compile(
    r"You are AutoGPT, you can use many tools\s*\(functions\) to do the following task\..*?"
    r"(?=Specifically, you have|\Z)"
    r"|(?:Specifically, )?you have access to the following APIs\s*:[ \t]*(?=\n|\Z)",
    re.DOTALL | re.IGNORECASE,
)


def tools_in(text: str) -> tuple[str, list[Any]]:
    """The system text without its tools, and these."""
    if (match := TOOLS.search(text)) is None:
        return text, []
    if (found := list_in(text, match.end())) is None:
        raise BadRow("not_json", f"its list of tools is broken: {shorten(text[match.end() :])}")
    return text[: match.end()] + "\n" + text[found[1] :], found[0]


def read(turn: RawTurn, names: Sequence[str], account: Account, at: str) -> RawTurn:
    """Thoughts are what the assistant says before its call."""
    match = ACTION.search(turn.content)
    if turn.role != "assistant" or (match is None and "Action:" not in turn.content):
        return turn
    if match is None:
        raise BadRow("broken_arguments", f"{at}: an Action without an Action Input")
    if turn.content[: match.start()].strip():
        raise BadRow("not_supported", f"{at}: text before its Thought or Action")
    arguments = literal(match["input"], "broken_arguments")
    if not isinstance(arguments, dict):
        raise BadRow("broken_arguments", f"{at}: the Action Input is no object")
    call = RawCall(match["name"].strip(), arguments)
    return replace(turn, content=(match["thought"] or "").strip(), calls=(call,))


READER = Markup(PROTOCOL, tools_in, read).reader("thought", "action", "input")
