"""What a training run promises: the same result however it is computed, and clear refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import save, tokenizer, training
from trainee import adapter_bytes, job

from matinee.models.devices import Placement
from matinee.runtime.errors import EngineError, TrainingError
from matinee.training import batching
from matinee.training import trainer as module
from matinee.training.checkpoints import discard_run
from matinee.training.run import mean_loss, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model")
    return tmp_path


def run(folder: Path, name: str = "output", **changes: Any) -> dict[str, Any]:
    options = {key: changes.pop(key) for key in ("seed", "rows") if key in changes}
    shuffle = changes.pop("shuffle", True)
    made = job(folder, training(**changes), **options)
    output = folder / name
    output.mkdir()
    return train(replace(made, output=output, checkpoints=output / "checkpoints", shuffle=shuffle))


def adapter(folder: Path, name: str = "output") -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / name / "adapter/adapter_model.safetensors")


def losses(folder: Path, name: str = "output") -> list[float]:
    state = json.loads((folder / name / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def distance(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference relative to the largest weight."""
    assert first.keys() == second.keys()
    return max(
        float((first[key] - second[key]).abs().max() / first[key].abs().max().clamp_min(1e-6))
        for key in first
    )


def test_packing_changes_nothing_but_time(folder: Path) -> None:
    for packing in ("none", "plain", "shared_prefix"):
        # Without shuffling, the order of steps is the same in all three.
        run(folder, packing, packing=packing, shuffle=False, epochs=2.0)
    plain = adapter(folder, "plain")
    assert distance(plain, adapter(folder, "none")) < 1e-3
    for packing in ("none", "plain"):
        assert losses(folder, packing) == pytest.approx(losses(folder, "plain"), rel=1e-4)


def test_shared_prefixes_compute_fewer_tokens(folder: Path) -> None:
    plain = run(folder, "plain", packing="plain")
    shared = run(folder, "shared", packing="shared_prefix")
    padded = run(folder, "none", packing="none")
    assert plain["computed_share"] == 1.0
    assert shared["computed_share"] < 0.6
    assert padded["computed_share"] > 1.0
    assert plain["tokens"] == padded["tokens"]


def test_rows_of_like_length_are_padded_together_where_that_changes_no_weight(folder: Path) -> None:
    by_token = run(folder, "token", packing="none", loss="token")
    by_row = run(folder, "row", packing="none", loss="row")
    assert by_token["tokens"] == by_row["tokens"]
    assert by_token["computed_share"] < by_row["computed_share"]


def test_the_same_seed_gives_the_same_adapter_to_the_bit(folder: Path) -> None:
    lora = {"dropout": 0.1}
    first = run(folder, "first", seed=3, lora=lora)
    second = run(folder, "second", seed=3, lora=lora)
    run(folder, "other", seed=4, lora=lora)
    files = [
        (folder / name / "adapter/adapter_model.safetensors").read_bytes()
        for name in ("first", "second", "other")
    ]
    assert files[0] == files[1] != files[2]
    assert first["train_loss"] == second["train_loss"]


def test_training_learns(folder: Path) -> None:
    run(folder, epochs=6.0, learning_rate=0.02)
    seen = losses(folder)
    assert seen[-1] < 0.8 * seen[0]


# pragma: allowlist nextline secret (`ghs_` begins a real token too)
def test_row_loss_weighs_micro_batches_and_token_loss_weighs_tokens(folder: Path) -> None:
    import torch

    from matinee.models.devices import place
    from matinee.training.loss import collate, supervised_loss
    from matinee.training.trainer import load_trainable

    for loss in ("row", "token"):
        run(folder, loss, loss=loss, shuffle=False, rows=8, max_steps=1, batch_size=2,
            gradient_accumulation=4, packing="none")  # fmt: skip
    settings = training(packing="none")
    rows = job(folder, settings, rows=8).rows
    assert len({sum(mask) for _, mask in rows}) > 1
    model = load_trainable(folder / "model", settings, place("fp32"))
    with torch.no_grad():
        batches = [
            supervised_loss(model, collate(rows[start : start + 2], "none", 2))
            for start in range(0, 8, 2)
        ]
    by_row = sum(float(batch.mean()) for batch in batches) / 4
    by_token = float(torch.cat(batches).mean())
    assert by_row != pytest.approx(by_token, rel=1e-5)
    assert losses(folder, "row") == [pytest.approx(by_row, rel=1e-6)]
    assert losses(folder, "token") == [pytest.approx(by_token, rel=1e-6)]


