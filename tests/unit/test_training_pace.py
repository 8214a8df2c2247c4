"""Layers, threads and micro-batches change the time of a step and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import llama, random_rows, save, training
from trainee import job

from matinee.training import batching
from matinee.training import trainer as module
from matinee.training.batching import deal_by_tokens
from matinee.training.lora_product import use_lora_products
from matinee.training.pace import pace_for
from matinee.training.run import train
from matinee.training.side_by_side import SideBySide
from matinee.training.trainer import lora_config


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model")
    return tmp_path


def run(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    output = folder / name
    output.mkdir()
    made = job(folder, training(packing="plain", **changes))
    return train(replace(made, output=output, checkpoints=output / "checkpoints"))


def losses(folder: Path, name: str) -> list[float]:
    state = json.loads((folder / name / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


class TestLoraProducts:
    def adapted(self, **lora: Any) -> Any:
        import peft

        model = peft.get_peft_model(llama(), lora_config(training(lora=lora)))
        chance = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.copy_(torch.randn(parameter.shape, generator=chance) * 0.1)
        return model

    def outcome(self, model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        logits = model(input_ids=torch.arange(40).view(2, 20), use_cache=False).logits
        trained = [p for p in model.parameters() if p.requires_grad]
        return logits, list(torch.autograd.grad(logits.square().mean(), trained))

    def test_logits_and_gradients_are_those_of_peft(self) -> None:
        model = self.adapted(r=4, alpha=12)
        logits, gradients = self.outcome(model)
        assert use_lora_products(model) == 2 * 7  # layers, linear maps of each
        ours, our_gradients = self.outcome(model)
        torch.testing.assert_close(ours, logits)
        for mine, theirs in zip(our_gradients, gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)

    def test_without_the_adapter_the_model_is_the_start_model(self) -> None:
        model = self.adapted(r=4)
        use_lora_products(model)
        with model.disable_adapter():
            logits, *_ = model(input_ids=torch.arange(9)[None], use_cache=False).to_tuple()
        expected = llama()(input_ids=torch.arange(9)[None], use_cache=False).logits
        torch.testing.assert_close(logits, expected)

    def test_in_bf16_only_the_products_with_frozen_weights_are_rounded(self) -> None:
        model = self.adapted(r=4, alpha=12)
        logits, gradients = self.outcome(model)
        use_lora_products(model, torch.bfloat16)
        rounded, rounded_gradients = self.outcome(model)
        assert rounded.dtype == torch.float32
        assert not torch.equal(rounded, logits)
        torch.testing.assert_close(rounded, logits, rtol=0, atol=0.02 * logits.abs().max().item())
        for mine, theirs in zip(rounded_gradients, gradients, strict=True):
            assert mine.dtype == torch.float32
            assert torch.cosine_similarity(mine.flatten(), theirs.flatten(), 0) > 0.999

    def test_in_bf16_so_are_the_layers_below_the_adapter_but_not_the_head(self) -> None:
        import peft

        model = peft.get_peft_model(llama(), lora_config(training(lora={"layers": 0.5}), 2))
        logits, _ = self.outcome(model)
        use_lora_products(model, torch.bfloat16)
        rounded, _ = self.outcome(model)
        below, adapted = (layer.mlp.up_proj for layer in model.get_base_model().model.layers)
        assert below.weight.dtype == adapted.base_layer.weight.dtype == torch.bfloat16
        assert model.get_output_embeddings().weight.dtype == torch.float32
        assert model.get_input_embeddings().weight.dtype == torch.float32
        torch.testing.assert_close(rounded, logits, rtol=0, atol=0.02 * logits.abs().max().item())

    def test_layers_with_dropout_are_left_to_peft(self) -> None:
        assert use_lora_products(self.adapted(r=4, dropout=0.1)) == 0

    def test_layers_in_sixteen_bits_are_left_to_peft(self) -> None:
        assert use_lora_products(self.adapted(r=4).bfloat16()) == 0


class TestSideBySide:
    def test_the_sum_and_its_gradient(self) -> None:
        weight = torch.randn(5, requires_grad=True)
        unused = torch.randn(2, requires_grad=True)
        inputs = torch.randn(7, 5)
        parts = [lambda row=row: (row * weight).sum().tanh() for row in inputs]
        total = SideBySide(2, [weight, unused]).sum(parts)
        (total * 3).backward()  # type: ignore[no-untyped-call]
        expected = weight.detach().requires_grad_()
        (inputs @ expected).tanh().sum().mul(3).backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(weight.grad, expected.grad)
        assert unused.grad is not None
        assert not unused.grad.any()

    def test_an_error_in_a_thread_reaches_the_caller_and_threads_are_given_back(self) -> None:
        def broken() -> torch.Tensor:
            assert torch.get_num_threads() == 1
            raise MemoryError("in a thread")

        weight = torch.zeros(1, requires_grad=True)
        with pytest.raises(MemoryError, match="in a thread"):
            SideBySide(2, [weight]).sum([weight.sum, broken])
        assert torch.get_num_threads() == 2


def test_a_run_side_by_side_is_the_run_one_after_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "CPU_TOKENS", 200)  # several parts to a step
    together = run(folder, "together", epochs=2.0)
    again = run(folder, "again", epochs=2.0)
    torch.set_num_threads(1)
    alone = run(folder, "alone", epochs=2.0)
    assert (together["side_by_side"], alone["side_by_side"]) == (2, 1)
    assert together["steps"] == alone["steps"]
    assert together["tokens"] == alone["tokens"]
    assert losses(folder, "together") == pytest.approx(losses(folder, "alone"), rel=1e-5)
    adapters = [
        (folder / name / "adapter/adapter_model.safetensors").read_bytes()
        for name in ("together", "again")
    ]
    assert adapters[0] == adapters[1]
    assert together["train_loss"] == again["train_loss"]


def test_where_memory_is_too_small_for_two_parts_they_come_one_after_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.supervised_loss

    def short_of_memory(model: Any, batch: dict[str, Any], *rest: Any) -> Any:
        if torch.get_num_threads() == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 GB")
        return real(model, batch, *rest)

    run(folder, "enough")
    monkeypatch.setattr(module, "supervised_loss", short_of_memory)
    metrics = run(folder, "short")
    assert metrics["side_by_side"] == 1
    assert (metrics["batch_size"], metrics["gradient_accumulation"]) == (4, 2)
    assert len(metrics["out_of_memory"]) == 1
    assert losses(folder, "short") == pytest.approx(losses(folder, "enough"), rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"packing": "shared_prefix"},
        {"packing": "none"},
        {"packing": "plain", "loss": "row"},
        {"packing": "plain", "lora": {"dropout": 0.1}},
        {"packing": "plain", "gradient_checkpointing": True},
        {"packing": "plain", "precision": "bf16"},
        {"packing": "plain", "batch_size": 1},
    ],
)
def test_what_must_not_be_split_is_not(folder: Path, changes: dict[str, Any]) -> None:
    made = job(folder, training(**changes))
    assert pace_for(made, made.settings).lanes == 1


@pytest.mark.parametrize(
    "change",
    [
        {"attention_dropout": 0.1},
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ],
)
def test_models_that_draw_or_remember_are_not_computed_twice_at_once(
    folder: Path, change: dict[str, Any]
) -> None:
    made = job(folder, training(packing="plain"))
    assert pace_for(made, made.settings).lanes == 2
    path = folder / "model/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert pace_for(made, made.settings).lanes == 1


def test_parts_hold_every_row_once_and_the_longest_come_first() -> None:
    lengths = [len(ids) for ids, _ in random_rows(4, 40, prefix=20, longest=300)] + [900]
    parts = deal_by_tokens(lengths)
    assert sorted(row for part in parts for row in part) == list(range(41))
    sizes = [sum(lengths[row] for row in part) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= 512 or len(part) == 1 for size, part in zip(sizes, parts, strict=True))
    assert max(sizes) == 900
