"""Which rows make which optimizer step."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_rows

from matinee.training.batching import (
    EpochBatches,
    deal_by_length,
    plan_batches,
    prefix_groups,
    rows_per_pass,
)


def singles(count: int) -> list[list[int]]:
    return [[number] for number in range(count)]


def steps(rows: int, batch_size: int, accumulation: int, epochs: int) -> int:
    batches = EpochBatches(singles(rows), batch_size, accumulation, seed=42)
    return len(batches) // accumulation * epochs


@pytest.mark.parametrize(
    ("rows", "batch_size", "accumulation", "epochs", "expected"),
    [(10_000, 4, 4, 3, 1875), (24_689, 1, 4, 2, 12_344)],
)
def test_steps_are_those_of_the_published_runs(
    rows: int, batch_size: int, accumulation: int, epochs: int, expected: int
) -> None:
    assert steps(rows, batch_size, accumulation, epochs) == expected


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_an_epoch_is_whole_steps_and_no_row_comes_twice(
    count: int, batch_size: int, accumulation: int, epoch: int
) -> None:
    batches = EpochBatches(singles(count), batch_size, accumulation, seed=1)
    batches.set_epoch(epoch)
    planned = list(batches)
    rows = [row for batch in planned for row in batch]
    assert len(planned) == len(batches)
    assert len(rows) == len(set(rows)) == rows_per_pass(count, batch_size * accumulation)
    if count >= batch_size * accumulation:
        assert len(planned) % accumulation == 0
        assert {len(batch) for batch in planned} == {batch_size}
    else:
        assert len(rows) == count


@given(st.integers(1, 90), st.sampled_from([(6, 1), (3, 2), (2, 3), (1, 6)]))
def test_the_rows_of_a_step_do_not_depend_on_how_they_are_split(
    count: int, split: tuple[int, int]
) -> None:
    def step_rows(batch_size: int, accumulation: int) -> list[set[int]]:
        planned = plan_batches(singles(count), batch_size, accumulation, Random(3))
        return [
            {row for batch in planned[start : start + accumulation] for row in batch}
            for start in range(0, len(planned), accumulation)
        ]

    assert step_rows(*split) == step_rows(6, 1)


def test_each_epoch_has_an_order_of_its_own_that_depends_on_the_seed_alone() -> None:
    def orders(seed: int) -> list[list[list[int]]]:
        batches = EpochBatches(singles(64), 4, 2, seed)
        planned = []
        for epoch in range(3):
            batches.set_epoch(epoch)
            planned.append(list(batches))
        return planned

    first = orders(7)
    assert first == orders(7)
    assert first != orders(8)
    assert first[0] != first[1] != first[2] != first[0]


def test_without_a_seed_the_given_order_is_kept() -> None:
    assert list(EpochBatches(singles(8), 2, 2, seed=None)) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_rows_with_a_common_beginning_stay_side_by_side() -> None:
    rows = random_rows(5, 24, prefix=40)
    groups = prefix_groups(rows, share=True)
    assert sorted(row for group in groups for row in group) == list(range(24))
    assert len(groups) == 2
    planned = plan_batches(groups, 4, 1, Random(0))
    mixed = [batch for batch in planned if len({tuple(rows[row][0][:40]) for row in batch}) > 1]
    assert len(mixed) <= 1


@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(1, 4),
    st.booleans(),
)
def test_dealing_by_length_changes_no_step(
    lengths: list[int], batch_size: int, accumulation: int, padded: bool
) -> None:
    def steps_of(**options: object) -> list[list[int]]:
        batches = EpochBatches(singles(len(lengths)), batch_size, accumulation, 5, **options)  # type: ignore[arg-type]
        planned = list(batches)
        assert len(planned) == len(batches)
        assert max(map(len, planned)) <= batch_size
        starts = range(0, len(planned), accumulation)
        return [sorted(chain(*planned[start : start + accumulation])) for start in starts]

    assert steps_of(lengths=lengths, padded=padded) == steps_of()


def test_padded_micro_batches_hold_rows_of_like_length() -> None:
    lengths = [10, 900, 12, 880]
    assert deal_by_length([0, 1, 2, 3], lengths, 2, padded=True) == [[1, 3], [2, 0]]


def test_packed_micro_batches_hold_about_as_many_tokens() -> None:
    lengths = [100, 200, 300, 400, 500, 600, 700, 800]
    dealt = deal_by_length(range(8), lengths, 2, padded=False)
    assert [sum(lengths[row] for row in batch) for batch in dealt] == [900] * 4


def test_without_sharing_every_row_is_a_group() -> None:
    assert prefix_groups(random_rows(5, 3, prefix=40), share=False) == [[0], [1], [2]]


@given(st.integers(0, 10_000))
def test_grouping_loses_no_row(seed: int) -> None:
    rows = random_rows(seed, 12, prefix=Random(seed).choice([0, 20, 40]))
    counted = Counter(row for group in prefix_groups(rows, share=True) for row in group)
    assert counted == Counter(range(12))
