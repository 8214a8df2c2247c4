"""sharegpt with tools, as LLaMA-Factory ships glaive."""

from __future__ import annotations

from pathlib import Path

from published import CALL, GOOD, SCHEMA, calls, read, roles, sharegpt

from matinee.messages.conversations import ToolCall


def test_sharegpt(tmp_path: Path) -> None:
    conversation = read(tmp_path, "sharegpt", GOOD)
    assert roles(conversation) == ["user", "assistant", "tool", "assistant"]
    assert calls(conversation) == [ToolCall("get_weather", '{"city": "Paris"}')]
    assert conversation.messages[2].name == "get_weather"
    assert conversation.tools[0].schema == SCHEMA
    assert (conversation.language, conversation.category) == ("en", "call")


def test_sharegpt_with_several_calls_in_one_turn(tmp_path: Path) -> None:
    turns = (("human", "Two cities"), ("function_call", f"[{CALL}, {CALL}]"))
    assert len(calls(read(tmp_path, "sharegpt", sharegpt(*turns)))) == 2


def test_sharegpt_without_tools(tmp_path: Path) -> None:
    row = {"conversations": sharegpt(("human", "Hi"), ("gpt", "Hello"))["conversations"]}
    for empty in ("", "[]", None):
        conversation = read(tmp_path, "sharegpt", {**row, "tools": empty})
        assert (conversation.tools, conversation.category) == ((), "plain")
