"""xlam-function-calling-60k: query, tools and answers as JSON texts."""

from __future__ import annotations

import json
from pathlib import Path

from published import WEATHER, calls, read


def test_xlam(tmp_path: Path) -> None:
    parameters = {
        "city": {"type": "str", "description": "City"},
        "days": {"type": "int, optional", "description": "Days"},
        "unit": {"type": "str", "description": "Unit", "default": "C"},
        "tags": {"type": "List[str]", "description": "Tags"},
    }
    row = {
        "id": 1,
        "query": "Weather in Paris and Rome?",
        "tools": json.dumps([{**WEATHER, "parameters": parameters}]),
        "answers": json.dumps(
            [
                {"name": "get_weather", "arguments": {"city": city, "tags": []}}
                for city in ("Paris", "Rome")
            ]
        ),
    }
    conversation = read(tmp_path, "xlam", row)
    schema = conversation.tools[0].schema
    assert [call.values["city"] for call in calls(conversation)] == ["Paris", "Rome"]
    assert schema["required"] == ["city", "tags"]
    assert {key: value["type"] for key, value in schema["properties"].items()} == {
        "city": "string",
        "days": "integer",
        "unit": "string",
        "tags": "array",
    }
