"""ToolBench: the tools stand in the system text, calls as `Thought`, `Action`, `Action Input`."""

from __future__ import annotations

import re

from matinee.data.readers.base import Account, BadRow, Draft, Reader, Row, literal, text_of
from matinee.data.readers.chat import LEVELS, ROW, supervision
from matinee.data.readers.chat import READER as CHAT
from matinee.data.readers.hermes_v1 import messages, without
from matinee.data.readers.schemas import RawCall, tools_of
from matinee.data.readers.turns import RawTurn, draft_of, role_of

TOOLS = re.compile(r"(?:access to the following APIs|following tools)\s*:\s*(\[.*\])", re.DOTALL)
ACTION = re.compile(
    r"(?:Thought:(?P<thought>.*?))?Action:(?P<name>[^\n]*)\n+\s*Action Input:(?P<input>.*)",
    re.DOTALL,
)
PROTOCOL = re.compile(
    r"You are AutoGPT, you can use many tools\s*\(functions\) to do the following task\..*?"
    r"(?=Specifically, you have|$)"
    r"|(?:Specifically, )?you have access to the following APIs\s*:\s*\Z",
    re.DOTALL | re.IGNORECASE,
)


def convert(row: Row, account: Account) -> Draft:
    """Thoughts are what the assistant says before its call."""
    found = ROW.read(dict(row), account)
    turns: list[RawTurn] = []
    listed = found.get("tools")
    for number, turn in enumerate(messages(found, account)):
        at = f"turn {number}"
        role, text = role_of(turn.get("role")), text_of(turn.get("content", ""), at)
        if role == "system" and listed is None and (match := TOOLS.search(text)):
            listed = literal(match[1], "not_json")
            text = text[: match.start(1)] + text[match.end(1) :]
            text = without(PROTOCOL, text, account)
            turns += [RawTurn("system", text)] if text else []
        elif role == "assistant" and (match := ACTION.search(text)):
            if text[: match.start()].strip():
                raise BadRow("not_supported", f"{at}: text before its Thought or Action")
            arguments = literal(match["input"], "broken_arguments")
            if not isinstance(arguments, dict):
                raise BadRow("broken_arguments", f"{at}: the Action Input is no object")
            said = (match["thought"] or "").strip()
            call = RawCall(match["name"].strip(), arguments)
            turns.append(RawTurn(role, said, (call,), supervised=supervision(turn, role, at)))
        elif role == "assistant" and "Action:" in text:
            raise BadRow("broken_arguments", f"{at}: an Action without an Action Input")
        else:
            name = turn.get("name") if role == "tool" else None
            supervised = supervision(turn, role, at)
            turns.append(RawTurn(role, text, name=name, supervised=supervised))
    return draft_of(turns, tools_of(listed, account), account)


READER = Reader(
    columns=CHAT.columns,
    convert=convert,
    levels=LEVELS,
    words=CHAT.words | {"thought", "action", "input"},
)
