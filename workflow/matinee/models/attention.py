"""Lends a model our attention: a layout object decides which tokens see which.

Transformers' attention layers hand every keyword that the model is called with to the attention
function that is registered under `config._attn_implementation`. We register one that finds the
`layout` there. A name without a registered mask makes transformers build no mask at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from matinee.models.cpu_attention import QueryBlock, additive, attend_blocks, causal_blocks, visible
from matinee.models.packing import Group
from matinee.runtime.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "matinee_layout"
# Arguments that some architectures pass and that change the result; none may be dropped silently.
UNSUPPORTED = ("softcap", "s_aux", "head_mask")


@dataclass(frozen=True)
class AttentionCall:
    """What a layer asks for.

    `query`: (1, heads, tokens, head size); `key` and `value` may have fewer heads. `scaling`: of
    the scores, None for that of SDPA. `window`: how far a token looks back, itself included; None
    for all the way. `dropout`: share of attention weights left out.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    scaling: float | None = None
    window: int | None = None
    dropout: float = 0.0

    @property
    def states(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value."""
        return self.query, self.key, self.value


class Layout(Protocol):
    """Which tokens see which, and where keys and values are kept."""

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, tokens, head size)."""
        ...


def use_layouts(model: PreTrainedModel) -> None:
    """Makes the model's attention follow the `layout=` that it is called with."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
    model.config._attn_implementation = NAME


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    for name in UNSUPPORTED:
        if options.get(name) is not None:
            raise EngineError(f"this architecture uses {name!r} in attention, which ours lacks")
    layer: int = module.layer_idx  # type: ignore[assignment]
    known = options.get("scaling"), options.get("sliding_window"), options.get("dropout", 0.0)
    output = options["layout"].attend(AttentionCall(layer, query, key, value, *known))
    return output.transpose(1, 2).contiguous(), None


class PackedLayout:
    """Attention over a packed sequence: rows never see each other, branches see their prefix."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._masks: dict[tuple[int, ...], Tensor] = {}
        self._blocks: dict[int, list[QueryBlock]] = {}
        # The sequence in pieces, and for each piece the piece that is its prefix.
        self._lengths: list[int] = []
        self._places: list[tuple[int | None, int]] = []
        for group in groups:
            prefix = len(self._lengths) if group.prefix else None
            if prefix is not None:
                self._places.append((None, prefix))
                self._lengths.append(group.prefix)
            for length in group.branches:
                self._places.append((prefix, len(self._lengths)))
                self._lengths.append(length)

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, L, head size) for a packed sequence of L tokens."""
        full = call.query.dtype in (torch.float32, torch.float64)
        full = full and not torch.is_autocast_enabled(call.query.device.type)
        if full and call.query.device.type == "cpu" and call.dropout == 0:
            return self._attend_on_cpu(call)
        return self._attend_by_pieces(call)

    def _attend_on_cpu(self, call: AttentionCall) -> Tensor:
        # Every layer with that window asks for the same blocks.
        if (call.window or 0) not in self._blocks:
            starts = list(itertools.accumulate(self._lengths, initial=0))
            self._blocks[call.window or 0] = [
                block
                for prefix, place in self._places
                for block in causal_blocks(
                    starts[place],
                    self._lengths[place],
                    None if prefix is None else (starts[prefix], self._lengths[prefix]),
                    call.window,
                    call.query.dtype,
                )
            ]
        scale = call.query.shape[-1] ** -0.5 if call.scaling is None else call.scaling
        return attend_blocks(*call.states, self._blocks[call.window or 0], scale)

    def _attend_by_pieces(self, call: AttentionCall) -> Tensor:
        query, key, value = call.states
        key, value = repeat_heads(key, query.shape[1]), repeat_heads(value, query.shape[1])
        # Split, not sliced: the gradient of each slice would be a tensor of the whole length.
        queries, keys, values = (
            torch.split(states, self._lengths, dim=2) for states in (query, key, value)
        )
        outputs = []
        for prefix, place in self._places:
            seen, mask = (keys[place], values[place]), None
            length = self._lengths[place]
            if prefix is not None:
                # One call per branch: a call over all of them would spend most of its time on
                # pairs of branches that may not see each other.
                seen = (
                    torch.cat([keys[prefix], keys[place]], dim=2),
                    torch.cat([values[prefix], values[place]], dim=2),
                )
                mask = self._mask(self._lengths[prefix], length, call.window, query)
            elif call.window is not None and length > call.window:
                mask = self._mask(0, length, call.window, query)
            outputs.append(
                scaled_dot_product_attention(
                    queries[place],
                    *seen,
                    attn_mask=mask,
                    is_causal=mask is None,
                    scale=call.scaling,
                    dropout_p=call.dropout,
                )
            )
        return torch.cat(outputs, dim=2)

    def _mask(self, prefix: int, length: int, window: int | None, like: Tensor) -> Tensor:
        # Every layer asks for the same masks, so they are made once per batch.
        key = (prefix, length, window or 0)
        if key not in self._masks:
            end = prefix + length
            seen = visible(torch.arange(prefix, end), torch.arange(end), window)
            self._masks[key] = additive(seen, like.dtype).to(like.device)
        return self._masks[key]


def repeat_heads(states: Tensor, heads: int) -> Tensor:
    """Keys or values (1, K, tokens, size) repeated to `heads` heads, as grouped-query needs."""
    groups = heads // states.shape[1]
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)
