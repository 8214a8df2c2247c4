"""Cross-entropy over a large vocabulary without ever holding all logits.

At 262,144 tokens of vocabulary the logits of 400 positions take 420 MB, their gradient as much
again. Here they are made a block at a time, and the gradient with respect to the hidden states is
computed with them: the LM head is frozen in LoRA training, so nothing else is needed later.
The same idea as fused linear cross-entropy in Liger-Kernel (Hsu et al. 2024, arXiv:2410.10989).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# Elements of one block of logits: 256 MB in fp32. Smaller blocks multiply more slowly.
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
            rows = max(1, BLOCK // weight.shape[0])
            losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
            gradient = torch.empty_like(hidden)
            for start in range(0, len(targets), rows):
                part = slice(start, start + rows)
                # Mixed precision hands over fp32 hidden states above a half-precision head.
                logits = (hidden[part].to(weight.dtype) @ weight.t()).float()
                wanted = targets[part, None]
                largest = logits.amax(dim=-1, keepdim=True)
                of_target = logits.gather(1, wanted) - largest
                # By hand, because torch's logsumexp takes ten times as long on a CPU, and the
                # exponentials are needed again: softmax minus one at the target is the gradient.
                exponentials = logits.sub_(largest).exp_()
                total = exponentials.sum(dim=-1, keepdim=True)
                losses[part] = (total.log() - of_target)[:, 0]
                probabilities = exponentials.div_(total)
                probabilities.scatter_add_(1, wanted, -torch.ones_like(total))
                gradient[part] = probabilities.to(weight.dtype) @ weight
            ctx.save_for_backward(gradient)
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
