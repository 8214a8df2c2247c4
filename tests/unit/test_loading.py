"""What may be loaded, how, and what is refused with a way out."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from tiny import save

from matinee.models import loading
from matinee.models.devices import Placement
from matinee.models.loading import load_model
from matinee.runtime.errors import EngineError

CPU = Placement("cpu", "fp32", "test")
CUDA = Placement("cuda", "bf16", "test")


def test_a_model_comes_in_the_precision_of_the_placement(tmp_path: Path) -> None:
    import torch

    model = load_model(save(tmp_path / "model"), Placement("cpu", "bf16", "test"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantisation_without_a_gpu_is_refused_with_a_way_out(
    tmp_path: Path, quantization: Any
) -> None:
    with pytest.raises(EngineError, match=rf"{quantization} needs a CUDA device.*none` here"):
        load_model(save(tmp_path / "model"), CPU, quantization)


def test_quantisation_without_bitsandbytes_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="pip install bitsandbytes"):
        load_model(save(tmp_path / "model"), CUDA, "4bit")


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ("8bit", {"load_in_8bit": True, "load_in_4bit": False}),
        (
            "4bit",
            {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
                "bnb_4bit_compute_dtype": "bfloat16",
            },
        ),
    ],
)
def test_on_a_gpu_transformers_is_asked_for_the_quantised_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: Any, expected: dict[str, Any]
) -> None:
    import transformers

    asked: dict[str, Any] = {}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    # transformers looks for the version of bitsandbytes, which need not be here.
    monkeypatch.setattr(transformers.BitsAndBytesConfig, "post_init", lambda self: None)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 1)
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM,
        "from_pretrained",
        lambda folder, **options: asked.update(options),
    )
    load_model(save_config(tmp_path / "model", "llama"), CUDA, quantization)
    assert asked["device_map"] == {"": 1}
    values = asked["quantization_config"].to_dict()
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize(("quantization", "nearness"), [("8bit", 0.1), ("4bit", 0.6)])
def test_a_quantised_model_computes_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: Any, nearness: float
) -> None:
    import torch

    # Its kernels for CPUs are enough to see that loading works; they are too slow to train with.
    pytest.importorskip("bitsandbytes", reason="the optional package bitsandbytes is not there")
    monkeypatch.setattr(loading, "require_quantization", lambda *_: None)
    folder = save(tmp_path / "model")
    ids = torch.tensor([list(range(3, 60))])
    with torch.no_grad():
        full, coarse = (
            load_model(folder, CPU, chosen)(input_ids=ids).logits
            for chosen in ("none", quantization)
        )
    # Random weights of a tiny model suffer more than a trained model's.
    assert 0 < float((full - coarse).norm() / full.norm()) < nearness


def save_config(folder: Path, kind: str) -> Path:
    folder.mkdir()
    values = {"model_type": kind, "auto_map": {"AutoModelForCausalLM": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = save_config(tmp_path / "model", "someones_own")
    (folder / "code.py").write_text("raise SystemExit('was run')", encoding="utf-8")
    with pytest.raises(EngineError, match=r"'someones_own' is not one of.*is not run here"):
        load_model(folder, CPU)
