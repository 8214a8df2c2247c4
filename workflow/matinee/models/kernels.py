"""Which attention kernel computes a packed sequence in training, chosen by trying it.

On a CPU, PyTorch's SDPA is called piece by piece (`attention.PackedLayout`). On CUDA two kernels
take the whole sequence in one call: FlashAttention for rows of any length, as PyTorch ships it
(`torch.nn.attention.varlen`), and FlexAttention, which can also carry shared prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import varlen

from matinee.models.attention import AttentionCall, Layout, PackedLayout
from matinee.models.devices import Placement
from matinee.models.packing import Group
from matinee.models.selfcheck import first_line

Kernel = Literal["sdpa", "varlen", "flex"]
# Share of the largest value by which a kernel in 16 bits may differ from SDPA in 32.
TOLERANCE = 0.03


@dataclass(frozen=True)
class Choice:
    """The kernel, and the reason in one sentence."""

    kernel: Kernel
    reason: str


@dataclass(frozen=True)
class Heads:
    """Attention heads of a model: of queries, of keys and values, and the size of each."""

    queries: int
    keys: int
    size: int

    @classmethod
    def of(cls, config: Any) -> Heads:
        """The heads of a transformers configuration."""
        queries = int(config.num_attention_heads)
        size = getattr(config, "head_dim", None) or config.hidden_size // queries
        return cls(queries, int(getattr(config, "num_key_value_heads", None) or queries), int(size))


def packed_layout(kernel: Kernel, groups: Sequence[Group]) -> Layout:
    """The layout of a packed sequence, computed by that kernel."""
    if kernel == "sdpa":
        return PackedLayout(groups)
    return VarlenLayout(groups) if kernel == "varlen" else FlexLayout(groups)


class VarlenLayout:
    """FlashAttention over rows side by side, without shared prefixes; 16 bits on CUDA only."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._lengths = [length for group in groups for length in group.branches]
        self._starts: Tensor | None = None

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, L, head size) for a packed sequence of L tokens."""
        query, key, value = call.states
        if self._starts is None:
            ends = torch.tensor(self._lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32)
            self._starts = torch.nn.functional.pad(ends, (1, 0)).to(query.device)
        longest = max(self._lengths)
        # (-1, 0) is the kernel's word for causal without a window.
        left = -1 if call.window is None else call.window - 1
        rows = [states[0].transpose(0, 1) for states in (query, key, value)]
        output: Any = varlen.varlen_attn(
            rows[0],
            rows[1],
            rows[2],
            self._starts,
            self._starts,
            longest,
            longest,
            scale=call.scaling,
            window_size=(left, 0),
            enable_gqa=key.shape[1] != query.shape[1],
        )
        attended: Tensor = output.transpose(0, 1)[None]
        return attended


class FlexLayout:
    """FlexAttention: one call for the whole sequence; blocks that nobody may see are skipped."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._masks: dict[int, Any] = {}

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, L, head size) for a packed sequence of L tokens."""
        query, key, value = call.states
        # Every layer with that window asks for the same mask.
        if (call.window or 0) not in self._masks:
            self._masks[call.window or 0] = block_mask(self._groups, call.window, query.device)
        output: Tensor = _flex(query.device.type)(
            query,
            key,
            value,
            block_mask=self._masks[call.window or 0],
            scale=call.scaling,
            enable_gqa=key.shape[1] != query.shape[1],
        )
        return output


@cache
def _flex(device: str) -> Any:
    """FlexAttention; fused on CUDA, where the plain form would hold all scores."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if device == "cuda" else flex_attention


def block_mask(groups: Sequence[Group], window: int | None, device: torch.device) -> Any:
    """FlexAttention's mask: a token sees its own branch up to itself, and its group's prefix."""
    from torch.nn.attention.flex_attention import create_block_mask

    # Per token: where its group starts, where the group's prefix ends, where its own piece starts,
    # and its position in its row.
    columns: list[list[int]] = [[], [], [], []]
    for group in groups:
        prefix_end = group.start + group.prefix
        pieces = [(group.start, group.prefix, 0)]
        own = prefix_end
        for length in group.branches:
            pieces.append((own, length, group.prefix))
            own += length
        for own, length, first in pieces:
            columns[0] += [group.start] * length
            columns[1] += [prefix_end] * length
            columns[2] += [own] * length
            columns[3] += range(first, first + length)
    start, prefix_ends, piece, position = torch.tensor(columns, device=device)

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        shared = (key >= start[query]) & (key < prefix_ends[query])
        mine: Tensor = (key <= query) & (shared | (key >= piece[query]))
        return mine if window is None else mine & (position[query] - position[key] < window)

    length = len(columns[0])
    return create_block_mask(seen, None, None, length, length, device=device)


def choose_kernel(placement: Placement, packing: str, heads: Heads, dropout: float) -> Choice:
    """The first kernel that this machine has and that computes what SDPA computes.

    `packing`: plain or shared_prefix. `dropout`: of attention weights, which only SDPA applies.
    """
    if placement.device != "cuda":
        return Choice("sdpa", "no CUDA device")
    if dropout > 0:
        return Choice("sdpa", "the model drops attention weights, which the other kernels cannot")
    candidates: tuple[Kernel, ...] = ("varlen", "flex") if packing == "plain" else ("flex",)
    passed_over: list[str] = []
    for kernel in candidates:
        problem = trial(kernel, heads, placement.device, placement.dtype)
        if problem is None:
            return Choice(kernel, "; ".join(["agrees with SDPA in a trial", *passed_over]))
        passed_over.append(f"{kernel}: {problem}")
    return Choice("sdpa", "; ".join(passed_over))


def trial(kernel: Kernel, heads: Heads, device: str, dtype: torch.dtype) -> str | None:
    """What keeps the kernel from being used, found on small random states; None if nothing does.

    Two sequences of different length: kernels that are compiled are compiled for any length then.
    """
    sequences = [
        [Group(0, 0, (70,)), Group(70, 0, (33,))],
        [Group(0, 0, (150,)), Group(150, 0, (9,)), Group(159, 0, (41,))],
    ]
    if kernel == "flex":
        sequences += [[Group(0, 90, (30, 21)), Group(141, 0, (64,))]]
    for seed, groups in enumerate(sequences):
        chance = torch.Generator().manual_seed(seed)
        *states, weights = (
            torch.randn((1, count, groups[-1].end, heads.size), generator=chance).to(device, dtype)
            for count in (heads.queries, heads.keys, heads.keys, heads.queries)
        )
        try:
            ours = _with_gradients(packed_layout(kernel, groups), states, weights)
        # Whatever a missing or broken kernel raises, training can go on without it.
        except Exception as error:  # noqa: BLE001
            return first_line(error)
        exact = [state.float() for state in states]
        expected = _with_gradients(PackedLayout(groups), exact, weights)
        difference = max(
            float((mine.float() - theirs).abs().max() / theirs.abs().max())
            for mine, theirs in zip(ours, expected, strict=True)
        )
        if not difference <= TOLERANCE:
            return f"differs from SDPA by {difference:.3f} of the largest value"
    return None


def _with_gradients(layout: Layout, states: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
    """Output and gradients of query, key and value; `weights` is the gradient of the output."""
    query, key, value = leaves = [state.detach().requires_grad_() for state in states]
    output = layout.attend(AttentionCall(0, query, key, value))
    return [output, *torch.autograd.grad(output, leaves, weights.to(output.dtype))]
