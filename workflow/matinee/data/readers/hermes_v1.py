"""hermes-function-calling-v1: sharegpt turns with `<tools>`, `<tool_call>`, `<tool_response>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matinee.data.readers.base import Account, BadRow, literal, shorten
from matinee.data.readers.markup import Markup
from matinee.data.readers.schemas import call_of
from matinee.data.readers.turns import RawTurn

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


def tools_in(text: str) -> tuple[str, list[Any]]:
    """The system text without what stands in <tools>, and the tools that do."""
    blocks = [block.strip() for block in TOOLS.findall(text)]
    return TOOLS.sub("", text), [tool for block in blocks if block for tool in _list_of(block)]


def _list_of(text: str) -> list[Any]:
    """A list, or objects line by line."""
    if text.startswith("["):
        value = literal(text, "not_json")
        return value if isinstance(value, list) else [value]
    return [literal(line, "not_json") for line in text.splitlines() if line.strip()]


def read(turn: RawTurn, names: Sequence[str], account: Account, at: str) -> RawTurn | list[RawTurn]:
    """The turn with its calls and thoughts, or the answers that one of a tool holds."""
    text = turn.content
    # Rendered as Qwen's templates do it, users hand the answers in.
    if turn.role in ("tool", "user") and (answers := RESPONSE.findall(text)):
        if beside := RESPONSE.sub("", text).strip():
            raise BadRow("not_supported", f"{at}: text beside <tool_response>: {shorten(beside)}")
        return [_answer(answer.strip()) for answer in answers]
    if turn.role != "assistant":
        return turn
    thought = THOUGHT.match(text)
    text = text[thought.end() :] if thought else text
    written = [literal(call, "broken_arguments") for call in CALL.findall(text)]
    listed = [call for one in written for call in (one if isinstance(one, list) else [one])]
    calls = [call_of(call, account, at) for call in listed]
    rest = CALL.sub("", text) if calls else text
    if rest.lstrip().startswith("<think>"):
        raise BadRow("not_supported", f"{at}: a <think> that is not closed")
    if "<tool_call>" in rest or "</tool_call>" in rest:
        raise BadRow("broken_arguments", f"{at}: a <tool_call> that is not closed, or not opened")
    if calls and (after := text.rpartition("</tool_call>")[2].strip()):
        raise BadRow(
            "not_supported", f"{at}: text after a call would stand before it: {after[:60]}"
        )
    thoughts = [turn.reasoning, thought[1].strip() if thought else ""]
    return replace(
        turn,
        content=rest.strip() if calls else text,
        calls=tuple(calls),
        reasoning="\n".join(filter(None, thoughts)),
    )


def _answer(text: str) -> RawTurn:
    """The answer as it stands; where it names its tool, the order of answers follows from it."""
    match = re.match(r"""\{["']name["']:\s*["']([^"']+)["'],\s*["']content["']:""", text)
    return RawTurn("tool", text, name=None if match is None else match[1])


READER = Markup(PROTOCOL, tools_in, read).reader("tools", "tool", "call", "response", "think")