@pytest.mark.parametrize("loss", ["row", "token"])
def test_a_micro_batch_without_supervision_is_no_reason_to_fail(folder: Path, loss: str) -> None:
    made = job(folder, training(batch_size=1, gradient_accumulation=2, loss=loss), rows=4)
    rows = list(made.rows)
    rows[0] = (rows[0][0], [0] * len(rows[0][0]))
    (folder / "output").mkdir()
    metrics = train(replace(made, rows=rows, shuffle=False))
    assert math.isfinite(metrics["train_loss"])


def test_rows_without_any_supervised_token_are_refused(folder: Path) -> None:
    made = job(folder, training())
    with pytest.raises(TrainingError, match="No row has a supervised token"):
        train(replace(made, rows=[([5, 6, 7], [1, 0, 0])]))


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_step(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"(loss|grad_norm) is (nan|inf) at step \d+ of 10"):
        run(folder, learning_rate=0.999, max_grad_norm=1e30, weight_decay=0, epochs=2.0,
            lora={"alpha": 1e30})  # fmt: skip


def rates(folder: Path) -> list[float]:
    state = json.loads((folder / "output/trainer_state.json").read_text())
    return [entry["learning_rate"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.0, 0.005, 0.01, 0.01, 0.01]),
        ("linear", [0.0, 0.005, 0.01, 0.02 / 3, 0.01 / 3]),
    ],
)
def test_the_rate_warms_up_before_every_schedule(
    folder: Path, schedule: str, expected: list[float]
) -> None:
    run(folder, schedule=schedule, warmup_steps=2, logging_steps=1)
    assert rates(folder) == pytest.approx(expected)


def test_a_constant_rate_without_warm_up_is_constant(folder: Path) -> None:
    run(folder, schedule="constant", logging_steps=1)
    assert rates(folder) == [0.01] * 5


