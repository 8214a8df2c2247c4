"""The profile of training data counts what is there."""

from __future__ import annotations

import pytest

from matinee.data.mix_profile import RowTokens, Tally, profile, sample_positions
from matinee.messages.conversations import Conversation, Message, Tool, ToolCall

WEATHER, NEWS = Tool("weather", "", "{}"), Tool("news", "", "{}")
CALLING = Conversation(
    "a-1",
    (
        Message("system", "Be brief"),
        Message("user", "天气？"),
        Message("assistant", tool_calls=(ToolCall("weather"), ToolCall("weather"))),
        Message("tool", "clear"),
        Message("assistant", "晴"),
    ),
    (NEWS, WEATHER),
    source="a",
    category="call",
    language="zh",
)
PLAIN = Conversation("b-1", (Message("user", "Hi"), Message("assistant", "Hello")), source="b")


def tally(*conversations: Conversation) -> Tally:
    counted = Tally()
    for conversation in conversations:
        counted.count(conversation)
    return counted


def test_rows_turns_calls_and_tools_are_counted() -> None:
    found = profile(tally(CALLING, PLAIN), [RowTokens(30, 10), RowTokens(10, 2, truncated=True)])
    assert (found["rows"], found["turns"], found["calls"]) == (2, 5, 2)
    assert (found["different_tools"], found["different_tool_lists"]) == (2, 1)
    assert found["languages"] == {"unknown": 1, "zh": 1}
    assert found["categories"] == {"call": 1, "unknown": 1}
    assert found["sources"] == {"a": 1, "b": 1}
    assert found["tools_per_row"] == {"0": 1, "2": 1}
    assert found["frequent_tools"][0] == {"name": "weather", "calls": 2, "rows": 1}


def test_tokens_are_described() -> None:
    found = profile(tally(CALLING, PLAIN), [RowTokens(30, 10), RowTokens(10, 2, truncated=True)])
    tokens = found["tokens"]
    assert (tokens["total"], tokens["supervised"], tokens["supervised_share"]) == (40, 12, 0.3)
    assert (tokens["truncated"], tokens["without_supervision"]) == (1, 0)
    assert (tokens["shortest"], tokens["longest"]) == (10, 30)


@pytest.mark.parametrize("longest", [1, 19, 20, 21, 1024])
def test_every_row_is_in_one_bucket_of_the_histogram(longest: int) -> None:
    rows = [RowTokens(length, 1) for length in range(longest + 1)]
    buckets = profile(tally(*[PLAIN] * len(rows)), rows)["tokens"]["histogram"]
    assert sum(bucket["rows"] for bucket in buckets) == len(rows)
    assert len(buckets) <= 20
    for bucket in buckets:
        inside = [row for row in rows if bucket["from"] <= row.length < bucket["to"]]
        assert len(inside) == bucket["rows"]


def test_samples_are_spread_over_the_rows() -> None:
    assert sample_positions(3) == [0, 1, 2]
    assert sample_positions(100) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert sample_positions(0) == []


def test_a_token_row_too_few_is_noticed() -> None:
    with pytest.raises(ValueError, match="2 conversations but 1"):
        profile(tally(CALLING, PLAIN), [RowTokens(1, 1)])


def test_tallies_of_two_blocks_add_up_to_the_tally_of_both() -> None:
    first = tally(CALLING, PLAIN)
    first.add(tally(CALLING))
    assert first.as_dict() == tally(CALLING, PLAIN, CALLING).as_dict()


def test_held_out_rows_are_counted_apart() -> None:
    held_out = [RowTokens(20, 5), RowTokens(10, 1)]
    found = profile(tally(CALLING), [RowTokens(3, 2)], held_out=held_out)
    assert (found["rows"], found["tokens"]["total"]) == (1, 3)
    assert found["validation"] == {"rows": 2, "tokens": 30, "supervised": 6}
