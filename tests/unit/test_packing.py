"""Packed sequences hold every token and every supervised prediction exactly once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_rows

from matinee.models.packing import (
    MINIMUM_PREFIX,
    MaskedIds,
    Packed,
    common_prefix,
    pack,
    shared_groups,
)

# Few token ids and few beginnings, so that rows often agree for a while.
TOKENS = st.lists(st.integers(3, 5), min_size=1, max_size=60)


@st.composite
def token_rows(draw: st.DrawFn) -> list[MaskedIds]:
    """Rows of any length from 1, some of which share beginnings, with any supervision."""
    beginnings = [[], *draw(st.lists(TOKENS, max_size=3))]
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        ids = draw(st.sampled_from(beginnings)) + draw(TOKENS)
        mask = draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids)))
        first = draw(st.integers(0, len(ids)))
        rows.append((ids, [0] * first + mask[first:]))
    return rows


def visible(packed: Packed, index: int) -> list[int]:
    """The ids that the token at a packed index sees, itself included."""
    group = next(group for group in packed.groups if group.start <= index < group.end)
    prefix = packed.ids[group.start : group.start + group.prefix]
    if index < group.start + group.prefix:
        return prefix[: index - group.start + 1]
    start = group.start + group.prefix
    for length in group.branches:
        if index < start + length:
            return prefix + packed.ids[start : index + 1]
        start += length
    raise AssertionError("an index outside of its group")


def predictions(rows: list[MaskedIds]) -> list[tuple[tuple[int, ...], int]]:
    """(what comes before, what is to be predicted) of each supervised token."""
    return sorted(
        (tuple(ids[:place]), ids[place])
        for ids, mask in rows
        for place in range(1, len(ids))
        if mask[place]
    )


@given(token_rows(), st.booleans())
def test_every_supervised_token_is_predicted_once_from_what_stands_before_it(
    rows: list[MaskedIds], share: bool
) -> None:
    packed = pack(rows, share=share)
    found = sorted(
        (tuple(visible(packed, source)), target)
        for source, target in zip(packed.sources, packed.targets, strict=True)
    )
    assert found == predictions(rows)


@given(token_rows(), st.booleans())
def test_positions_count_from_the_beginning_of_the_row(rows: list[MaskedIds], share: bool) -> None:
    packed = pack(rows, share=share)
    expected = [len(visible(packed, index)) - 1 for index in range(len(packed.ids))]
    assert packed.positions == expected


@given(token_rows(), st.booleans())
def test_groups_cover_the_sequence_without_gap(rows: list[MaskedIds], share: bool) -> None:
    packed = pack(rows, share=share)
    assert packed.groups[0].start == 0
    assert packed.groups[-1].end == len(packed.ids)
    assert all(before.end == after.start for before, after in pairwise(packed.groups))
    assert packed.rows == len(rows)
    assert packed.tokens == sum(len(ids) for ids, _ in rows)


@given(token_rows())
def test_a_shared_prefix_is_common_unsupervised_and_leaves_each_row_a_token(
    rows: list[MaskedIds],
) -> None:
    groups = shared_groups(rows)
    assert sorted(row for _, members in groups for row in members) == list(range(len(rows)))
    for length, members in groups:
        assert (length == 0) == (len(members) == 1)
        if length:
            assert length >= MINIMUM_PREFIX
            beginning = rows[members[0]][0][:length]
            for member in members:
                ids, mask = rows[member]
                assert ids[:length] == beginning
                assert not any(mask[:length])
                assert len(ids) > length


def test_rows_over_the_same_tool_list_are_computed_once_up_to_where_they_part() -> None:
    rows = random_rows(1, 6, prefix=50, longest=10)
    packed = pack(rows, share=True)
    beginnings = {tuple(ids[:50]) for ids, _ in rows}
    own = sum(len(ids) - 50 for ids, _ in rows)
    assert len(packed.ids) <= 50 * len(beginnings) + own
    assert len(packed.ids) < packed.tokens


def test_without_sharing_rows_stand_side_by_side_as_they_came() -> None:
    packed = pack([([5, 6, 7], [0, 0, 1]), ([5, 6], [0, 1])], share=False)
    assert packed.ids == [5, 6, 7, 5, 6]
    assert packed.positions == [0, 1, 2, 0, 1]
    assert (packed.sources, packed.targets) == ([1, 3], [7, 6])


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2), ([1], [2], 0), ([], [1], 0)],
)
def test_common_prefix(first: list[int], second: list[int], length: int) -> None:
    assert common_prefix(first, second) == length