@pytest.fixture
def losses_of_a_run(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Makes training see these losses per token, a micro-batch each."""
    real = module.supervised_loss

    def pretend(*values: float) -> None:
        wanted = iter(values)

        def scaled(*arguments: Any) -> Any:
            losses = real(*arguments)
            return losses * (next(wanted) / losses.detach().mean())

        monkeypatch.setattr(module, "supervised_loss", scaled)

    return pretend


def test_a_loss_that_runs_away_stops_the_run(folder: Path, losses_of_a_run) -> None:  # type: ignore[no-untyped-def]
    # Guessing among 300 tokens costs 5.7.
    losses_of_a_run(3.0, 2.0, 12.0)
    with pytest.raises(TrainingError, match=r"run away to 12\.0, from 2\.0 at step 3 of 10.*Try"):
        run(folder, logging_steps=1, gradient_accumulation=1)


def test_a_loss_that_starts_high_is_no_reason_to_stop(folder: Path, losses_of_a_run) -> None:  # type: ignore[no-untyped-def]
    losses_of_a_run(30.0, 20.0, 12.0)
    assert run(folder, logging_steps=1, gradient_accumulation=1, max_steps=3)["steps"] == 3


def test_metrics_tell_what_computed_and_what_it_took(folder: Path) -> None:
    metrics = run(folder, max_steps=1)
    assert (metrics["attention"], metrics["attention_reason"]) == ("sdpa", "no CUDA device")
    assert metrics["quantization"] == "none"


def test_quantisation_without_a_gpu_ends_the_run_with_a_way_out(folder: Path) -> None:
    with pytest.raises(EngineError, match="4bit needs a CUDA device"):
        run(folder, quantization="4bit")


def test_metrics_tell_what_was_done(folder: Path) -> None:
    metrics = run(folder, epochs=2.0)
    made = job(folder, training())
    assert metrics["steps"] == 10
    assert metrics["samples"] == 80
    assert metrics["tokens"] == 2 * sum(len(ids) for ids, _ in made.rows)
    assert metrics["supervised_tokens"] == 2 * sum(sum(mask) for _, mask in made.rows)
    assert metrics["out_of_memory"] == []
    assert metrics == json.loads((folder / "output/metrics.json").read_text())
    # Rank 8 over q, k, v, o, gate, up and down: r · (inputs + outputs) each, two layers.
    layer = (32 + 32) + 2 * (32 + 16) + (32 + 32) + 2 * (32 + 48) + (48 + 32)
    assert metrics["trainable_parameters"] == 2 * 8 * layer


def test_mean_loss_weighs_each_entry_by_its_steps() -> None:
    history = [
        {"loss": 4.0, "step": 1},
        {"loss": 1.0, "step": 4},
        {"eval_loss": 9.0, "step": 4},
        {"loss": 2.0, "step": 5},
    ]
    assert mean_loss(history) == pytest.approx((4 + 3 * 1 + 2) / 5)


def test_without_memory_the_micro_batch_is_halved_and_the_step_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = module.supervised_loss

    def short_of_memory(model: Any, batch: dict[str, Any], *rest: Any) -> Any:
        asked.append(batch["counts"][0])
        if batch["counts"][0] > 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 GB")
        return real(model, batch, *rest)

    run(folder, "enough", epochs=2.0)
    monkeypatch.setattr(module, "supervised_loss", short_of_memory)
    metrics = run(folder, "short", epochs=2.0)
    assert asked[:2] == [4, 2]
    assert set(asked[2:]) == {1}
    assert (metrics["batch_size"], metrics["gradient_accumulation"]) == (1, 8)
    assert metrics["steps"] == 10
    assert [entry.split(":")[0] for entry in metrics["out_of_memory"]] == [
        "batch_size 4",
        "batch_size 2",
    ]
    assert "9 GB" in metrics["out_of_memory"][0]
    assert losses(folder, "short") == pytest.approx(losses(folder, "enough"), rel=1e-4)


@pytest.mark.parametrize(
    ("limit", "packing", "loss", "split"),
    [
        (1, "plain", "token", (1, 8)),
        (10_000, "plain", "token", (4, 2)),
        (1, "shared_prefix", "token", (4, 2)),
        (1, "plain", "row", (4, 2)),
    ],
)
def test_on_one_core_long_rows_are_packed_in_smaller_micro_batches(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    packing: str,
    loss: str,
    split: tuple[int, int],
) -> None:
    options = {"packing": packing, "loss": loss, "max_steps": 2}
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    monkeypatch.setattr(batching, "CPU_TOKENS", 10_000)
    run(folder, "whole", **options)
    monkeypatch.setattr(batching, "CPU_TOKENS", limit)
    metrics = run(folder, "split", **options)
    assert (metrics["batch_size"], metrics["gradient_accumulation"]) == split
    assert losses(folder, "split") == pytest.approx(losses(folder, "whole"), rel=1e-5)
    assert distance(adapter(folder, "whole"), adapter(folder, "split")) < 1e-3


def test_when_one_row_is_too_much_the_error_says_what_to_try(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(module, "supervised_loss", short_of_memory)
    with pytest.raises(TrainingError, match=r"one row at a time.*gradient_checkpointing"):
        run(folder)


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(module, "supervised_loss", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(folder)


TOKENS = ["<|im_start|>", "<|im_end|>"]


@pytest.mark.parametrize(
    ("tied", "lora"),
    [
        (False, {"rslora": True, "dora": True, "trainable_tokens": TOKENS}),
        (True, {"trainable_tokens": TOKENS}),
        (True, {"modules_to_save": ["lm_head", "norm"]}),
    ],
    ids=["DoRA and rows", "tied rows", "tied head"],
)
def test_whatever_an_adapter_holds_is_trained_resumed_merged_and_certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tied: bool, lora: dict[str, Any]
) -> None:
    from matinee.export.certificate import certify
    from matinee.export.merging import merge

    base = save(tmp_path / "model", tied=tied, vocabulary=len(tokenizer()))
    tokenizer().save_pretrained(base)
    options = {"lora": lora, "rows": 32, "save_steps": 2}
    run(tmp_path, "straight", **options)
    real = module.PackedTrainer.training_step

    def broken(trainer: Any, *arguments: Any) -> Any:
        if trainer.state.global_step == 3:
            raise RuntimeError("killed")
        return real(trainer, *arguments)

    monkeypatch.setattr(module.PackedTrainer, "training_step", broken)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, "killed", **options)
    monkeypatch.undo()
    made = job(tmp_path, training(lora=lora, save_steps=2), rows=32)
    checkpoints = tmp_path / "killed/checkpoints"
    metrics = train(replace(made, output=tmp_path / "killed", checkpoints=checkpoints))
    assert metrics["resumed_from_step"] == 2
    straight, resumed = adapter(tmp_path, "straight"), adapter(tmp_path, "killed")
    assert distance(straight, resumed) == 0.0
    merge(base, tmp_path / "straight/adapter", tmp_path / "merged", "2GB")
    certify(
        base,
        tmp_path / "straight/adapter",
        tmp_path / "merged",
        [ids[:30] for ids, _ in made.rows[:2]],
        placement=Placement("cpu", "fp32", "test"),
    )


def test_a_text_that_is_not_one_token_has_no_row_to_train(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match=r"'<tool_call> \{' is . tokens"):
        module.token_ids(tmp_path, ["<tool_call> {"])


def test_gradient_checkpointing_changes_nothing_but_memory(folder: Path) -> None:
    run(folder, "whole")
    run(folder, "checkpointed", gradient_checkpointing=True)
    assert distance(adapter(folder, "whole"), adapter(folder, "checkpointed")) < 1e-4


@pytest.mark.parametrize(("share", "adapted"), [(1.0, {0, 1}), (0.5, {1}), (0.01, {1})])
def test_a_share_of_the_layers_counts_from_the_last(
    folder: Path, share: float, adapted: set[int]
) -> None:
    settings = training(lora={"layers": share})
    model = module.load_trainable(folder / "model", settings, Placement("cpu", "fp32", "test"))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in trained} == adapted


def test_bf16_keeps_the_adapter_in_fp32(folder: Path) -> None:
    import torch

    metrics = run(folder, precision="bf16")
    assert metrics["precision"] == "bf16"
    assert {tensor.dtype for tensor in adapter(folder).values()} == {torch.float32}
    assert math.isfinite(metrics["train_loss"])


def test_finished_runs_leave_no_checkpoints(folder: Path) -> None:
    run(folder, save_steps=2)
    assert not (folder / "output/checkpoints").exists()
    assert adapter_bytes(folder)


def test_a_finished_run_removes_what_abandoned_runs_of_its_variant_and_seed_left(
    tmp_path: Path,
) -> None:
    settings, rows = "0123456789abcdef", "01234567"
    finished = tmp_path / f"chat-s42-{settings}-{rows}"
    abandoned = tmp_path / f"chat-s42-{settings[::-1]}-{rows}"
    others = [
        tmp_path / f"chat-s43-{settings}-{rows}",
        tmp_path / f"my-chat-s42-{settings}-{rows}",
        tmp_path / f"chat-s42-s42-{settings}-{rows}",
        tmp_path / "chat-s42-kept-by-hand",
    ]
    for each in (finished, abandoned, *others):
        (each / "checkpoint-2").mkdir(parents=True)
    discard_run(finished)
    assert sorted(tmp_path.iterdir()) == sorted(others)
