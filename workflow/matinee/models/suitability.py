"""What a model folder is good for: its form of calls, what of it can be learnt, what it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from transformers import AutoTokenizer

from matinee.messages.conversations import canonical_json
from matinee.messages.forms import NATIVE, forms
from matinee.messages.rendering import Renderer
from matinee.models.devices import place
from matinee.models.loading import load_model
from matinee.models.selfcheck import forward, lend_layouts, padded_problem
from matinee.models.weights import read_entries
from matinee.runtime.errors import TrainingError

# Rows of tokens that were never trained are left as they were drawn, or shrink: in
# Qwen2.5-Coder-0.5B those of <tool_call> have 0.63 of the average norm, and could not be learnt.
UNTRAINED = 0.75
_HEADS = ("lm_head.weight", "model.embed_tokens.weight", "transformer.wte.weight")


def unlearnable(folder: Path, renderer: Renderer) -> dict[str, float]:
    """The marks of calls that a frozen head can hardly write: its row's norm, the average being 1.

    Only marks that are tokens of their own; the rows are read from the weight files.
    """
    tokenizer: Any = renderer.tokenizer
    marks = [*forms()[renderer.form].marks]
    ids = {mark: tokenizer.encode(mark, add_special_tokens=False) for mark in marks}
    single = {mark: found[0] for mark, found in ids.items() if len(found) == 1}
    entries = {entry.name: entry for entry in read_entries(folder)}
    head = next((entries[name] for name in _HEADS if name in entries), None)
    if head is None or not single:
        return {}
    with safe_open(head.file, framework="pt") as file:
        rows = file.get_slice(head.name)
        count = rows.get_shape()[0]
        # Every hundredth row is enough for an average.
        some = [
            rows[n : n + 1].float().norm().item() for n in range(0, count, max(1, count // 100))
        ]
        average = sum(some) / len(some)
        norms = {
            mark: rows[token : token + 1].float().norm().item() / average
            for mark, token in single.items()
            if token < count
        }
    return {mark: norm for mark, norm in norms.items() if norm < UNTRAINED}


def warning(folder: Path, renderer: Renderer) -> str | None:
    """One line where the marks of calls can hardly be learnt, with what to do."""
    found = unlearnable(folder, renderer)
    if not found:
        return None
    told = ", ".join(f"{mark} ({norm:.2f} of the average)" for mark, norm in found.items())
    return (
        f"! {told}: the head's rows of these tokens look untrained, and a frozen head cannot learn "
        "to write them. Train their rows (training.lora.trainable_tokens: "
        f"{canonical_json(list(found))}), or choose a template whose calls are plain words, such "
        "as chatml_action."
    )


def refuse_targets(model: Any, targets: str | list[str]) -> None:
    """Raises TrainingError for LoRA targets that no adapter can be put on and merged."""
    if isinstance(targets, str):
        return
    heads = {id(model.get_output_embeddings()), id(model.get_input_embeddings())}
    allowed: set[str] = set()
    others: dict[str, str] = {}
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(module, nn.Linear) and id(module) not in heads:
            allowed.add(name)
        else:
            others[name] = type(module).__name__
    for target in targets:
        name = target.rpartition(".")[2]
        if name in allowed and any(
            path == target or path.endswith(f".{target}") for path, _ in model.named_modules()
        ):
            continue
        found = f"is a {others[name]}" if name in others else "is in no layer of this model"
        raise TrainingError(
            f"training.lora.target: {target!r} {found}. Adapters go on linear layers other than "
            f"the head: all-linear, or some of {', '.join(sorted(allowed))}."
        )


def whole_modules(model: Any, names: Sequence[str]) -> list[str]:
    """The paths of modules that are to be trained whole beside the adapters.

    Raises TrainingError for a name of none that has weights, or of one that gets an adapter.
    """
    heads = {id(model.get_output_embeddings()), id(model.get_input_embeddings())}
    known = [
        path
        for path, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
        and (id(module) in heads or not isinstance(module, nn.Linear))
    ]
    found = {name: [path for path in known if f".{path}".endswith(f".{name}")] for name in names}
    for name, paths in found.items():
        if not paths:
            listed = ", ".join(sorted({path.rpartition(".")[2] for path in known}))
            raise TrainingError(
                f"training.lora.modules_to_save: {name!r} cannot be trained whole here. Besides "
                f"the linear layers, which get adapters, there are {listed}."
            )
    return [path for paths in found.values() for path in paths]


def describe(folder: Path, template: str) -> Iterator[str]:
    """What there is to know of a model before it is trained, line by line."""
    renderer = Renderer(AutoTokenizer.from_pretrained(folder), template)
    form = forms()[renderer.form]
    model = load_model(folder, place("auto"))
    config: Any = model.config.get_text_config()
    yield f"architecture: {config.model_type}, {model.num_parameters() / 1e6:,.0f} M parameters"
    yield f"template: {template}, calls: {form.name} ({form.about})"
    if template == NATIVE and renderer.native is not None:
        yield f"thinking: {'can be switched' if renderer.native.switches_thinking else 'no switch'}"
    yield f"vLLM's parser: {form.vllm or 'none'}"
    yield f"context: {getattr(config, 'max_position_embeddings', None) or 'unlimited'} tokens"
    problem = lend_layouts(model)
    if problem is None:
        yield "attention: ours (packed rows, shared prompts)"
    else:
        rows = "one row at a time" if padded_problem(model) else "padded rows"
        yield f"attention: transformers' own, {rows} ({problem})"
    yield warning(folder, renderer) or "marks of calls: can be learnt through a frozen head"
    ids = [1 + n % 100 for n in range(256)]
    began = time.perf_counter()
    if problem is None:
        model.config._attn_implementation = "sdpa" if model._supports_sdpa else "eager"
    forward(model, ids)
    speed = len(ids) / (time.perf_counter() - began)
    weights = sum(value.numel() * value.element_size() for value in model.parameters()) / 1e9
    yield f"memory: {weights:.1f} GB of weights; training adds the activations of a micro-batch"
    # Forward, the same again for the gradient of the activations, and a part of it for adapters.
    yield f"speed here: {speed:,.0f} tokens/s forward, about {speed / 3:,.0f} in training"
