"""Killed anywhere, a training run goes on to the same adapter, to the bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tiny import random_rows, save, training
from trainee import adapter_bytes, free_port, start
from transformers import TrainerCallback

from matinee.training.checkpoints import discard_broken, last_checkpoint, mark_complete

# Three epochs of five steps; dropout, so that the state of the random numbers matters as well.
SETTINGS = training(
    epochs=3.0, save_steps=2, logging_steps=3, lora={"dropout": 0.1}, packing="shared_prefix"
)


def finish(process: BaseProcess) -> int:
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def prepared(folder: Path) -> Path:
    save(folder / "model")
    (folder / "output").mkdir()
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(tmp_path_factory.mktemp("undisturbed"))
    assert finish(start(folder, SETTINGS)) == 0
    return folder


def until(process: BaseProcess, reached: Callable[[], bool]) -> None:
    """Looks again and again until something has happened or the process has ended."""
    while not reached() and not wait([process.sentinel], timeout=0.002):
        pass


def assert_same_end(folder: Path, undisturbed: Path) -> None:
    assert adapter_bytes(folder) == adapter_bytes(undisturbed)
    ours, theirs = (
        json.loads((each / "output/metrics.json").read_text()) for each in (folder, undisturbed)
    )
    for name in ("steps", "samples", "tokens", "supervised_tokens"):
        assert ours[name] == theirs[name]
    assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_it_ends_with_the_same_adapter(
    tmp_path: Path, undisturbed: Path, seed: int
) -> None:
    folder = prepared(tmp_path)
    chance = random.Random(seed)
    for _ in range(4):
        process = start(folder, SETTINGS)
        step = 2 * chance.randint(1, 5)
        names = ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"]
        # At once when a file of a checkpoint is there, so mostly while the checkpoint is written.
        awaited = folder / f"checkpoints/checkpoint-{step}" / chance.choice([*names, "complete"])
        until(process, awaited.exists)
        process.kill()
        assert finish(process) in (-signal.SIGKILL, 0)
    assert finish(start(folder, SETTINGS)) == 0
    assert_same_end(folder, undisturbed)


def test_a_stop_signal_saves_a_checkpoint_and_says_so(tmp_path: Path, undisturbed: Path) -> None:
    folder = prepared(tmp_path)
    process = start(folder, SETTINGS)
    until(process, (folder / "checkpoints/checkpoint-2/complete").exists)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process) == 1
    message = (folder / "error").read_text()
    assert "SIGTERM" in message
    checkpoint = last_checkpoint(folder / "checkpoints")
    assert checkpoint is not None
    assert f"at step {checkpoint.name.split('-')[1]} of 15" in message
    assert finish(start(folder, SETTINGS)) == 0
    assert_same_end(folder, undisturbed)


def test_garbage_in_the_checkpoint_folder_does_not_matter(
    tmp_path: Path, undisturbed: Path
) -> None:
    folder = prepared(tmp_path)
    for name in ("checkpoint-4", "checkpoint-garbage", "checkpoint-99"):
        garbage = folder / "checkpoints" / name
        garbage.mkdir(parents=True)
        (garbage / "optimizer.pt").write_bytes(b"\x00garbage")
    (folder / "checkpoints/checkpoint-99/complete").write_text("{")
    (folder / "checkpoints/checkpoint-7").write_text("a file")
    assert finish(start(folder, SETTINGS)) == 0
    assert_same_end(folder, undisturbed)


def test_files_in_subfolders_of_a_checkpoint_count(tmp_path: Path) -> None:
    older = checkpoint(tmp_path, 2)
    made = checkpoint(tmp_path, 4, complete=False)
    (made / "optimizer_0").mkdir()
    (made / "optimizer_0/shard").write_bytes(b"1234")
    mark_complete(made)
    assert last_checkpoint(tmp_path) == made
    (made / "optimizer_0/shard").unlink()
    assert last_checkpoint(tmp_path) == older


def checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "adapter_model.safetensors").write_bytes(b"12345678")
    if complete:
        mark_complete(made)
    return made


def test_the_newest_complete_checkpoint_is_taken(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "nothing") is None
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 11, complete=False)
    assert last_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("damage", ["truncated", "deleted"])
def test_a_checkpoint_that_is_no_longer_whole_is_passed_over(tmp_path: Path, damage: str) -> None:
    older = checkpoint(tmp_path, 2)
    weights = checkpoint(tmp_path, 4) / "adapter_model.safetensors"
    weights.write_bytes(b"123") if damage == "truncated" else weights.unlink()
    assert last_checkpoint(tmp_path) == older


def test_only_whole_checkpoints_stay(tmp_path: Path) -> None:
    checkpoint(tmp_path, 2)
    checkpoint(tmp_path, 4, complete=False)
    (tmp_path / "checkpoint-5").write_text("a file")
    (tmp_path / "runs").mkdir()
    discard_broken(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "runs"]


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_learn_the_same_as_one(tmp_path: Path, sharding: str) -> None:
    settings = training(epochs=2.0, logging_steps=1, packing="plain")
    shared = training(epochs=2.0, logging_steps=1, packing="plain", devices=2, sharding=sharding)
    alone, together = prepared(tmp_path / "alone"), prepared(tmp_path / "together")
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    # As `accelerate launch` does for a machine without a GPU.
    address |= {"ACCELERATE_USE_CPU": "true"}
    processes = [start(alone, settings)] + [
        start(together, shared, address | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]
    assert [finish(process) for process in processes] == [0, 0, 0]

    def losses(folder: Path) -> list[float]:
        history = json.loads((folder / "output/trainer_state.json").read_text())["log_history"]
        return [entry["loss"] for entry in history if "loss" in entry]

    assert len(losses(alone)) == 10
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    one, two = (
        json.loads((each / "output/metrics.json").read_text()) for each in (alone, together)
    )
    assert two["processes"] == 2
    assert two["trainable_parameters"] == one["trainable_parameters"]
    assert largest_difference(alone, together) < 1e-3
    for name in ("steps", "samples", "tokens", "supervised_tokens", "computed_share"):
        assert two[name] == pytest.approx(one[name])


def largest_difference(first: Path, second: Path) -> float:
    from safetensors.torch import load_file

    ours, theirs = (
        load_file(folder / "output/adapter/adapter_model.safetensors") for folder in (first, second)
    )
    assert ours.keys() == theirs.keys()
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


def test_a_spread_model_is_taken_up_again_where_it_stopped(tmp_path: Path) -> None:
    shared = training(epochs=2.0, logging_steps=1, save_steps=2, devices=2, sharding="fsdp")
    whole, stopped = prepared(tmp_path / "whole"), prepared(tmp_path / "stopped")

    def started(folder: Path) -> list[BaseProcess]:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        address |= {"WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
        return [
            start(folder, shared, address | {"RANK": rank, "LOCAL_RANK": rank})
            for rank in ("0", "1")
        ]

    assert [finish(process) for process in started(whole)] == [0, 0]
    processes = started(stopped)
    until(processes[0], (stopped / "checkpoints/checkpoint-4/complete").exists)
    for process in processes:
        process.kill()
        finish(process)
    assert [finish(process) for process in started(stopped)] == [0, 0]
    metrics = json.loads((stopped / "output/metrics.json").read_text())
    assert metrics["resumed_from_step"] >= 4
    assert largest_difference(whole, stopped) < 1e-6


def test_the_stage_starts_itself_once_per_device(tmp_path: Path) -> None:
    from matinee.data.tokens import as_batch, token_writer
    from matinee.messages.rendering import TokenRow

    folder = prepared(tmp_path)
    with token_writer(folder / "tokens.parquet") as writer:
        rows = [TokenRow(str(n), *row) for n, row in enumerate(random_rows(9, 16))]
        writer.write_batch(as_batch(rows))
    settings = training(max_steps=2, devices=2).model_dump(mode="json")
    params = {"variant": "tiny", "seed": 1, "shuffle_rows": True, "training": settings}
    workflow = Path(__file__).parents[2] / "workflow"
    command = [sys.executable, str(workflow / "run.py"), "train-adapter"]
    command += ["--params", json.dumps(params), "--model", str(folder / "model")]
    command += ["--tokens", str(folder / "tokens.parquet"), "--output", str(folder / "output")]
    command += ["--checkpoints", str(folder / "checkpoints")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((folder / "output/metrics.json").read_text())["processes"] == 2
    assert done.stderr.count("✓ trained tiny") == 1
    assert (folder / "output/run.json").exists()


def test_processes_that_the_accumulation_cannot_be_divided_over_are_refused(
    tmp_path: Path,
) -> None:
    folder = prepared(tmp_path)
    assert finish(start(folder, SETTINGS, {"WORLD_SIZE": "3"})) == 1
    message = (folder / "error").read_text()
    assert "gradient_accumulation: 2 cannot be divided over 3 processes" in message


def test_a_lost_watcher_ends_its_own_work_only() -> None:
    from matinee.training.callbacks import WithoutHarm

    class Watcher(TrainerCallback):
        events = 0

        def on_log(self, *arguments: object, **keywords: object) -> None:
            self.events += 1
            raise ConnectionResetError("Connection lost")

        def on_train_begin(self, *arguments: object, **keywords: object) -> None:
            raise ValueError("no key")

    watcher = Watcher()
    spared = WithoutHarm(watcher)
    assert spared.on_log(None, None, None) is None
    assert spared.on_log(None, None, None) is None
    assert watcher.events == 1
    with pytest.raises(ValueError, match="no key"):
        spared.on_train_begin(None, None, None)
