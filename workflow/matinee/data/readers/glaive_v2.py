"""Raw glaive-function-calling-v2: `system` and `chat` as text with USER:, ASSISTANT: and so on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matinee.data.readers.base import (
    Account,
    BadRow,
    Reader,
    Row,
    decode,
    shorten,
    text_of,
    words,
)
from matinee.data.readers.chat import good_row, row_level
from matinee.data.readers.markup import Markup
from matinee.data.readers.schemas import CALL as CALL_LEVEL
from matinee.data.readers.schemas import TOOL, WORDS, RawCall, call_of
from matinee.data.readers.turns import RawTurn
from matinee.messages.conversations import Conversation, Role
from matinee.messages.strict_json import DECODER

ROW = row_level({"system": ("system",), "chat": ("chat",)})
MARK = re.compile(r"^[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE):", re.MULTILINE)
ROLES: dict[str, Role] = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
CALL = "<functioncall>"
HEAD = re.compile(r'\{\s*"name"\s*:\s*"([^"]+)"\s*(?:,\s*"arguments"\s*:\s*(.*))?\}\s*$', re.DOTALL)
# The set's two sentences around the tools; what else the system text says is kept.
PROTOCOL = re.compile(
    r"You are a helpful assistant,? with access to the following functions\."
    r"(?:\s*Use them if required)?[\s\-:]*"
    r"|You are a helpful assistant,? with no access to external functions\.?\s*",
    re.IGNORECASE,
)


def convert(row: Row, account: Account) -> Conversation:
    """The system text gives the tools, and is kept where it says more."""
    found = good_row(ROW, row, account)
    system = text_of(found["system"], "system").strip().removeprefix("SYSTEM:")
    parts = MARK.split(text_of(found["chat"], "chat"))
    if parts[0].strip():
        raise BadRow("roles_out_of_order", f"text before the first turn: {shorten(parts[0])}")
    turns = [RawTurn("system", system)] + [
        RawTurn(ROLES[mark], text.replace("<|endoftext|>", "").strip())
        for mark, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return Markup(PROTOCOL, tools_in, read).draft(turns, (), account)


def tools_in(system: str) -> tuple[str, list[Any]]:
    """The system text without its JSON objects, and these."""
    found: list[Any] = []
    said, position = "", 0
    while (start := system.find("{", position)) >= 0:
        try:
            value, end = DECODER.raw_decode(system, start)
        except (ValueError, RecursionError) as error:
            raise BadRow("not_json", f"tool list is not JSON ({error})") from error
        found.append(value)
        said, position = said + system[position:start], end
    return said + system[position:], found


def read(turn: RawTurn, names: Sequence[str], account: Account, at: str) -> RawTurn:
    """The turn with its calls."""
    if turn.role != "assistant" or CALL not in turn.content:
        return turn
    said, *calls = turn.content.split(CALL)
    return replace(
        turn, content=said.strip(), calls=tuple(_call(call.strip(), account) for call in calls)
    )


def _call(text: str, account: Account) -> RawCall:
    """`{"name": …, "arguments": '{…}'}`: the arguments are JSON, in quotes or twice encoded."""
    match = HEAD.match(text)
    if match is None:
        raise BadRow("broken_arguments", f"not a function call: {shorten(text)}")
    name, arguments = match[1], (match[2] or "{}").strip()
    if len(arguments) >= 2 and arguments[0] == arguments[-1] == "'":
        arguments = arguments[1:-1].replace("\\'", "'")
    elif arguments.startswith('"'):
        arguments = str(decode(arguments, "the arguments", "broken_arguments"))
    return call_of({"name": name, "arguments": arguments}, account)


READER = Reader(
    columns=(("system",), ("chat",)),
    convert=convert,
    levels=(ROW, TOOL, CALL_LEVEL),
    words=WORDS | words("system user assistant function response functioncall endoftext name"),
)
