"""One micro-batch and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matinee.models.kernels import Kernel, packed_layout
from matinee.models.packing import MaskedIds, pack
from matinee.training.batching import deal_by_tokens
from matinee.training.head_loss import head_loss

if TYPE_CHECKING:
    from torch import Tensor


def collate(rows: Sequence[MaskedIds], packing: str, pad: int) -> dict[str, Any]:
    """One micro-batch.

    Packed: `input_ids` and `position_ids` (1, L), `sources` and `targets` (N), `groups`.
    Padded: `input_ids` and `attention_mask` (B, L), `sources` into B·L, `targets` (N).
    """
    import torch

    tokens = sum(len(ids) for ids, _ in rows)
    if packing == "none":
        length = max(len(ids) for ids, _ in rows)
        places = [
            (number * length + place - 1, ids[place])
            for number, (ids, mask) in enumerate(rows)
            for place in range(1, len(ids))
            if mask[place]
        ]
        padded = [ids + [pad] * (length - len(ids)) for ids, _ in rows]
        seen = [[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows]
        return {
            "input_ids": torch.tensor(padded),
            "attention_mask": torch.tensor(seen),
            # An empty list would become a tensor of floats.
            "sources": torch.tensor([source for source, _ in places], dtype=torch.long),
            "targets": torch.tensor([target for _, target in places], dtype=torch.long),
            "counts": (len(rows), tokens, len(rows) * length),
        }
    packed = pack(rows, share=packing == "shared_prefix")
    return {
        "input_ids": torch.tensor([packed.ids]),
        "position_ids": torch.tensor([packed.positions]),
        "sources": torch.tensor(packed.sources, dtype=torch.long),
        "targets": torch.tensor(packed.targets, dtype=torch.long),
        "groups": packed.groups,
        "counts": (packed.rows, packed.tokens, len(packed.ids)),
    }


def collate_parts(rows: Sequence[MaskedIds], packing: str, pad: int) -> dict[str, Any]:
    """One micro-batch in parts that are computed side by side, the longest first.

    `parts`: each as `collate` makes it. `targets` (N) and `counts` are those of all parts.
    """
    import torch

    lengths = [len(ids) for ids, _ in rows]
    parts = [
        collate([rows[number] for number in part], packing, pad) for part in deal_by_tokens(lengths)
    ]
    return {
        "parts": parts,
        "targets": torch.cat([part["targets"] for part in parts]),
        "counts": tuple(map(sum, zip(*(part["counts"] for part in parts), strict=True))),
    }


def supervised_loss(
    model: Any, batch: dict[str, Any], head: Tensor | None = None, kernel: Kernel = "sdpa"
) -> Tensor:
    """Cross-entropy of each supervised token, (N,), in fp32; logits exist for those alone.

    `head`: the LM head's weight where `release_head` took it off the model. `kernel`: what computes
    attention in packed batches.
    """
    from torch.nn.functional import cross_entropy

    if "groups" in batch:
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            layout=packed_layout(kernel, batch["groups"]),
            logits_to_keep=batch["sources"],
            use_cache=False,
        ).logits[0]
    else:
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        )
        logits = output.logits.flatten(0, 1)[batch["sources"]]
    if head is not None:
        return head_loss(logits, head, batch["targets"])
    return cross_entropy(logits.float(), batch["targets"], reduction="none")
