"""Keys and values of many conversations that begin alike, and attention over them.

What the prompts share is computed and kept once; each conversation (a slot) keeps only its own
tokens. A slot sees the first `shared` tokens of the prefix, then its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Slot:
    """One conversation. `ids`: every token whose keys and values are kept, prefix included."""

    shared: int
    ids: list[int] = field(default_factory=list)

    @property
    def own(self) -> int:
        """Tokens kept beyond the shared prefix."""
        return len(self.ids) - self.shared


class SlotCache:
    """Keys and values per layer: a prefix (1, K, P, D) and slots (S, K, capacity, D)."""

    def __init__(self, slots: int) -> None:
        self.size = slots
        self.prefix: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: dict[int, tuple[Tensor, Tensor]] = {}

    def own(self, layer: int, capacity: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's slot buffers, grown to at least `capacity` tokens."""
        held = self._own.get(layer)
        if held is not None and held[0].shape[2] >= capacity:
            return held
        room = max(64, 2 ** (capacity - 1).bit_length())
        shape = (self.size, like.shape[1], room, like.shape[3])
        grown = (like.new_zeros(shape), like.new_zeros(shape))
        if held is not None:
            for new, old in zip(grown, held, strict=True):
                new[:, :, : old.shape[2]] = old
        self._own[layer] = grown
        return grown


@dataclass(frozen=True)
class PrefixLayout:
    """Computes the shared prefix: plain causal attention whose keys and values are kept."""

    cache: SlotCache

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float | None,
        window: int | None,
        dropout: float,
    ) -> Tensor:
        """Attention output (1, heads, P, D)."""
        from torch.nn.functional import scaled_dot_product_attention

        from matinee.attention import branch_mask, repeat_heads

        self.cache.prefix[layer] = (key, value)
        length = query.shape[2]
        windowed = window is not None and length > window
        mask = branch_mask(0, (length,), window).to(query.device) if windowed else None
        return scaled_dot_product_attention(
            query,
            repeat_heads(key, query.shape[1]),
            repeat_heads(value, query.shape[1]),
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
        )


