"""docs/configuration.md names every key of config.yaml, and is the one that the models give."""

from __future__ import annotations

import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

from matinee.config import json_schema

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "configuration_doc.py"


@cache
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def page(properties: dict[str, Any], **definitions: dict[str, Any]) -> str:
    """The page of a small configuration with these keys and nested models."""
    root = {"properties": properties, "$defs": definitions}
    return str(script()["render"](root))


def row(text: str, key: str) -> list[str]:
    """The cells of a key's row."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{key}` |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_page_in_docs_is_that_of_the_models() -> None:
    written = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == script()["render"](json_schema()), (
        "stale; run `python scripts/configuration_doc.py`"
    )


def test_every_key_has_a_row_with_an_effect() -> None:
    schema = json_schema()
    text = script()["render"](schema)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    keys = [key for model in [schema, *schema["$defs"].values()] for key in model["properties"]]
    assert sorted(line.split("`")[1] for line in rows) == sorted(keys)
    assert [line for line in rows if line.endswith("| – |")] == []


def test_every_link_leads_to_a_heading() -> None:
    text = script()["render"](json_schema())
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_\- ]", "", h.lower()).replace(" ", "-") for h in headings}
    assert len(anchors) == len(headings)
    assert set(re.findall(r"\(#([^)]+)\)", text)) <= anchors


def test_bounds_defaults_and_choices_are_told() -> None:
    text = page(
        {
            "share": {"type": "number", "default": 0.5, "minimum": 0, "exclusiveMaximum": 1},
            "mode": {"type": "string", "enum": ["on", "off"], "default": "on"},
            "limit": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "size": {"type": "string", "pattern": "^(MB|GB)$"},
        }
    )
    assert row(text, "share")[1:4] == ["number", "`0.5`", "≥ 0 and < 1"]
    assert row(text, "mode")[1:4] == ["text", '`"on"`', "`on`, `off`"]
    assert row(text, "limit")[1:4] == ["whole number", "–", "≥ 1"]
    assert row(text, "size")[3] == r"`^(MB\|GB)$`"


def test_a_model_used_twice_is_described_once() -> None:
    inner = {
        "description": "A part.",
        "properties": {"id": {"type": "string", "description": "Not a <tag>."}},
        "required": ["id"],
    }
    text = page(
        {
            "first": {"$ref": "#/$defs/Part"},
            "second": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        },
        Part=inner,
    )
    assert text.count("## `first`") == 1
    assert "The same under `second[]`." in text
    assert row(text, "second")[1] == "list: [`first`](#first)"
    assert row(text, "id")[2:] == ["**required**", "–", "Not a &lt;tag>."]
