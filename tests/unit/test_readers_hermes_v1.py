"""hermes-function-calling-v1: tools, calls and answers in tags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published import CALL, WEATHER, calls, read, roles, sharegpt


@pytest.mark.parametrize("literal", [CALL, str(json.loads(CALL))], ids=["json", "python"])
def test_hermes(tmp_path: Path, literal: str) -> None:
    tools = json.dumps([{"type": "function", "function": WEATHER}])
    row = {
        "conversations": [
            {"from": "system", "value": f"Call functions. <tools>\n{tools}\n</tools>"},
            {"from": "human", "value": "Weather in Paris, twice?"},
            {
                "from": "gpt",
                "value": f"Sure.\n<tool_call>\n{literal}\n</tool_call>\n" * 1
                + f"<tool_call>{literal}</tool_call>",
            },
            {
                "from": "tool",
                "value": "<tool_response>\n1\n</tool_response><tool_response>2</tool_response>",
            },
            {"from": "gpt", "value": "Clear."},
        ]
    }
    conversation = read(tmp_path, "hermes_v1", row)
    assert roles(conversation) == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert conversation.messages[0].content == "Call functions."
    assert conversation.messages[2].content == "Sure."
    assert [message.content for message in conversation.messages[3:5]] == ["1", "2"]
    assert len(calls(conversation)) == 2


def test_hermes_without_tools_keeps_its_system_text(tmp_path: Path) -> None:
    turns = (("system", "Answer in JSON"), ("human", "Hi"), ("gpt", "{}"))
    row = {"conversations": sharegpt(*turns)["conversations"]}
    assert roles(read(tmp_path, "hermes_v1", row)) == ["system", "user", "assistant"]
