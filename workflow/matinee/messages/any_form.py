"""Whether a text holds a call of a listed tool in whatever form, where it was none in its own.

Looked for are the forms of `messages.forms`, JSON that names a listed tool (bare, fenced, single
quotes, broken off), Python's and XML's ways to write a call, and labelled lines (`Tool: name`). A
tool's name in a sentence, its signature, its description and JSON about other things are no call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from matinee.messages.forms import forms
from matinee.messages.parsing import parse

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
    """The place where a call of one of these tools is written, some 60 characters; else None."""
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
