"""Proof that the merged model is what was trained: the same logits, and weights rounded once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.export.merging import Adapter, read_bytes, read_tensor
from matinee.models.devices import Placement
from matinee.models.loading import load_model
from matinee.models.weights import read_entries
from matinee.runtime.errors import MergeError

if TYPE_CHECKING:
    from torch import Tensor

NEW_TOKENS = 4
# Units in the last place of fp32 that two orders of summing a delta may differ by.
_SUMMED = 32


def certify(
    base: Path,
    adapter: Path,
    merged: Path,
    prompts: Sequence[list[int]],
    *,
    placement: Placement,
    tolerance: float = 1e-4,
) -> dict[str, Any]:
    """Compares the merged model with the adapter on its base, on real prompts (token ids), in fp32.

    Rounding is told apart from errors: peft's merge in fp32 must give the adapter's logits within
    `tolerance`, and each weight of the folder must be that merge's, rounded once to its own type.
    What that rounding does to the logits follows from the type; it is measured and shown.

    Returns prompts, largest_logit_difference (of the fp32 merge) and rounding_logit_difference (of
    the folder), both relative to the largest logit, tolerance, weights (the types of the changed
    ones), difference_from_start_model and identical_greedy (how many prompts get the same next 4
    tokens; rounding may change one, so it is counted and no failure). Raises MergeError where a
    difference passes its bound, where a logit is no finite number, or where the merged model's
    logits are the base's.
    """
    from peft import PeftModel

    if not prompts:
        raise MergeError("No prompt to compare the merged model on.")

    placement = _in_fp32(base, placement)
    trained: Any = PeftModel.from_pretrained(load_model(base, placement), str(adapter)).eval()
    with trained.disable_adapter():
        ((untrained, _),) = _answers(trained, prompts[:1], 1)
    before = _answers(trained, prompts)
    trained = trained.merge_and_unload()
    exact = _answers(trained, prompts, 1)  # of these only the logits are compared
    state = trained.state_dict()
    changed = {name: state[name] for name in Adapter(adapter).names if name in state}
    types, wrong = _compared_weights(base, merged, changed)
    del trained, state, changed
    model = load_model(merged, placement).train(False)
    after = _answers(model, prompts)
    ((alone, _),) = _answers(model, prompts[:1], 1)
    differences = [
        _difference(mine[0], theirs[0]) for mine, theirs in zip(exact, before, strict=True)
    ]
    rounding = [_difference(mine[0], theirs[0]) for mine, theirs in zip(after, before, strict=True)]
    moved = _difference(alone, untrained)
    # Looked at one by one: a comparison with NaN is always false, and so max() may pass over it.
    if not all(map(math.isfinite, [*differences, *rounding, moved])):
        raise MergeError(
            "Logits of the merged model, of the trained adapter or of the start model are not "
            "finite numbers, so they cannot be compared. Look for NaN in the weights, or use a "
            "wider precision."
        )
    if moved == 0.0:
        raise MergeError("The merged model answers exactly as the start model does.")
    if max(differences) > tolerance:
        raise MergeError(
            f"Merged in fp32, the logits differ from the trained adapter's by "
            f"{max(differences):.1e} of the largest logit; {tolerance:g} is allowed "
            "(export.tolerance)."
        )
    if wrong:
        raise MergeError(
            f"The merged model is not the trained one: {wrong[0]} is further from start model "
            f"plus adapter than its type rounds ({len(wrong)} weights are; the logits differ by "
            f"{max(rounding):.1e} of the largest)."
        )
    return {
        "prompts": len(prompts),
        "largest_logit_difference": max(differences),
        "rounding_logit_difference": max(rounding),
        "difference_from_start_model": moved,
        "tolerance": tolerance,
        "weights": types,
        "identical_greedy": sum(
            mine[1] == theirs[1] for mine, theirs in zip(after, before, strict=True)
        ),
        "precision": placement.precision,
    }


def _in_fp32(base: Path, placement: Placement) -> Placement:
    """The device where it holds the model in fp32 and as much again for a delta; else the CPU."""
    import torch

    needed = sum(math.prod(entry.shape) for entry in read_entries(base)) * 4 * 1.25
    device = placement.device
    if device == "cuda" and needed > torch.cuda.mem_get_info()[0]:
        device = "cpu"
    return replace(placement, device=device, precision="fp32")


def _compared_weights(
    base: Path, merged: Path, changed: Mapping[str, Tensor]
) -> tuple[str, list[str]]:
    """The types of the changed weights, and the names of those that are not what they must be.

    A changed weight must be peft's merge in fp32, rounded once to its type; any other the base's.
    """
    found = {entry.name: entry for entry in read_entries(merged)}
    entries = read_entries(base)
    wrong = sorted(found.keys() ^ {entry.name for entry in entries})
    types = set()
    for entry in entries:
        if entry.name in wrong:
            continue
        stored = found[entry.name]
        if (entry.dtype, entry.shape) != (stored.dtype, stored.shape):
            right = False
        elif entry.name in changed:
            types.add(entry.dtype)
            exact = changed[entry.name].float().cpu()
            right = _rounded_once(read_tensor(entry).float(), exact, read_tensor(stored))
        else:
            right = read_bytes(entry) == read_bytes(stored)
        wrong += [entry.name] * (not right)
    return ", ".join(sorted(types)), wrong


def _rounded_once(weight: Tensor, exact: Tensor, stored: Tensor) -> bool:
    """Whether every element is the nearest of its type to `exact`, but for fp32's own rounding."""
    import torch

    delta, limits = exact - weight, torch.finfo(stored.dtype)
    summed = torch.finfo(torch.float32).eps * (weight.abs() + delta.abs() + delta.abs().mean())
    bound = limits.eps / 2 * exact.abs() + _SUMMED * summed + limits.smallest_normal * limits.eps
    # False for NaN.
    return bool(((stored.float() - exact).abs() <= bound).all())


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
