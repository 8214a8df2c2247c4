"""Mixing: the first N of each data set, in order, with duplicates dropped only where asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matinee.config import MixPart
from matinee.data.mixing import mix
from matinee.messages.conversations import (
    Conversation,
    Message,
    read_conversations,
    write_conversations,
)
from matinee.runtime.errors import DataError


def row(identifier: str, question: str) -> Conversation:
    messages = (Message("user", question), Message("assistant", "Certainly, here it is."))
    return Conversation(identifier, messages)


def part(folder: Path, name: str, questions: list[str], **settings: Any) -> tuple[MixPart, Path]:
    path = folder / f"{name}.jsonl"
    write_conversations(path, [row(f"{name}-{n}", text) for n, text in enumerate(questions)])
    return MixPart(dataset=name, **settings), path


def mixed(folder: Path, *parts: tuple[MixPart, Path]) -> tuple[list[str], dict[str, Any]]:
    facts = mix(parts, folder / "out.jsonl")
    return [one.id for one in read_conversations(folder / "out.jsonl")], facts


def test_the_first_rows_of_each_set_follow_one_another(tmp_path: Path) -> None:
    ids, facts = mixed(
        tmp_path,
        part(tmp_path, "a", ["1", "2", "3"], max_samples=2),
        part(tmp_path, "b", ["1", "2"]),
    )
    assert ids == ["a-0", "a-1", "b-0", "b-1"]
    assert facts["rows"] == 4
    assert [(one["available"], one["taken"]) for one in facts["parts"]] == [(3, 2), (2, 2)]


def test_a_seed_shuffles_before_the_first_rows_are_taken(tmp_path: Path) -> None:
    questions = [str(number) for number in range(50)]
    first, again, other = (
        mixed(tmp_path, part(tmp_path, "a", questions, max_samples=20, shuffle_seed=seed))[0]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) == 20
    assert any(int(one.removeprefix("a-")) >= 20 for one in first)


LONG = (
    "Please book a table for four people at the Italian restaurant near the central station on "
    "Friday evening at seven, by the window if there is one, and tell them that one of us does "
    "not eat nuts. The name is {}."
)


@pytest.mark.parametrize(
    ("deduplicate", "kept"),
    [("none", [0, 1, 2, 3]), ("exact", [0, 2, 3]), ("near", [0, 3])],
)
def test_duplicates_go_only_where_asked(tmp_path: Path, deduplicate: str, kept: list[int]) -> None:
    questions = [LONG.format("Smith"), LONG.format("Smith"), LONG.format("Smyth"), "Other words"]
    ids, facts = mixed(tmp_path, part(tmp_path, "a", questions, deduplicate=deduplicate))
    assert ids == [f"a-{number}" for number in kept]
    dropped = facts["parts"][0]
    assert dropped["dropped_exact"] + dropped["dropped_near"] == 4 - len(kept)


def test_duplicates_are_replaced_so_that_n_different_rows_come(tmp_path: Path) -> None:
    questions = ["same", "same", "other"]
    ids, _ = mixed(tmp_path, part(tmp_path, "a", questions, deduplicate="exact", max_samples=2))
    assert ids == ["a-0", "a-2"]


def test_duplicates_are_found_across_sets(tmp_path: Path) -> None:
    ids, _ = mixed(
        tmp_path,
        part(tmp_path, "a", ["same"], deduplicate="exact"),
        part(tmp_path, "b", ["same", "new"], deduplicate="exact"),
    )
    assert ids == ["a-0", "b-1"]


@pytest.mark.parametrize(("weight", "numbers"), [(2, [0, 1, 0, 1]), (0.5, [0]), (1.5, [0, 1, 0])])
def test_weights_repeat_or_cut(tmp_path: Path, weight: float, numbers: list[int]) -> None:
    ids, facts = mixed(tmp_path, part(tmp_path, "a", ["1", "2"], weight=weight))
    assert ids == [f"a-{number}" for number in numbers]
    assert facts["parts"][0]["written"] == len(numbers)


CHINESE = (
    "请帮我在火车站附近那家意大利餐厅订一张四人的桌子，时间是星期五晚上七点，最好靠窗，"
    "另外告诉他们我们当中有一位不吃坚果，预订人的名字是{}，电话稍后再给。"
)


def test_near_duplicates_are_found_in_chinese(tmp_path: Path) -> None:
    questions = [
        CHINESE.format("王小明"),
        CHINESE.format("李小明"),
        "明天上海到南京的高铁还有票吗？",
    ]
    ids, facts = mixed(tmp_path, part(tmp_path, "a", questions, deduplicate="near"))
    assert ids == ["a-0", "a-2"]
    assert facts["parts"][0]["dropped_near"] == 1


def held_out(folder: Path) -> list[str]:
    return [one.id for one in read_conversations(folder / "out.jsonl") if one.held_out]


class TestValidation:
    def mixed(self, folder: Path, share: float, *parts: tuple[MixPart, Path]) -> dict[str, Any]:
        return mix(parts, folder / "out.jsonl", share)

    def test_a_share_of_each_set_is_held_out(self, tmp_path: Path) -> None:
        questions = [str(number) for number in range(40)]
        parts = [part(tmp_path, name, questions, max_samples=20) for name in ("a", "b")]
        parts[1][1].write_text(parts[1][1].read_text().replace("Certainly", "Gladly"))
        facts = self.mixed(tmp_path, 0.1, *parts)
        assert (facts["rows"], facts["held_out"]) == (36, 4)
        assert sorted(one[0] for one in held_out(tmp_path)) == ["a", "a", "b", "b"]
        assert len(list(read_conversations(tmp_path / "out.jsonl"))) == 40

    def test_the_same_rows_are_held_out_in_any_order(self, tmp_path: Path) -> None:
        questions = [str(number) for number in range(40)]
        self.mixed(tmp_path, 0.25, part(tmp_path, "a", questions))
        first = held_out(tmp_path)
        self.mixed(tmp_path, 0.25, part(tmp_path, "a", questions, shuffle_seed=3))
        assert sorted(held_out(tmp_path)) == sorted(first)
        assert first != [f"a-{number}" for number in range(10)]

    def test_a_row_that_comes_twice_stands_on_one_side(self, tmp_path: Path) -> None:
        questions = [str(number) for number in range(20)]
        parts = [part(tmp_path, "a", questions * 2), part(tmp_path, "b", questions)]
        self.mixed(tmp_path, 0.3, *parts)
        sides: dict[str, set[bool]] = {}
        for one in read_conversations(tmp_path / "out.jsonl"):
            sides.setdefault(one.messages[0].content, set()).add(one.held_out)
        assert all(len(found) == 1 for found in sides.values())
        assert len([found for found in sides.values() if found == {True}]) == 6

    def test_a_weight_repeats_only_what_is_trained_on(self, tmp_path: Path) -> None:
        questions = [str(number) for number in range(10)]
        facts = self.mixed(tmp_path, 0.2, part(tmp_path, "a", questions, weight=2))
        assert (facts["rows"], facts["held_out"]) == (16, 2)

    def test_a_share_of_less_than_a_row_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="less than one row"):
            self.mixed(tmp_path, 0.01, part(tmp_path, "a", ["1", "2"]))


def test_rows_with_line_separators_inside_stay_whole(tmp_path: Path) -> None:
    ids, _ = mixed(tmp_path, part(tmp_path, "a", ["one\u2028two", "\u0085"]))
    assert ids == ["a-0", "a-1"]


def test_an_empty_mix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a has 0"):
        mixed(tmp_path, part(tmp_path, "a", []))
