"""Architectures: what our attention computes wrongly is noticed and computed by transformers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tiny import FAMILIES, tokenizer

from matinee.engines.base import Completion, Request
from matinee.engines.slots import lend_slots
from matinee.engines.transformers import TransformersEngine
from matinee.messages.rendering import Renderer
from matinee.models.attention import NAME
from matinee.models.selfcheck import lend_layouts, padded_problem

SIZES = {
    "vocab_size": 0,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
UNFIT: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_ff_dim": 32},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"],
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 8,
        "shared_intermediate_size": 32,
        "num_local_experts": 0,
    },
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "bloom": {"n_head": 4, "n_layer": 2},
}


@cache
def tiny(kind: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    known = set(AutoConfig.for_model(kind).to_dict())
    settings = {name: value for name, value in SIZES.items() if name in known} | UNFIT[kind]
    settings["vocab_size"] = len(tokenizer())
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).train(False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attention_that_agrees_is_lent(family: str, precision: str) -> None:
    import torch

    model = FAMILIES[family](seed=2).to(getattr(torch, precision))
    assert lend_slots(model) is None
    assert model.config._attn_implementation == NAME


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_that_would_be_computed_wrongly_keeps_its_own_attention(
    kind: str, precision: str
) -> None:
    import torch

    model = tiny(kind).to(getattr(torch, precision))
    before = model.config._attn_implementation
    assert lend_layouts(model) is not None
    assert lend_slots(model) is not None
    assert model.config._attn_implementation == before != NAME
    model.float()


def test_rows_of_a_hybrid_may_be_padded() -> None:
    assert padded_problem(tiny("lfm2")) is None


@pytest.mark.parametrize("kind", ["lfm2", "granitemoehybrid", "qwen3_next", "gemma2"])
def test_an_engine_without_our_attention_answers_as_generate_does(kind: str) -> None:
    import torch

    model, renderer = tiny(kind), Renderer(tokenizer(), "chatml_hermes")
    questions = ["早", "Where is it?", "一二三四五六七", "x"]
    asked: dict[str, str] = {}

    def reply(request: Request, completion: Completion) -> Request | None:
        asked[request.key] = completion.text
        if request.key.endswith("+"):
            return None
        # The next step of the same conversation.
        said = (*request.messages, {"role": "assistant", "content": "ok"}, request.messages[0])
        return Request(f"{request.key}+", said, (), 6)

    engine = TransformersEngine(model, renderer, 3)
    engine.serve([Request(q, ({"role": "user", "content": q},), (), 6) for q in questions], reply)
    for key, text in asked.items():
        user = {"role": "user", "content": key.removesuffix("+")}
        said = [user, {"role": "assistant", "content": "ok"}, user] if key[-1] == "+" else [user]
        ids = torch.tensor([renderer.prompt(said)])
        ends = sorted(renderer.stop_ids)
        written = model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=ends)
        new = [token for token in written[0, ids.shape[1] :].tolist() if token not in ends]
        assert text == renderer.tokenizer.decode(new)


def test_training_falls_back_to_padded_rows_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiny import random_rows, training

    from matinee.training.batching import Job
    from matinee.training.run import train

    tiny("lfm2").save_pretrained(tmp_path / "model")
    rows = random_rows(1, 8)
    metrics = {}
    for packing in ("plain", "none"):
        settings = training(packing=packing, lora={"target": ["q_proj", "v_proj"]})
        places = tmp_path / f"c-{packing}", tmp_path / packing
        places[1].mkdir()
        job = Job(tmp_path / "model", rows, settings, 0, False, *places, label="tiny")
        metrics[packing] = train(job)
    assert metrics["plain"]["train_loss"] == pytest.approx(metrics["none"]["train_loss"], rel=1e-6)
    assert metrics["plain"]["packing"] == "none"
    assert "with padded rows: slower, and right" in capsys.readouterr().err
