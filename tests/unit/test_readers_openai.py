"""Messages as OpenAI has them, with tools."""

from __future__ import annotations

from pathlib import Path

from published import WEATHER, calls, read, roles

from matinee.messages.conversations import ToolCall


def test_openai_messages(tmp_path: Path) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    row = {
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "clear"},
            {"role": "assistant", "content": "Clear"},
        ],
        "tools": [{"type": "function", "function": WEATHER}],
    }
    conversation = read(tmp_path, "openai", row)
    assert roles(conversation) == ["system", "user", "assistant", "tool", "assistant"]
    assert conversation.messages[3].name == "get_weather"
    assert calls(conversation) == [ToolCall("get_weather", '{"city": "Paris"}')]
