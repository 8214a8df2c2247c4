"""One micro-batch and its loss, without ever holding all logits.

At 262,144 tokens of vocabulary the logits of 400 positions take 420 MB, their gradient as much
again. Here they are made for a part of the vocabulary at a time, with a running maximum and sum as
in FlashAttention (Dao et al. 2022, arXiv:2205.14135), and the gradient with respect to the hidden
states is computed with them: the LM head is frozen in LoRA training, so nothing else is needed
later. The same idea as fused linear cross-entropy in Liger-Kernel (Hsu et al. 2024,
arXiv:2410.10989). Imports torch at the top: only a training process imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from matinee.models.kernels import Kernel, packed_layout
from matinee.models.packing import MaskedIds, pack
from matinee.training.batching import deal_by_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Entries of the vocabulary at a time: on a CPU so few that their logits stay in its cache.
CPU_COLUMNS = 1024
# Elements of one block of logits elsewhere: 256 MB in fp32.
BLOCK = 64 * 2**20
# Configuration keys of architectures that change hidden states or logits around the head.
RESCALING = ("final_logit_softcapping", "logit_scale", "logits_scaling", "dim_model_base")


def collate(rows: Sequence[MaskedIds], packing: str, pad: int) -> dict[str, Any]:
    """One micro-batch.

    Packed: `input_ids` and `position_ids` (1, L), `sources` and `targets` (N), `groups`.
    Padded: `input_ids` and `attention_mask` (B, L), `sources` into B·L, `targets` (N).
    """
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


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each position, (N,), in fp32.

    `hidden`: (N, H). `weight`: (V, H), frozen. `targets`: (N,) token ids.
    """
    return _HeadLoss.apply(hidden, weight, targets)  # type: ignore[no-any-return,no-untyped-call]


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        on_cpu = hidden.device.type == "cpu"
        columns = CPU_COLUMNS if on_cpu else max(CPU_COLUMNS, BLOCK // max(1, len(targets)))
        # Mixed precision hands over fp32 hidden states above a half-precision head.
        states = hidden.to(weight.dtype)
        gradient = torch.zeros_like(hidden, dtype=torch.float32)
        of_target = gradient.new_zeros(len(targets))
        largest = gradient.new_full((len(targets), 1), float("-inf"))
        total = torch.zeros_like(largest)
        for start in range(0, weight.shape[0], columns):
            part = weight[start : start + columns]
            logits = (states @ part.t()).float()
            place = targets - start
            here = (place >= 0) & (place < len(part))
            found = logits.gather(1, place.clamp(0, len(part) - 1)[:, None])[:, 0]
            of_target = torch.where(here, found, of_target)
            before, largest = largest, torch.maximum(largest, logits.amax(-1, keepdim=True))
            # What was summed so far was relative to the largest logit before.
            fade = before.sub_(largest).exp_()
            exponentials = logits.sub_(largest).exp_()
            total.mul_(fade).add_(exponentials.sum(dim=-1, keepdim=True))
            gradient.mul_(fade)
            if weight.dtype == torch.float32:
                gradient.addmm_(exponentials, part)
            else:
                gradient.add_(exponentials.to(weight.dtype) @ part)
        # Softmax minus one at the target, times the head.
        gradient.div_(total).sub_(weight[targets])
        ctx.save_for_backward(gradient.to(hidden.dtype))
        losses: Tensor = (total.log() + largest)[:, 0] - of_target
        return losses

    @staticmethod
    def backward(ctx: Any, *outgoing: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outgoing[0][:, None].to(gradient.dtype), None, None


def release_head(model: PreTrainedModel) -> Tensor | None:
    """Takes the LM head off, so that the model returns hidden states as its `logits`.

    Returns the head's weight (V, H), or None where the architecture does more than a product with
    it, and the head stays on.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    plain = isinstance(head, torch.nn.Linear) and head.bias is None
    if not plain or any(getattr(model.config, key, None) is not None for key in RESCALING):
        return None
    model.set_output_embeddings(torch.nn.Identity())  # type: ignore[no-untyped-call]
    weight: Tensor = head.weight.detach()
    return weight
