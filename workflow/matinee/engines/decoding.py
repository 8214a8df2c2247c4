"""Keys and values of many conversations that begin alike, and attention over them.

What the prompts share is computed and kept once; each conversation (a slot) keeps only its own
tokens. A slot sees the first `shared` tokens of the prefix, then its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from matinee.models.attention import AttentionCall
from matinee.models.cpu_attention import visible


@dataclass
class DecodingSlot:
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

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, P, D)."""
        query, key, value = call.states
        self.cache.prefix[call.layer] = (key, value)
        places = torch.arange(query.shape[2], device=query.device)
        mask = visible(places, places, call.window)
        return _grouped_attention(query, key, value, mask, call.scaling)


@dataclass(frozen=True)
class PrefillLayout:
    """New prompt tokens of several slots in one sequence, slot after slot.

    `parts`: (slot number, shared prefix length, tokens kept already, new tokens).
    """

    cache: SlotCache
    parts: Sequence[tuple[int, int, int, int]]

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, sum of new tokens, D)."""
        query, key, value = call.states
        need = max(kept + new for _, _, kept, new in self.parts)
        own_key, own_value = self.cache.own(call.layer, need, key)
        outputs = []
        start = 0
        for number, shared, kept, new in self.parts:
            end = start + new
            own_key[number, :, kept : kept + new] = key[0, :, start:end]
            own_value[number, :, kept : kept + new] = value[0, :, start:end]
            # What has left the window of the first new token is seen by none of them.
            first = 0 if call.window is None else max(0, shared + kept - call.window + 1)
            own = slice(max(0, first - shared), kept + new)
            seen = [own_key[number : number + 1, :, own]]
            seen_values = [own_value[number : number + 1, :, own]]
            if first < shared:
                prefix_key, prefix_value = self.cache.prefix[call.layer]
                seen.insert(0, prefix_key[:, :, first:shared])
                seen_values.insert(0, prefix_value[:, :, first:shared])
            total = shared + kept + new
            places = torch.arange(first, total, device=query.device)
            mask = visible(places[-new:], places, call.window)
            outputs.append(
                _grouped_attention(
                    query[:, :, start:end],
                    torch.cat(seen, dim=2),
                    torch.cat(seen_values, dim=2),
                    mask,
                    call.scaling,
                )
            )
            start = end
        return torch.cat(outputs, dim=2)


def _grouped_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None
) -> Tensor:
    """Attention output (1, heads, L, D) of query heads that share key heads (1, K, T, D).

    Heads of one group are laid behind each other as if they were tokens, because repeating keys
    and values for each head would copy the prefix several times.
    """
    _, heads, length, size = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    return scaled_dot_product_attention(
        query.reshape(1, kv_heads, group * length, size),
        key,
        value,
        attn_mask=mask.repeat(group, 1),
        scale=scaling,
    ).view(1, heads, length, size)


@dataclass(frozen=True)
class DecodeLayout:
    """One new token for each of several slots, side by side in one sequence.

    `rows`: per slot its number, the length of its prefix, its own tokens so far.
    """

    cache: SlotCache
    rows: Sequence[tuple[int, int, int]]

    def attend(self, call: AttentionCall) -> Tensor:
        """Attention output (1, heads, B, D).

        Scores over the prefix are one product for all slots; the softmax runs over prefix and own
        tokens together, so the result is that of plain attention.
        """
        query, key, value = call.states
        batch, heads, size = query.shape[2], query.shape[1], query.shape[3]
        kv_heads = key.shape[1]
        # (B, K, G, D): the query heads that share a key head side by side.
        asked = query[0].transpose(0, 1).reshape(batch, kv_heads, heads // kv_heads, size)
        asked = asked * (size**-0.5 if call.scaling is None else call.scaling)
        own = self._own(call.layer, key, value, call.window)
        mine = own.scores(asked)
        top = mine.amax(dim=-1, keepdim=True)
        ahead = self._ahead(call.layer, asked, call.window)
        if ahead is not None:
            top = torch.maximum(top, ahead[0].amax(dim=-1, keepdim=True))
        # In place from here on: over a long prefix, passes over the scores cost as much as they.
        weights = mine.sub_(top).exp_()
        total = weights.sum(dim=-1, keepdim=True)
        output = own.mix(weights.to(value.dtype)).float()
        if ahead is not None:
            common = ahead[0].sub_(top).exp_()
            total = total + common.sum(dim=-1, keepdim=True)
            flat = common.transpose(0, 1).flatten(1, 2).to(value.dtype)
            part = torch.matmul(flat, ahead[1]).float()
            output = output + part.view(kv_heads, batch, -1, size).transpose(0, 1)
        output = (output / total).to(value.dtype)
        return output.reshape(batch, heads, size).transpose(0, 1)[None]

    def _own(self, layer: int, key: Tensor, value: Tensor, window: int | None) -> OwnTokens:
        """Keeps the new keys and values (1, K, B, D); what each row sees of its own tokens."""
        longest = max(kept for _, _, kept in self.rows)
        keys, values = self.cache.own(layer, longest + 1, key)
        numbers, _, places = map(list, zip(*self.rows, strict=True))
        keys[numbers, :, places] = key[0].transpose(0, 1)
        values[numbers, :, places] = value[0].transpose(0, 1)
        spans = [
            (number, 0 if window is None else max(0, kept - window + 1), kept + 1)
            for number, _, kept in self.rows
        ]
        kind = OwnTokens if keys.device.type == "cpu" else PaddedOwnTokens
        return kind(keys, values, spans)

    def _ahead(self, layer: int, asked: Tensor, window: int | None) -> tuple[Tensor, Tensor] | None:
        """Scores (B, K, G, P) and values (K, P, D) of the prefix, as far as any row may see it."""
        held = self.cache.prefix.get(layer)
        if held is None:
            return None
        length = held[0].shape[2]
        nearest = min(shared + kept for _, shared, kept in self.rows)
        start = 0 if window is None else max(0, nearest - window + 1)
        if start >= length:
            return None
        keys, values = held[0][0, :, start:], held[1][0, :, start:]
        batch, kv_heads, group, _ = asked.shape
        flat = asked.transpose(0, 1).flatten(1, 2)
        scores = torch.matmul(flat, keys.transpose(1, 2)).float()
        # (K, B·G, P) seen as (B, K, G, P), without a copy.
        scores = scores.view(kv_heads, batch, group, length - start).transpose(0, 1)
        if window is not None or min(shared for _, shared, _ in self.rows) < length:
            index = torch.arange(start, length, device=asked.device)
            shared, kept = torch.tensor(self.rows, device=asked.device).T[1:, :, None]
            hidden = index >= shared
            if window is not None:
                hidden = hidden | (shared + kept - index >= window)
            scores.masked_fill_(hidden[:, None, None, :], float("-inf"))
        return scores, values


@dataclass(frozen=True)
class OwnTokens:
    """Keys and values of slots (S, K, capacity, D) and the span that each row sees of its slot.

    `spans`: slot number, first token, end. Row after row, each over just its own span: one long
    conversation does not make all others as long.
    """

    keys: Tensor
    values: Tensor
    spans: Sequence[tuple[int, int, int]]

    def scores(self, asked: Tensor) -> Tensor:
        """(B, K, G, longest span) for (B, K, G, D); -inf behind a row's span."""
        longest = max(end - first for _, first, end in self.spans)
        scores = torch.full((*asked.shape[:3], longest), float("-inf"), device=asked.device)
        for row, (number, first, end) in enumerate(self.spans):
            keys = self.keys[number, :, first:end].transpose(1, 2)
            scores[row, :, :, : end - first] = torch.matmul(asked[row], keys)
        return scores

    def mix(self, weights: Tensor) -> Tensor:
        """(B, K, G, D): values summed by weights (B, K, G, longest span)."""
        return torch.stack(
            [
                torch.matmul(weights[row, :, :, : end - first], self.values[number, :, first:end])
                for row, (number, first, end) in enumerate(self.spans)
            ]
        )


