"""Proof that the merged model is what was trained: the same logits on real prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.devices import Placement
from matinee.errors import MergeError
from matinee.loading import load_model

if TYPE_CHECKING:
    from torch import Tensor

NEW_TOKENS = 16


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
    identical_greedy (how many prompts get the same next 16 tokens; where the logits agree, a
    differing token was as likely as the other up to rounding, so it is counted and no failure).
    Raises MergeError where the difference passes the tolerance, where a logit is no finite number,
    or where the merged model's logits are the base's.
    """
    from peft import PeftModel

    if not prompts:
        raise MergeError("No prompt to compare the merged model on.")

    trained: Any = PeftModel.from_pretrained(load_model(base, placement), str(adapter)).eval()
    with trained.disable_adapter():
        untrained, _ = _answer(trained, prompts[0], 1)
    before = [_answer(trained, prompt) for prompt in prompts]
    del trained
    model = load_model(merged, placement).train(False)
    after = [_answer(model, prompt) for prompt in prompts]
    pairs = list(zip(after, before, strict=True))
    differences = [_difference(mine[0], theirs[0]) for mine, theirs in pairs]
    moved = _difference(after[0][0], untrained)
    # Looked at one by one: a comparison with NaN is always false, and so max() may pass over it.
    if not all(map(math.isfinite, [*differences, moved])):
        raise MergeError(
            "Logits of the merged model, of the trained adapter or of the start model are not "
            "finite numbers, so they cannot be compared. Look for NaN in the weights, or use a "
            "wider precision."
        )
    difference = max(differences)
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
        "identical_greedy": sum(mine[1] == theirs[1] for mine, theirs in pairs),
        "precision": placement.precision,
    }


def _difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max() / second.abs().max())


def _answer(model: Any, prompt: list[int], tokens: int = NEW_TOKENS) -> tuple[Tensor, list[int]]:
    """Logits (V) of the token after the prompt in fp32, and the greedy tokens that follow."""
    import torch

    written: list[int] = []
    first: Tensor | None = None
    past = None
    ids = torch.tensor([prompt], device=model.device)
    with torch.inference_mode():
        while len(written) < tokens:
            output = model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
            logits = output.logits[0, -1].float()
            first = logits if first is None else first
            written.append(int(logits.argmax()))
            past = output.past_key_values
            ids = torch.tensor([written[-1:]], device=model.device)
    assert first is not None
    return first, written
