"""Attention over packed rows on a CPU, its backward pass included, as batched matrix products.

Queries are taken a block at a time with the ranges of keys that they see: what nobody sees is
never computed, be it above the diagonal, out of the window, or in another branch. Queries that
share a head of keys (grouped-query attention) are rows of one product, so keys are not repeated.
As in FlashAttention (Dao 2023, arXiv:2307.08691) only the log-sum of each row is kept, and the
scores are computed again for the gradient. benchmarks/attention.py compares it with PyTorch's own.
Imports torch at the top: only what computes attention imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Positions of one block of queries. Larger blocks multiply faster, but compute more above the
# diagonal and leave the cache.
BLOCK = 64


@dataclass(frozen=True)
class Keys:
    """Keys `start`..`stop` of the packed sequence; `mask` (queries, keys) is added to scores."""

    start: int
    stop: int
    mask: Tensor | None


@dataclass(frozen=True)
class QueryBlock:
    """Queries `start`..`stop` of the packed sequence, and the keys that they see."""

    start: int
    stop: int
    keys: tuple[Keys, ...]


def causal_blocks(
    start: int, length: int, prefix: tuple[int, int] | None, window: int | None, dtype: torch.dtype
) -> Iterator[QueryBlock]:
    """The blocks of one piece of a packed sequence: `length` tokens from `start` on.

    `prefix`: start and length of the piece that comes before it in its rows, if any. `window`: how
    far a token looks back, itself included.
    """
    first = 0 if prefix is None else prefix[1]  # position of the piece's first token in its row
    for begin in range(0, length, BLOCK):
        end = min(length, begin + BLOCK)
        positions = torch.arange(first + begin, first + end)
        # The queries' own keys first: each query sees at least itself there, and so has a finite
        # largest score when keys follow of which it may see none.
        pieces = [(start + begin, first + begin, end - begin), (start, first, begin)]
        if prefix is not None:
            pieces.append((prefix[0], 0, prefix[1]))
        keys = []
        for place, position, count in pieces:
            low = 0 if window is None else max(0, first + begin - window + 1 - position)
            if low < count:
                seen = visible(positions, torch.arange(position + low, position + count), window)
                mask = None if seen.all() else additive(seen, dtype)
                keys.append(Keys(place + low, place + count, mask))
        yield QueryBlock(start + begin, start + end, tuple(keys))


def visible(queries: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """Which keys each query sees (Q, K), by their positions (Q) and (K) in one row."""
    distance = queries[:, None] - keys[None, :]
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token may be seen and -inf elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf"))


def attend_blocks(
    query: Tensor, key: Tensor, value: Tensor, blocks: Sequence[QueryBlock], scale: float
) -> Tensor:
    """Attention output (1, H, L, D) with gradients for query (1, H, L, D), key and value.

    `key` and `value`: (1, K, L, D), with H a multiple of K. `scale`: of the scores. The blocks
    cover every query once.
    """
    heads, length, size = query.shape[1:]
    groups = heads // key.shape[1]
    # Rows (K, L·G, D): a position's G queries of one head of keys lie side by side.
    rows = (
        query[0]
        .reshape(-1, groups, length, size)
        .transpose(1, 2)
        .reshape(-1, length * groups, size)
    )
    output: Tensor = _Attend.apply(rows * scale, key[0], value[0], blocks, groups)  # type: ignore[no-untyped-call]
    split = output.view(-1, length, groups, size).transpose(1, 2)
    return split.reshape(1, heads, length, size)


class _Attend(torch.autograd.Function):
    """On rows (K, L·G, D) of scaled queries and (K, L, D) of keys and values."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        key: Tensor,
        value: Tensor,
        blocks: Sequence[QueryBlock],
        groups: int,
    ) -> Tensor:
        rows, key, value = rows.contiguous(), key.contiguous(), value.contiguous()
        output = torch.empty_like(rows)
        log_sums = rows.new_empty(*rows.shape[:2], 1)
        for block in blocks:
            mine = slice(block.start * groups, block.stop * groups)
            queries = rows[:, mine]
            largest = torch.full_like(log_sums[:, mine], float("-inf"))
            total = torch.zeros_like(largest)
            sums = torch.zeros_like(queries)
            for seen in block.keys:
                weights = _scores(queries, key, seen, groups)
                before, largest = largest, torch.maximum(largest, weights.amax(-1, keepdim=True))
                fade = before.sub_(largest).exp_()
                total.mul_(fade).add_(weights.sub_(largest).exp_().sum(dim=-1, keepdim=True))
                sums.mul_(fade).baddbmm_(weights, value[:, seen.start : seen.stop])
            output[:, mine] = sums.div_(total)
            log_sums[:, mine] = total.log_().add_(largest)
        ctx.save_for_backward(rows, key, value, output, log_sums)
        ctx.blocks, ctx.groups = blocks, groups
        return output

    @staticmethod
    def backward(ctx: Any, *outgoing: Tensor) -> tuple[Tensor | None, ...]:
        rows, key, value, output, log_sums = ctx.saved_tensors
        drows, dkey, dvalue = (torch.zeros_like(states) for states in (rows, key, value))
        doutput = outgoing[0].contiguous()
        # What every score of a row loses through the row's sum.
        means = (doutput * output).sum(dim=-1, keepdim=True)
        for block in ctx.blocks:
            mine = slice(block.start * ctx.groups, block.stop * ctx.groups)
            for seen in block.keys:
                theirs = slice(seen.start, seen.stop)
                weights = _scores(rows[:, mine], key, seen, ctx.groups)
                weights.sub_(log_sums[:, mine]).exp_()
                dvalue[:, theirs].baddbmm_(weights.transpose(1, 2), doutput[:, mine])
                dscores = torch.bmm(doutput[:, mine], value[:, theirs].transpose(1, 2))
                dscores.sub_(means[:, mine]).mul_(weights)
                drows[:, mine].baddbmm_(dscores, key[:, theirs])
                dkey[:, theirs].baddbmm_(dscores.transpose(1, 2), rows[:, mine])
        return drows, dkey, dvalue, None, None


def _scores(rows: Tensor, key: Tensor, seen: Keys, groups: int) -> Tensor:
    """Masked scores (K, block·G, keys)."""
    scores = torch.bmm(rows, key[:, seen.start : seen.stop].transpose(1, 2))
    if seen.mask is not None:
        scores.view(len(scores), -1, groups, scores.shape[-1]).add_(seen.mask[:, None])
    return scores
