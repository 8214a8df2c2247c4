"""The one row format keeps every text and every schema as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.messages.conversations import (
    Conversation,
    Message,
    Tool,
    ToolCall,
    canonical_json,
    read_conversations,
    write_conversations,
)
from matinee.runtime.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3).map(canonical_json)
CALLS = st.lists(st.builds(ToolCall, TEXT, OBJECTS), max_size=2).map(tuple)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXT,
    CALLS,
    st.none() | TEXT.filter(bool),
    TEXT,
    st.booleans(),
)
# An empty schema means "no parameters" and is written out as one.
TOOLS = st.builds(Tool, TEXT, TEXT, OBJECTS.filter(lambda text: text != "{}"))
CONVERSATIONS = st.builds(
    Conversation,
    TEXT,
    st.lists(MESSAGES, max_size=4).map(tuple),
    st.lists(TOOLS, max_size=2).map(tuple),
    TEXT,
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=2),
)


@given(CONVERSATIONS)
def test_a_row_comes_back_as_it_was(conversation: Conversation) -> None:
    row = json.loads(json.dumps(conversation.to_row()))
    assert Conversation.from_row(row) == conversation


@given(CONVERSATIONS)
def test_what_columnar_storage_would_merge_is_text(conversation: Conversation) -> None:
    row = conversation.to_row()
    assert isinstance(row["tools"], str)
    assert isinstance(row["labels"], str)
    for message in row["messages"]:
        assert {"role", "content", "name", "tool_calls"} <= set(message)
        for call in message["tool_calls"]:
            assert isinstance(call["arguments"], str)


def test_a_file_of_rows_comes_back(tmp_path: Path) -> None:
    rows = [
        Conversation("a", (Message("user", "line\u2028break"),), (Tool("f", "", '{"a": 1}'),)),
        Conversation("b", (Message("assistant", "", (ToolCall("f", '{"x": "北京"}'),)),)),
    ]
    assert write_conversations(tmp_path / "rows.jsonl", rows) == 2
    assert list(read_conversations(tmp_path / "rows.jsonl")) == rows


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "x"}', "null"])
def test_a_broken_line_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_conversations(path, [Conversation("a", ())])
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not a conversation row"):
        list(read_conversations(path))


def test_templates_get_decoded_arguments_and_servers_the_nested_form() -> None:
    message = Message("assistant", "", (ToolCall("f", '{"a": [1]}'),)).as_openai()
    assert message["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": {"a": [1]}}}
    ]
    assert Message("user", "x").as_openai() == {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    "given_form",
    [
        {"type": "function", "function": {"name": "f", "description": None}},
        {"name": "f", "parameters": None},
    ],
)
def test_tools_are_read_in_both_forms_and_without_parameters(given_form: dict[str, object]) -> None:
    tool = Tool.from_openai(given_form)
    assert tool == Tool("f", "", '{"type": "object", "properties": {}}')
    assert Tool.from_openai(tool.as_openai()) == tool
