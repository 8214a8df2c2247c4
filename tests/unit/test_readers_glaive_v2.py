"""Raw glaive-function-calling-v2: one text with marks for roles and calls."""

from __future__ import annotations

import json
from pathlib import Path

from published import WEATHER, calls, read, roles


def test_raw_glaive(tmp_path: Path) -> None:
    chat = (
        "USER: What's the weather in St. John's?\n\n\n"
        "ASSISTANT: Let me see. <functioncall> "
        '{"name": "get_weather", "arguments": \'{"city": "St. John\\\'s"}\'} '
        "<|endoftext|>\n\n\n"
        'FUNCTION RESPONSE: {"sky": "clear"}\n\n\n'
        "ASSISTANT: Clear. NOTE: no USER: mark is meant here <|endoftext|>\n\n\n"
        "USER: Thanks\n\n\nASSISTANT: Welcome! <|endoftext|>"
    )
    functions = json.dumps(WEATHER, indent=1)
    system = "SYSTEM: You are a helpful assistant with access to the following functions. "
    system += f"Use them if required -\n{functions}"
    conversation = read(tmp_path, "glaive_v2", {"system": system, "chat": chat})
    assert roles(conversation) == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert conversation.messages[1].content == "Let me see."
    assert calls(conversation)[0].values == {"city": "St. John's"}
    assert conversation.messages[3].content == "Clear. NOTE: no USER: mark is meant here"
    assert conversation.tools[0].name == "get_weather"


def test_raw_glaive_without_functions(tmp_path: Path) -> None:
    system = "SYSTEM: You are a helpful assistant, with no access to external functions."
    row = {"system": system, "chat": "USER: Hi\n\n\nASSISTANT: Hello <|endoftext|>"}
    assert roles(read(tmp_path, "glaive_v2", row)) == ["user", "assistant"]
