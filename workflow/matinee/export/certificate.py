"""Proof that the merged model is what was trained: the same logits on real prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.models.devices import Placement
from matinee.models.loading import load_model
from matinee.runtime.errors import MergeError

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
        ((untrained, _),) = _answers(trained, prompts[:1], 1)
    before = _answers(trained, prompts)
    del trained
    model = load_model(merged, placement).train(False)
    after = _answers(model, prompts)
    ((alone, _),) = _answers(model, prompts[:1], 1)
    pairs = list(zip(after, before, strict=True))
    differences = [_difference(mine[0], theirs[0]) for mine, theirs in pairs]
    moved = _difference(alone, untrained)
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


def _answers(
    model: Any, prompts: Sequence[list[int]], tokens: int = NEW_TOKENS
) -> list[tuple[Tensor, list[int]]]:
    """For each prompt the logits (V) of the token after it, in fp32, and the greedy tokens.

    All prompts in one batch of transformers' `generate`, with its defaults: what a model's own
    generation_config.json says about sampling or repetition is left out.
    """
    import torch
    from transformers import GenerationConfig

    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    greedy = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    rows = zip(padding, prompts, strict=True)
    generated = model.generate(
        input_ids=torch.tensor([[0] * pad + prompt for pad, prompt in rows], device=model.device),
        attention_mask=torch.tensor(
            [[0] * pad + [1] * (longest - pad) for pad in padding], device=model.device
        ),
        generation_config=greedy,
    )
    written = generated.sequences[:, longest:].tolist()
    return list(zip(generated.logits[0].float(), written, strict=True))
