"""Proof that the merged model is what was trained: same logits, same greedy answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.devices import Placement
from matinee.errors import MergeError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

NEW_TOKENS = 24


def certify(
    base: Path,
    adapter: Path,
    merged: Path,
    prompts: Sequence[list[int]],
    *,
    placement: Placement,
    tolerance: float,
) -> dict[str, Any]:
    """Compares the merged model with the adapter on its base, on real prompts (token ids).

    Returns prompts, largest_logit_difference (relative to the largest logit), tolerance and
    identical_greedy (how many prompts get the same next 24 tokens). Raises MergeError where the
    difference passes the tolerance, or where the merged model's logits are the base's.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if not prompts:
        raise MergeError("No prompt to compare the merged model on.")

    def load(folder: Path) -> PreTrainedModel:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=placement.dtype)
        return model.to(placement.device).eval()  # type: ignore[no-any-return]

    trained = PeftModel.from_pretrained(load(base), str(adapter)).eval()
    with trained.disable_adapter():
        untrained_logits = [_logits(trained, prompt) for prompt in prompts[:1]]
    trained_logits = [_logits(trained, prompt) for prompt in prompts]
    trained_tokens = [_greedy(trained, prompt) for prompt in prompts]
    del trained
    model = load(merged)
    merged_logits = [_logits(model, prompt) for prompt in prompts]
    merged_tokens = [_greedy(model, prompt) for prompt in prompts]
    difference = max(map(_difference, merged_logits, trained_logits))
    moved = _difference(merged_logits[0], untrained_logits[0])
    if difference > tolerance:
        raise MergeError(
            f"The merged model's logits differ from the trained adapter's by {difference:.4f} of "
            f"the largest logit; {tolerance} is allowed (export.tolerance)."
        )
    if moved == 0.0:
        raise MergeError("The merged model answers exactly as the start model does.")
    return {
        "prompts": len(prompts),
        "largest_logit_difference": difference,
        "difference_from_start_model": moved,
        "tolerance": tolerance,
        "identical_greedy": sum(map(_equal, merged_tokens, trained_tokens)),
        "precision": placement.precision,
    }


def _equal(first: list[int], second: list[int]) -> bool:
    return first == second


def _logits(model: Any, prompt: list[int]) -> Tensor:
    """Logits (V) of the token after the prompt, in fp32."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([prompt], device=model.device)
        return model(input_ids=ids, logits_to_keep=1).logits[0, -1].float()  # type: ignore[no-any-return]


def _difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max() / second.abs().max())


def _greedy(model: Any, prompt: list[int]) -> list[int]:
    import torch

    ids = torch.tensor([prompt], device=model.device)
    with torch.inference_mode():
        written = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
        )
    return [int(token) for token in written[0, len(prompt) :]]
