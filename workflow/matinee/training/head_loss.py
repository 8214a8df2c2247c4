"""Cross-entropy over a large vocabulary without ever holding all logits.

At 262,144 tokens of vocabulary the logits of 400 positions take 420 MB, their gradient as much
again. Here they are made for a part of the vocabulary at a time, with a running maximum and sum as
in FlashAttention (Dao et al. 2022, arXiv:2205.14135), and the gradient with respect to the hidden
states is computed with them: the LM head is frozen in LoRA training, so nothing else is needed
later. The same idea as fused linear cross-entropy in Liger-Kernel (Hsu et al. 2024,
arXiv:2410.10989).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# Entries of the vocabulary at a time: on a CPU so few that their logits stay in its cache.
CPU_COLUMNS = 1024
# Elements of one block of logits elsewhere: 256 MB in fp32.
BLOCK = 64 * 2**20
# Configuration keys of architectures that change hidden states or logits around the head.
RESCALING = ("final_logit_softcapping", "logit_scale", "logits_scaling", "dim_model_base")


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each position, (N,), in fp32.

    `hidden`: (N, H). `weight`: (V, H), frozen. `targets`: (N,) token ids.
    """
    import torch

    class HeadLoss(torch.autograd.Function):
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

    return HeadLoss.apply(hidden, weight, targets)  # type: ignore[no-any-return,no-untyped-call]


def release_head(model: PreTrainedModel) -> Tensor | None:
    """Takes the LM head off, so that the model returns hidden states as its `logits`.

    Returns the head's weight (V, H), or None where the architecture does more than a product with
    it, and the head stays on.
    """
    import torch

    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    plain = isinstance(head, torch.nn.Linear) and head.bias is None
    if not plain or any(getattr(model.config, key, None) is not None for key in RESCALING):
        return None
    model.set_output_embeddings(torch.nn.Identity())  # type: ignore[no-untyped-call]
    weight: Tensor = head.weight.detach()
    return weight
