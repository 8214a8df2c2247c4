"""Pieces of grammars for llguidance, in its dialect of Lark.

`[lazy]` ends a match at the first chance, `&` and `~` intersect and negate regular expressions,
`%json` stands for a JSON Schema, `<[n]>` for the special token n.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from matinee.messages.conversations import Tool

TEXT_ALONE = "start: TEXT\nTEXT: /(?s:.*)/"
# Spaces as in the calls that templates write; a keyword that is not known is left out.
_JSON_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}
# What says at a schema's root which keys there are; closing it beside them would allow none.
_COMBINED = ("$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties")


def quoted(text: str) -> str:
    """A text as the grammar quotes it; nothing for no text."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def mark(text: str, tokens: Mapping[str, int]) -> str:
    """A mark: its token where it is a special one, which text cannot spell, else its text."""
    return f"<[{tokens[text]}]>" if text in tokens else quoted(text)


def without(marks: Sequence[str]) -> str:
    """A regular expression of text without any of the marks."""
    if not marks:
        return "/(?s:.*)/"
    held = "|".join(re.escape(text).replace("/", "\\/") for text in marks)
    return f"/(?s:.*)/ & ~/(?s:.*)({held})(?s:.*)/"


def free_text(first: str, marks: Sequence[str], tokens: Mapping[str, int]) -> str:
    """Rules `before` (text up to a call, its first mark included) and `last` (text at the end)."""
    rules = f"last: TEXT\nTEXT: {without([text for text in marks if text not in tokens])}\n"
    lazy = "" if first in tokens else "[lazy]"
    return f"{rules}before{lazy}: TEXT {mark(first, tokens)}"


def choice(tools: Sequence[Tool]) -> str:
    """The rule `tool`: one of `tool_0`, `tool_1`, …"""
    return "tool: " + " | ".join(f"tool_{number}" for number in range(len(tools)))


def json_value(schema: Mapping[str, Any] | bool) -> str:
    """A JSON value that fits the schema."""
    described = {} if isinstance(schema, bool) else dict(schema)
    return "%json " + json.dumps({**described, "x-guidance": _JSON_STYLE}, ensure_ascii=False)


def json_arguments(tool: Tool) -> str:
    """The arguments of a tool; what its schema does not name is not allowed, as in scoring."""
    closed = {"type": "object", **tool.schema}
    if not any(key in closed for key in _COMBINED):
        closed.setdefault("additionalProperties", False)
    return json_value(closed)
