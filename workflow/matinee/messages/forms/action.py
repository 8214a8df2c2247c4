"""`Action: name` / `Action Input: {…}` line pairs after any text, nothing behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from matinee.messages.conversations import Tool, ToolCall
from matinee.messages.forms.base import Broken, Form, Reading, Template
from matinee.messages.forms.grammar import choice, json_arguments, quoted
from matinee.messages.repairing import read_values
from matinee.messages.transcripts import ParsedCall

# One space may stand before it: the plain_action template begins an answer with one.
_ACTION = re.compile(r"^ ?Action:", re.MULTILINE)
_LENIENT_ACTION = re.compile(r"^[ \t]{0,8}Action ?[:：]", re.MULTILINE)
_INPUT = re.compile(r"Action Input:")
_LENIENT_INPUT = re.compile(r"[ \t]{0,8}Action Input ?[:：]")
_STRAY_INPUT = re.compile(r"^Action Input:", re.MULTILINE)

# A line that begins with `Action:` begins a call, and then nothing but calls may follow.
_GRAMMAR = r"""start: last | opening tool ("\nAction:" tool)*
opening[lazy]: BEFORE
last: TEXT
BEFORE: /((?s:.*)\n)? ?Action:/ & ~/((?s:.*)\n)?Action Input:(?s:.*)/
TEXT: /(?s:.*)/ & ~/((?s:.*)\n)?( ?Action|Action Input):(?s:.*)/"""


class Action(Form):
    """That of the published experiment."""

    name = "action"
    about = "calls as Action: and Action Input: lines"
    marks = ("Action:",)
    vllm = "matinee_action"  # resources/vllm_action_parser.py
    start = re.compile(r"^ ?Action(?: Input)?:", re.MULTILINE)
    templates: ClassVar = {
        "chatml_action": Template("<|im_end|>", "ChatML"),
        "gemma_action": Template("<end_of_turn>", "Gemma's turns"),
        "plain_action": Template(None, "Human: and Assistant:"),
    }

    def read(self, reading: Reading) -> None:
        text, lenient = reading.text, reading.lenient
        head = (_LENIENT_ACTION if lenient else _ACTION).search(text)
        before = head.start() if head else len(text)
        reading.rests.append(text[:before])
        stray = None if lenient else _STRAY_INPUT.search(text, 0, before)
        if stray is not None:
            raise Broken(stray.start(), "stray_action_input")
        while head is not None:
            try:
                call, end = _pair(reading, head)
                following = _next_head(reading, end)
            except Broken:
                reading.rests.append(text[head.start() :])
                raise
            reading.calls.append(call)
            reading.rests.append(text[end : following.start() if following else len(text)])
            head = following

    def write(self, calls: Sequence[ToolCall | ParsedCall], content: str = "") -> str:
        parts = [self.opening(call.name) + call.arguments for call in calls]
        return "\n".join([content, *parts] if content else parts)

    def opening(self, name: str) -> str:
        return f"Action: {name}\nAction Input: "

    def grammar(self, tools: Sequence[Tool], tokens: Mapping[str, int]) -> str:
        written = [
            f"tool_{number}: {quoted(self.opening(tool.name)[7:])} {json_arguments(tool)}"
            for number, tool in enumerate(tools)
        ]
        return "\n".join([_GRAMMAR, choice(tools), *written])


def _pair(reading: Reading, head: re.Match[str]) -> tuple[ParsedCall, int]:
    """The call of the `Action:` line matched by `head` and the input under it, and its end."""
    text = reading.text
    line_end = text.find("\n", head.end())
    name = text[head.end() : line_end if line_end >= 0 else len(text)].strip()
    if not name:
        raise Broken(head.end(), "no_tool_name")
    inputs = _LENIENT_INPUT if reading.lenient else _INPUT
    marker = inputs.match(text, line_end + 1) if line_end >= 0 else None
    if marker is None:
        place = len(text) if line_end < 0 else line_end + 1
        raise Broken(place, "no_action_input")
    if not reading.lenient:
        value, end = reading.json(marker.end())
        return reading.call(name, value, marker.end()), end
    # Further objects name no tool: they are text behind the arguments.
    values, end = read_values(text, marker.end())
    following = _LENIENT_ACTION.search(text, end)
    stop = following.start() if following else len(text)
    value = (values or reading.repaired(end, stop))[0]
    return reading.call(name.strip("`\"'“” "), value, marker.end()), stop


def _next_head(reading: Reading, end: int) -> re.Match[str] | None:
    """The next `Action:` line. Strict: nothing but space may stand before it, or at the end."""
    if reading.lenient:
        return _LENIENT_ACTION.search(reading.text, end)
    start = reading.skip(end)
    following = _ACTION.match(reading.text, start)
    if following is None and start < len(reading.text):
        raise Broken(start, "text_after_arguments")
    return following


FORMS = (Action(),)
