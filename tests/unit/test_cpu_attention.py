"""Attention on a CPU is PyTorch's, with gradients, for every layout, window and number of heads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.models.attention import AttentionCall, PackedLayout
from matinee.models.cpu_attention import BLOCK, causal_blocks
from matinee.models.packing import Group


def results(
    layout: PackedLayout, states: list[torch.Tensor], window: int | None, *, pieces: bool
) -> list[torch.Tensor]:
    leaves = [state.clone().requires_grad_() for state in states]
    query, key, value = leaves
    call = AttentionCall(0, query, key, value, scaling=0.3, window=window)
    # By pieces it is PyTorch's own attention that computes, as it does on other devices.
    output = layout._attend_by_pieces(call) if pieces else layout.attend(call)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    (output * weights).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert len(gradients) == 3
    return [output.detach(), *gradients]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    heads=st.sampled_from([(4, 4), (6, 2), (4, 1)]),
    window=st.sampled_from([None, 1, 9, BLOCK, BLOCK + 30]),
    pieces=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 40, BLOCK, 150]),
            st.lists(st.integers(1, 2 * BLOCK + 9), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_output_and_gradients_are_those_of_pytorch(
    seed: int,
    heads: tuple[int, int],
    window: int | None,
    pieces: list[tuple[int, list[int]]],
) -> None:
    groups: list[Group] = []
    for prefix, branches in pieces:
        groups.append(Group(groups[-1].end if groups else 0, prefix, tuple(branches)))
    chance = torch.Generator().manual_seed(seed)
    shapes = [(1, count, groups[-1].end, 8) for count in (heads[0], heads[1], heads[1])]
    drawn = [torch.randn(shape, generator=chance, dtype=torch.float64) for shape in shapes]
    layout = PackedLayout(groups)
    ours = results(layout, drawn, window, pieces=False)
    expected = results(layout, drawn, window, pieces=True)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_what_nobody_sees_is_not_computed() -> None:
    window = 10
    (first, second) = causal_blocks(5, BLOCK + 20, (0, 5), window, torch.float32)
    assert [(seen.start, seen.stop) for seen in first.keys] == [(5, 5 + BLOCK), (0, 5)]
    # The second block looks back over nine tokens and no further.
    assert [(seen.start, seen.stop) for seen in second.keys] == [
        (5 + BLOCK, 25 + BLOCK),
        (5 + BLOCK - 9, 5 + BLOCK),
    ]


def test_scores_that_are_large_do_not_overflow() -> None:
    query = torch.full((1, 1, 3, 4), 100.0)
    value = torch.arange(12.0).view(1, 1, 3, 4)
    output = PackedLayout([Group(0, 0, (3,))]).attend(AttentionCall(0, query, query, value))
    torch.testing.assert_close(output[0, 0, 2], value[0, 0].mean(dim=0))


def test_sixteen_bits_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[torch.dtype] = []
    monkeypatch.setattr(
        PackedLayout, "_attend_by_pieces", lambda _, call: called.append(call.query.dtype)
    )
    states = torch.randn(1, 2, 5, 4, dtype=torch.bfloat16)
    PackedLayout([Group(0, 0, (5,))]).attend(AttentionCall(0, states, states, states))
    assert called == [torch.bfloat16]
