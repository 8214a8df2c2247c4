"""ToolACE: calls written like those of Python."""

from __future__ import annotations

import json
from pathlib import Path

from published import WEATHER, calls, read


def test_toolace(tmp_path: Path) -> None:
    search = {
        "name": "Search (all) News",
        "description": "News",
        "parameters": {
            "type": "dict",
            "properties": {"from": {"type": "str"}, "limit": {"type": "float"}},
            "required": [],
        },
    }
    system = f"Functions you can invoke:\n{json.dumps([search, WEATHER])}\nUse [f(a=b)]."
    answer = (
        '[Search (all) News(from="a, (b) it\'s", limit=2.5, deep={"x": [1, 2]}, on=true), '
        'get_weather(city="Paris")]'
    )
    row = {
        "system": system,
        "conversations": [
            {"from": "user", "value": "News?"},
            {"from": "assistant", "value": answer},
            {"from": "tool", "value": "[{}, {}]"},
            {"from": "assistant", "value": "[1] is a footnote, not a call"},
        ],
    }
    conversation = read(tmp_path, "toolace", row)
    first, second = calls(conversation)
    assert first.name == "Search (all) News"
    assert first.values == {
        "from": "a, (b) it's",
        "limit": 2.5,
        "deep": {"x": [1, 2]},
        "on": True,
    }
    assert second.values == {"city": "Paris"}
    assert conversation.tools[0].schema["type"] == "object"
    assert conversation.tools[0].schema["properties"]["limit"]["type"] == "number"
    assert conversation.messages[-1].content == "[1] is a footnote, not a call"
