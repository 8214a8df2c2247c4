"""What a model cannot learn is said before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import llama, tokenizer

from matinee.messages.rendering import Renderer
from matinee.models.suitability import refuse_targets, unlearnable, warning, whole_modules
from matinee.runtime.errors import TrainingError


@pytest.mark.parametrize("target", ["nonsense", "norm", "lm_head", "embed_tokens", "proj"])
def test_a_target_that_no_adapter_can_be_put_on_is_refused_with_those_that_can(target: str) -> None:
    with pytest.raises(TrainingError, match=f"'{target}' .*down_proj, gate_proj, k_proj"):
        refuse_targets(llama(), ["q_proj", target])


def test_linear_layers_are_taken_by_name_and_by_path() -> None:
    refuse_targets(llama(), ["q_proj", "mlp.up_proj", "layers.1.self_attn.o_proj"])
    refuse_targets(llama(tied=True), "all-linear")


def test_what_can_be_trained_whole_is_found_by_name() -> None:
    model = llama()
    assert whole_modules(model, ["lm_head", "norm"]) == ["lm_head", "model.norm"]
    with pytest.raises(TrainingError, match=r"'q_proj' cannot be trained whole.*embed_tokens"):
        whole_modules(model, ["q_proj"])


def with_tags(folder: Path, scale: float) -> Renderer:
    import copy

    import torch

    made: Any = copy.deepcopy(tokenizer())
    made.add_tokens(["<tool_call>", "</tool_call>"])
    model = llama(vocabulary=len(made))
    with torch.no_grad():
        for mark in ("<tool_call>", "</tool_call>"):
            model.lm_head.weight[made.convert_tokens_to_ids(mark)] *= scale
    model.save_pretrained(folder)
    return Renderer(made, "chatml_hermes")


def test_marks_whose_rows_were_never_trained_are_told(tmp_path: Path) -> None:
    renderer = with_tags(tmp_path, 0.2)
    assert sorted(unlearnable(tmp_path, renderer)) == ["</tool_call>", "<tool_call>"]
    told = warning(tmp_path, renderer)
    assert told is not None
    assert "look untrained" in told
    assert "chatml_action" in told
    assert 'training.lora.trainable_tokens: ["<tool_call>", "</tool_call>"]' in told


def test_marks_like_other_tokens_and_marks_in_words_are_not(tmp_path: Path) -> None:
    assert warning(tmp_path, with_tags(tmp_path, 1.0)) is None
    assert unlearnable(tmp_path, Renderer(tokenizer(), "chatml_action")) == {}
