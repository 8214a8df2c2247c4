"""Model text → tool calls, or a recorded error: total, linear in the text, strict by default.

Strict takes exactly the form: JSON as RFC 8259 has it, no key twice, finite numbers, an object as
arguments. Lenient also repairs the usual slips, see `repairing`. Neither evaluates anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
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
    if _THOUGHT.search(text) is None or _within_calls(form, text):
        return "", text
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


def _within_calls(form: CallForm, text: str) -> bool:
    """Whether marks of thoughts are arguments: the text reads as calls, and none is beside them."""
    reading = Reading(text, False, {})
    try:
        forms()[form].read(reading)
    except Broken:
        return False
    return bool(reading.calls) and not any(map(_THOUGHT.search, reading.rests))


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


_KEY = (
    r"(?:name|tool|function|tool_?name|function_?name|action|api|api_?name|method|call|command|"
    r"recipient_name|工具|函数|工具名称?)"
)
# What only a call is wrapped in, whatever it names.
_MARKS = re.compile(
    r"<\|?(?:tool_calls?|function_calls?|tool_use|invoke|python_tag|action_start|plugin)\b[^>]*>|"
    r"<function[=\s][^>]*>|<(?:start|begin)_(?:of_)?function_call>|\[TOOL_CALLS?\]|"
    r"<｜tool▁calls?▁begin｜>|✿FUNCTION✿|\bfunctools\[|to=functions\.\w|"
    r"<\|tool_calls?(?:_section)?_begin\|>"
)
_QUOTE = r"[\"'“”‘’`]?"


def call_in_any_form(text: str, tools: Sequence[str]) -> str | None:
    """The place where a call of one of these tools is written, some 60 characters; else None.

    Looked for are all forms, JSON that names a listed tool (bare, fenced, single quotes, broken
    off), Python's and XML's ways to write a call, and labelled lines (`Tool: name`). A tool's name
    in a sentence, its signature, its description and JSON about other things are no call.
    """
    found = _patterns(tuple(tools)).search(text) if tools else None
    found = found or _MARKS.search(text)
    if found is None and tools and any(name in text for name in tools):
        for form in forms():
            names = {call.name for call in parse(form, text).calls}
            if names & set(tools):
                return text.strip()[:60]
    return None if found is None else text[found.start() : found.start() + 60].strip()


@lru_cache(maxsize=256)
def _patterns(tools: tuple[str, ...]) -> re.Pattern[str]:
    """The ways to write a call that need the tools' names to be known as calls."""
    name = _any(tools)
    value = rf"{_QUOTE}(?:functions\.)?{name}{_QUOTE}"
    # A definition has a description or parameters of type object beside its name.
    definition = r"(?!\s*[,，]\s*[\"'](?:description|desc|parameters\"\s*:\s*\{\s*\"type)\b)"
    ways = (
        rf"\{{[^{{}}]{{0,200}}?{_QUOTE}{_KEY}{_QUOTE}\s*[:：=]\s*{value}{definition}",
        rf"\{{\s*[\"'“]{name}[\"'”]\s*[:：]\s*[\{{\[]",  # {"tool": {…}}
        # f(x=1), f("x"): in a sentence only with values; f() only as a line of its own.
        rf"(?<![\w.]){name}\s*[(（]\s*(?:\*\*)?(?:\w+\s*[=:：]\s*[^\s)]|[\"'“{{\[]|-?\d)",
        rf"^[ \t`>\[]*(?:\w+\s*=\s*)?(?:print\s*\(\s*)?(?:await\s+)?{name}\s*\(\s*\)[\s)\]`;。]*$",
        rf"<{name}(?:\s+[\w-]+=[^>]*)?/?>|name={_QUOTE}{name}{_QUOTE}[^>\n]{{0,80}}>",
        rf"^[ \t#*>-]*(?:action|tool|function|api|call|调用|工具|函数|动作|调用工具|调用函数)\**"
        rf"(?: ?(?:name|call|名称?))?\**\s*[:：=]\s*\**{value}\**\s*[\n,，;；:：({{（]\s*.{{0,40}}?"
        r"(?:input|arg|param|参数|输入|\{)",
        rf"(?<![\w.]){name}`?\s*\n?\s*(?:```\w*\s*)?\{{\s*(?:\}}|[\"'])",  # name {"x": 1}
        rf"\b(?:call|invoke)[:_ ]+`?{name}`?\s*[({{]",
    )
    return re.compile("|".join(ways), re.IGNORECASE | re.MULTILINE)


def _any(names: Iterable[str]) -> str:
    listed = sorted(map(re.escape, names), key=len, reverse=True)
    return rf"(?:{'|'.join(listed)})(?![\w-])"