@dataclass(frozen=True)
class PrefillLayout:
    """New prompt tokens of several slots in one sequence, slot after slot.

    `parts`: (slot number, shared prefix length, tokens kept already, new tokens).
    """

    cache: SlotCache
    parts: Sequence[tuple[int, int, int, int]]

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float | None,
        window: int | None,
        dropout: float,
    ) -> Tensor:
        """Attention output (1, heads, sum of new tokens, D)."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        from matinee.attention import repeat_heads

        need = max(kept + new for _, _, kept, new in self.parts)
        own_key, own_value = self.cache.own(layer, need, key)
        heads = query.shape[1]
        outputs = []
        start = 0
        for number, shared, kept, new in self.parts:
            end = start + new
            own_key[number, :, kept : kept + new] = key[0, :, start:end]
            own_value[number, :, kept : kept + new] = value[0, :, start:end]
            seen = [own_key[number : number + 1, :, : kept + new]]
            seen_values = [own_value[number : number + 1, :, : kept + new]]
            if shared:
                prefix_key, prefix_value = self.cache.prefix[layer]
                seen.insert(0, prefix_key[:, :, :shared])
                seen_values.insert(0, prefix_value[:, :, :shared])
            total = shared + kept + new
            place = torch.arange(total - new, total, device=query.device)
            distance = place[:, None] - torch.arange(total, device=query.device)[None, :]
            mask = distance >= 0
            if window is not None:
                mask &= distance < window
            outputs.append(
                scaled_dot_product_attention(
                    query[:, :, start:end],
                    repeat_heads(torch.cat(seen, dim=2), heads),
                    repeat_heads(torch.cat(seen_values, dim=2), heads),
                    attn_mask=mask,
                    scale=scaling,
                )
            )
            start = end
        return torch.cat(outputs, dim=2)


@dataclass(frozen=True)
class DecodeLayout:
    """One new token for each of several slots, side by side in one sequence.

    `slots`, `shared`, `kept`: integer tensors (B): slot number, prefix length, own tokens so far.
    """

    cache: SlotCache
    slots: Tensor
    shared: Tensor
    kept: Tensor
    longest: int

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float | None,
        window: int | None,
        dropout: float,
    ) -> Tensor:
        """Attention output (1, heads, B, D).

        Scores over the prefix are one product for all slots; the softmax runs over prefix and own
        tokens together, so the result is that of plain attention.
        """
        import torch

        batch, heads, size = query.shape[2], query.shape[1], query.shape[3]
        own_key, own_value = self.cache.own(layer, self.longest + 1, key)
        own_key[self.slots, :, self.kept] = key[0].transpose(0, 1)
        own_value[self.slots, :, self.kept] = value[0].transpose(0, 1)
        kv_heads = key.shape[1]
        # (B, K, G, D): the query heads that share a key head side by side.
        asked = query[0].transpose(0, 1).reshape(batch, kv_heads, heads // kv_heads, size)
        asked = asked * (size**-0.5 if scaling is None else scaling)
        # The keys of all slots are used where they lie, idle ones too: picking the running ones
        # out would copy the whole cache for every token.
        keys, values = own_key[:, :, : self.longest + 1], own_value[:, :, : self.longest + 1]
        mine = torch.matmul(self._spread(asked), keys.transpose(2, 3))[self.slots].float()
        mine = mine.masked_fill(self._hidden(window)[:, None, None, :], float("-inf"))
        top = mine.amax(dim=-1, keepdim=True)
        ahead = self._ahead(layer, asked, window)
        if ahead is not None:
            top = torch.maximum(top, ahead.scores.amax(dim=-1, keepdim=True))
        # In place from here on: over a long prefix, passes over the scores cost as much as they.
        weights = mine.sub_(top).exp_()
        total = weights.sum(dim=-1, keepdim=True)
        output = torch.matmul(self._spread(weights.to(value.dtype)), values)[self.slots].float()
        if ahead is not None:
            common = ahead.scores.sub_(top).exp_()
            total = total + common.sum(dim=-1, keepdim=True)
            flat = common.transpose(0, 1).flatten(1, 2).to(value.dtype)
            part = torch.matmul(flat, ahead.values).float()
            output = output + part.view(kv_heads, batch, -1, size).transpose(0, 1)
        output = (output / total).to(value.dtype)
        return output.reshape(batch, heads, size).transpose(0, 1)[None]

    def _spread(self, rows: Tensor) -> Tensor:
        """The rows (B, …) at their slots (S, …), zero elsewhere."""
        spread = rows.new_zeros((self.cache.size, *rows.shape[1:]))
        spread[self.slots] = rows
        return spread

    def _hidden(self, window: int | None) -> Tensor:
        """(B, T): own tokens that do not exist yet or have left the window."""
        import torch

        index = torch.arange(self.longest + 1, device=self.kept.device)
        distance = self.kept[:, None] - index[None, :]
        hidden = distance < 0
        return hidden if window is None else hidden | (distance >= window)

    def _ahead(self, layer: int, asked: Tensor, window: int | None) -> _Ahead | None:
        """Scores over the part of the shared prefix that any row may see."""
        import torch

        held = self.cache.prefix.get(layer)
        if held is None:
            return None
        length = held[0].shape[2]
        position = self.shared + self.kept
        start = 0 if window is None else max(0, int(position.min()) - window + 1)
        if start >= length:
            return None
        keys, values = held[0][0, :, start:], held[1][0, :, start:]
        batch, kv_heads, group, _ = asked.shape
        flat = asked.transpose(0, 1).flatten(1, 2)
        scores = torch.matmul(flat, keys.transpose(1, 2)).float()
        # (K, B·G, P) seen as (B, K, G, P), without a copy.
        scores = scores.view(kv_heads, batch, group, length - start).transpose(0, 1)
        if window is not None or int(self.shared.min()) < length:
            index = torch.arange(start, length, device=asked.device)
            hidden = index[None, :] >= self.shared[:, None]
            if window is not None:
                hidden = hidden | (position[:, None] - index[None, :] >= window)
            scores.masked_fill_(hidden[:, None, None, :], float("-inf"))
        return _Ahead(scores, values)


@dataclass(frozen=True)
class _Ahead:
    """Scores (B, K, G, P) over the prefix and its values (K, P, D)."""

    scores: Tensor
    values: Tensor
