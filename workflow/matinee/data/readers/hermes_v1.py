"""hermes-function-calling-v1: sharegpt turns with `<tools>`, `<tool_call>`, `<tool_response>`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from matinee.data.readers.base import (
    Account,
    BadRow,
    Draft,
    Reader,
    Row,
    list_of,
    literal,
    shorten,
    text_of,
)
from matinee.data.readers.chat import LEVELS, MESSAGE, ROW, supervision
from matinee.data.readers.chat import READER as CHAT
from matinee.data.readers.schemas import call_of, tools_of
from matinee.data.readers.turns import RawTurn, draft_of, role_of

TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
RESPONSE = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)
THOUGHT = re.compile(r"^\s*<think>(.*?)</think>", re.DOTALL)
# How the set tells a model to call: the prompt template says it again in its own words.
PROTOCOL = re.compile(
    r"""You\ are\ a\ function\ calling\ AI\ model\.
    | You\ are\ provided\ with\ function\ signatures\ within
      \s+(?:<tools>\s*</tools>\s+)?XML\ tags\.?
    | You\ may\ call\ one\ or\ more\ functions\ to\ assist\ with\ the\ user\ query\.
    | Don't\ make\ assumptions\ about\ what\ values\ to\ plug\ into\ functions\.?
    | Here\ are\ the\ available\ tools:?
    | Use\ the\ following\ pydantic\ model\ json\ schema\ for\ each\ tool\ call\ you\ will\ make:
    | For\ each\ function\ call\ return\ a\ json\ object[^\n{]*?(?:as\ follows|json\ schema):?
    | \{(?=[^\n]*FunctionCall)(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}
    | Each\ function\ call\ should\ be\ enclosed\ within\ <tool_call>\s*</tool_call>\ XML\ tags\.?
    | <tool_call>\s*\{['"](?:name|arguments)['"]:\ *<[^>]*>.*?</tool_call>
    | <tool_call>\s*</tool_call>""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def convert(row: Row, account: Account) -> Draft:
    """The tools come from the column `tools` or from the system text, of which the rest is kept."""
    found = ROW.read(dict(row), account)
    said = messages(found, account)
    listed: Any = found.get("tools")
    turns: list[RawTurn] = []
    for number, turn in enumerate(said):
        at = f"conversations[{number}]"
        role, text = role_of(turn.get("role")), text_of(turn.get("content", ""), at)
        if role == "system":
            blocks = [block.strip() for block in TOOLS.findall(text) if block.strip()]
            if blocks and not listed:
                listed = [tool for block in blocks for tool in _list_of(block)]
            text = without(PROTOCOL, TOOLS.sub("", text), account) if blocks or listed else text
            turns += [RawTurn("system", text)] if text else []
        else:
            turns += _turns(role, text, supervision(turn, role, at), account, at)
    return draft_of(turns, tools_of(listed, account), account)


def messages(found: dict[str, Any], account: Account) -> list[dict[str, Any]]:
    """The row's turns by meaning, with its system text first. Raises BadRow."""
    said = [
        MESSAGE.read(turn, account, f"conversations[{number}]")
        for number, turn in enumerate(list_of(found["messages"], "conversations"))
    ]
    if system := found.get("system"):
        said.insert(0, {"role": "system", "content": system})
    return said


def without(protocol: re.Pattern[str], text: str, account: Account) -> str:
    """The text without what tells how to call, which the prompt template says again."""
    for match in protocol.finditer(text):
        account.leave(match[0], "system.how_to_call")
    return re.sub(r"\n{3,}", "\n\n", protocol.sub("", text)).strip()


def _list_of(text: str) -> list[Any]:
    """A list, or objects line by line."""
    if text.startswith("["):
        value = literal(text, "not_json")
        return value if isinstance(value, list) else [value]
    return [literal(line, "not_json") for line in text.splitlines() if line.strip()]


def _turns(role: Any, text: str, supervised: bool, account: Account, at: str) -> list[RawTurn]:
    if role == "tool" and (answers := RESPONSE.findall(text)):
        _require_nothing_else(RESPONSE.sub("", text), at)
        return [_answer(answer.strip()) for answer in answers]
    if role != "assistant":
        return [RawTurn(role, text)]
    thought = THOUGHT.match(text)
    text = text[thought.end() :] if thought else text
    calls = [call_of(literal(call, "broken_arguments"), account, at) for call in CALL.findall(text)]
    rest = CALL.sub("", text) if calls else text
    if "<tool_call>" in rest or "</tool_call>" in rest:
        raise BadRow("broken_arguments", f"{at}: a <tool_call> that is not closed, or not opened")
    if calls and (after := text[text.rindex("</tool_call>") + len("</tool_call>") :].strip()):
        raise BadRow(
            "not_supported", f"{at}: text after a call would stand before it: {after[:60]}"
        )
    reasoning = thought[1].strip() if thought else ""
    turn = RawTurn(role, rest.strip() if calls else text, tuple(calls), reasoning)
    return [replace(turn, supervised=supervised)]


def _answer(text: str) -> RawTurn:
    """The answer as it stands; where it names its tool, the order of answers follows from it."""
    match = re.match(r"""\{["']name["']:\s*["']([^"']+)["'],\s*["']content["']:""", text)
    return RawTurn("tool", text, name=None if match is None else match[1])


def _require_nothing_else(text: str, at: str) -> None:
    if text.strip():
        raise BadRow("not_supported", f"{at}: text beside <tool_response>: {shorten(text.strip())}")


READER = Reader(
    columns=CHAT.columns,
    convert=convert,
    levels=LEVELS,
    words=CHAT.words | {"tools", "tool", "call", "response", "think"},
)
