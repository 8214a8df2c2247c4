"""Model text → tool calls, or a recorded error: total, linear in the text, strict by default.

Strict takes exactly the form: JSON as RFC 8259 has it, no key twice, finite numbers, an object as
arguments. Lenient also repairs the usual slips, see `repairing`. Neither evaluates anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from matinee.messages.conversations import Tool, ToolCall
from matinee.messages.forms import forms
from matinee.messages.forms.base import Broken, Reading
from matinee.messages.repairing import close_fences, goes_on
from matinee.messages.strict_json import SURROGATE
from matinee.messages.transcripts import Detail, Parse, ParsedCall

# The name of a form, see `matinee.messages.forms`.
CallForm = str

# What opens a model's thoughts, and what closes them.
THOUGHTS = {
    "<think>": "</think>",
    "<|channel>thought": "<channel|>",
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
}
_THOUGHT = re.compile("|".join(map(re.escape, [*THOUGHTS, *THOUGHTS.values()])))


def parse(
    form: CallForm, text: str, *, lenient: bool = False, tools: Sequence[Tool | dict[str, Any]] = ()
) -> Parse:
    """The calls in a model's text, and the text around them.

    `tools`: what may be called; forms that write values without their type need the schemas.
    Never raises. On the first break `error` says which call, at which character (from 1), and
    what was wrong; calls before it are kept, and the broken rest stays in `content`. Thoughts are
    kept apart in `reasoning`, and no call is read in them.
    """
    text = printable(text)
    reasoning, answer = split_thoughts(form, text)
    listed = [tool if isinstance(tool, Tool) else Tool.from_openai(tool) for tool in tools]
    reading = Reading(answer, lenient, {tool.name: tool.schema for tool in listed})
    error = None
    try:
        forms()[form].read(reading)
    except Broken as broken:
        error = Detail(
            key="in_call",
            values={
                "number": len(reading.calls) + 1,
                "place": broken.position + 1 + len(text) - len(answer),
                "detail": broken.detail,
            },
        )
    if lenient and error is None and not reading.calls:
        _bare_call(reading)
    content = "\n".join(part for part in (close_fences(r, lenient) for r in reading.rests) if part)
    return Parse(content=content, calls=tuple(reading.calls), error=error, reasoning=reasoning)


def printable(text: str) -> str:
    """The text with halves of surrogate pairs, which no file can hold, replaced by U+FFFD."""
    return SURROGATE.sub("\ufffd", text)


def split_thoughts(form: CallForm, text: str) -> tuple[str, str]:
    """A model's thoughts, and its answer, which is the end of the text.

    Thoughts stand before the first call. Where only their end is there, the prompt has begun them;
    where only their beginning is there, the model did not come to an answer.
    """
    thoughts: list[str] = []
    before = ""
    start = forms()[form].start
    while (mark := _THOUGHT.search(text)) is not None:
        closing = THOUGHTS.get(mark[0])
        if closing is None:
            thoughts.append(before + text[: mark.start()])
            before, text = "", text[mark.end() :]
        elif start.search(text, 0, mark.start()) is not None:
            break
        else:
            before += text[: mark.start()]
            thought, _, text = text[mark.end() :].partition(closing)
            thoughts.append(thought)
    parts = [part for part in (thought.strip() for thought in thoughts) if part]
    return "\n".join(parts), before + text


def write_calls(form: CallForm, calls: Sequence[ToolCall | ParsedCall], content: str = "") -> str:
    """The text that `parse` reads back as these calls, spelled as the chat templates do."""
    return forms()[form].write(calls, content)


def _bare_call(reading: Reading) -> None:
    """Lenient only: a text that is nothing but the JSON of calls, their tags forgotten."""
    text = reading.text
    if not goes_on(text, 0) or "name" not in text:
        return
    try:
        values = reading.repaired(0, len(text))
        reading.calls, reading.rests = [reading.named_call(value, 0) for value in values], []
    except Broken:
        return