class PaddedOwnTokens(OwnTokens):
    """The same in one product over all slots, padded: where starting a kernel costs most."""

    def scores(self, asked: Tensor) -> Tensor:
        """(B, K, G, longest end) for (B, K, G, D); -inf outside of a row's span."""
        numbers, first, end = torch.tensor(self.spans, device=asked.device).T
        keys = self.keys[:, :, : self._longest]
        # Idle slots are computed too: picking the running ones out would copy the whole cache.
        scores = torch.matmul(self._spread(asked), keys.transpose(2, 3))[numbers].float()
        index = torch.arange(self._longest, device=asked.device)
        hidden = (index < first[:, None]) | (index >= end[:, None])
        return scores.masked_fill_(hidden[:, None, None, :], float("-inf"))

    def mix(self, weights: Tensor) -> Tensor:
        """(B, K, G, D): values summed by weights (B, K, G, longest end)."""
        numbers = [number for number, _, _ in self.spans]
        return torch.matmul(self._spread(weights), self.values[:, :, : self._longest])[numbers]

    @property
    def _longest(self) -> int:
        return max(end for _, _, end in self.spans)

    def _spread(self, rows: Tensor) -> Tensor:
        """The rows (B, …) at their slots (S, …), zero elsewhere."""
        spread = rows.new_zeros((self.keys.shape[0], *rows.shape[1:]))
        spread[[number for number, _, _ in self.spans]] = rows
        return spread
