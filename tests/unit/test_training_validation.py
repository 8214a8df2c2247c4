"""Held-out rows: their loss is measured, and nothing is learned from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import random_rows, save, training
from trainee import adapter_bytes, job

from matinee.training.curves import draw_loss
from matinee.training.run import train

HELD_OUT = random_rows(5, 7, prefix=40, longest=12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model")
    return tmp_path


def run(folder: Path, name: str, held_out: list[Any], **changes: Any) -> dict[str, Any]:
    output = folder / name
    (output / "output").mkdir(parents=True)
    made = replace(
        job(folder, training(**changes)),
        output=output / "output",
        checkpoints=output / "checkpoints",
        validation=held_out,
    )
    return train(made)


def log(folder: Path, name: str) -> list[tuple[int, float]]:
    state = json.loads((folder / name / "output/trainer_state.json").read_text())
    return [(one["step"], one["eval_loss"]) for one in state["log_history"] if "eval_loss" in one]


def test_it_changes_nothing_that_is_learned(folder: Path) -> None:
    lora = {"dropout": 0.1}
    without = run(folder, "without", [], epochs=2.0, lora=lora)
    measured = run(folder, "measured", HELD_OUT, epochs=2.0, lora=lora)
    assert adapter_bytes(folder / "without") == adapter_bytes(folder / "measured")
    assert without["train_loss"] == measured["train_loss"]
    assert (without["validation_loss"], without["validation_rows"]) == (None, 0)
    assert measured["validation_rows"] == 7


def test_it_is_measured_ten_times_and_at_the_end(folder: Path) -> None:
    metrics = run(folder, "ten", HELD_OUT, epochs=5.0, max_steps=23)
    steps = [step for step, _ in log(folder, "ten")]
    assert steps == [*range(3, 23, 3), 23]
    assert log(folder, "ten")[-1][1] == metrics["validation_loss"]


@pytest.mark.parametrize("packing", ["none", "plain", "shared_prefix"])
def test_it_is_the_mean_over_all_supervised_tokens(folder: Path, packing: str) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    metrics = run(folder, "mean", HELD_OUT, packing=packing)
    base = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder / "mean/output/adapter")
    losses = []
    for ids, mask in HELD_OUT:
        with torch.no_grad():
            chances = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        losses += [
            -float(chances[place - 1, ids[place]]) for place in range(1, len(ids)) if mask[place]
        ]
    assert metrics["validation_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_the_curve_shows_it(folder: Path) -> None:
    run(folder, "curve", HELD_OUT)
    output = folder / "curve/output"
    draw_loss(output / "trainer_state.json", "tiny", output)
    assert "validation" in (output / "loss.svg").read_text(encoding="utf-8")
