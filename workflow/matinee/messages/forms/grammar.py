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
# Numbers beyond are rare as arguments; the library's bounds end before the largest float.
_LARGEST = 1e15
# The name of definitions that stand for any value, and how deep it may be nested.
_FREE, _FREE_LEVELS = "any_json", 8
# What says at a schema's root which keys there are; closing it beside them would allow none.
_COMBINED = ("$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties")


def quoted(text: str) -> str:
    """A text as the grammar quotes it; nothing for no text."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def mark(text: str, tokens: Mapping[str, int]) -> str:
    """A mark: its token where it is a special one, which text cannot spell, else its text."""
    return f"<[{tokens[text]}]>" if text in tokens else quoted(text)


def spelled(text: str, tokens: Mapping[str, int]) -> str:
    """A text as the grammar quotes it, with the marks in it as their tokens."""
    pieces = re.split(f"({'|'.join(map(re.escape, tokens))})", text) if tokens else [text]
    return " ".join(mark(piece, tokens) for piece in pieces if piece)


def lazily(rule: str, text: str, end: str, tokens: Mapping[str, int]) -> str:
    """A rule of a text and what first ends it; a token cannot be taken for a part of the text."""
    ending = spelled(end, tokens)
    lazy = "" if ending.startswith("<[") or end.strip() in tokens else "[lazy]"
    return f"{rule}{lazy}: {text} {ending}"


def without(marks: Sequence[str]) -> str:
    """A regular expression of text without any of the marks."""
    if not marks:
        return "/(?s:.*)/"
    held = "|".join(re.escape(text).replace("/", "\\/") for text in marks)
    return f"/(?s:.*)/ & ~/(?s:.*)({held})(?s:.*)/"


def free_text(first: str, marks: Sequence[str], tokens: Mapping[str, int]) -> str:
    """Rules `before` (text up to a call, its first mark included) and `last` (text at the end)."""
    rules = f"last: TEXT\nTEXT: {without([text for text in marks if text not in tokens])}\n"
    return rules + lazily("before", "TEXT", first, tokens)


def choice(tools: Sequence[Tool]) -> str:
    """The rule `tool`: one of `tool_0`, `tool_1`, …"""
    return "tool: " + " | ".join(f"tool_{number}" for number in range(len(tools)))


def json_value(schema: Mapping[str, Any] | bool) -> str:
    """A JSON value that fits the schema, and that a strict reader takes: see `_readable`."""
    described = {} if isinstance(schema, bool) else dict(schema)
    found = _readable(described)
    if _FREE in json.dumps(found):
        found["$defs"] = {**found.get("$defs", {}), **_free_values()}
    return "%json " + json.dumps({**found, "x-guidance": _JSON_STYLE}, ensure_ascii=False)


def _readable(schema: Any) -> Any:
    """The schema without what the parser refuses: numbers past all floats, endless nesting.

    Numbers without bounds get some (and are written without exponent), and where anything is
    allowed, it is nested `_FREE_LEVELS` deep at most.
    """
    if schema is True or schema == {}:
        return {"$ref": f"#/$defs/{_FREE}_{_FREE_LEVELS}"}
    if not isinstance(schema, Mapping):
        return schema
    found = dict(schema)
    for key in ("items", "additionalProperties", "contains", "not", "if", "then", "else"):
        if isinstance(found.get(key), Mapping) or found.get(key) is True:
            found[key] = _readable(found[key])
    for key in ("properties", "patternProperties", "$defs", "definitions"):
        if isinstance(found.get(key), Mapping):
            found[key] = {name: _readable(below) for name, below in found[key].items()}
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(found.get(key), list):
            found[key] = [_readable(below) for below in found[key]]
    kind = found.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "enum" in found or "const" in found:
        return found
    if "number" in kinds:
        least = {"minimum", "exclusiveMinimum"} & found.keys()
        found |= {} if least else {"minimum": -_LARGEST}
        most = {"maximum", "exclusiveMaximum"} & found.keys()
        found |= {} if most else {"maximum": _LARGEST}
    combined = any(key in found for key in _COMBINED)
    if "object" in kinds and not combined and "additionalProperties" not in found:
        found["additionalProperties"] = _readable(True)
    if "array" in kinds and not combined and not {"items", "prefixItems"} & found.keys():
        found["items"] = _readable(True)
    return found


def _free_values() -> dict[str, Any]:
    """Definitions of any JSON value, by how deep it may be nested."""
    number = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}
    plain = [{"type": "string"}, number, {"type": "boolean"}, {"type": "null"}]
    made: dict[str, Any] = {f"{_FREE}_0": {"anyOf": plain}}
    for level in range(1, _FREE_LEVELS + 1):
        below = {"$ref": f"#/$defs/{_FREE}_{level - 1}"}
        nested = [
            {"type": "array", "items": below},
            {"type": "object", "additionalProperties": below},
        ]
        made[f"{_FREE}_{level}"] = {"anyOf": [*plain, *nested]}
    return made


def json_arguments(tool: Tool) -> str:
    """The arguments of a tool; what its schema does not name is not allowed, as in scoring."""
    closed = {"type": "object", **tool.schema}
    if not any(key in closed for key in _COMBINED):
        closed.setdefault("additionalProperties", False)
    return json_value(closed)
