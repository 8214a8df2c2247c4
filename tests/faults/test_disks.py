"""A full or read-only disk: what to do is said, nothing is half-written, and on it goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from clones import SMOKE, Clone

from matinee.runtime.records import read_json

Mount = Callable[..., Path]
MODEL = "results/model/tiny"


def left_over(folder: Path) -> list[str]:
    """Files and folders that are neither finished artefacts nor logs."""
    return [str(path) for path in folder.rglob("*") if path.name.endswith((".part", ".lock"))]


def test_a_full_disk_stops_the_run_and_more_room_lets_it_go_on(clone: Clone, mount: Mount) -> None:
    results = mount(clone.folder / "results", "size=256k")
    run = clone.snakemake("--configfile", *SMOKE, "--quiet", "all", "--", MODEL)
    assert run.returncode == 1
    assert "No space left on device" in run.stderr
    assert "Make room on that disk; then the same command goes on" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (clone.folder / MODEL).exists()
    assert left_over(results) == []

    mount(results, "size=64m")
    run = clone.snakemake("--configfile", *SMOKE, "--quiet", "all", "--", MODEL)
    assert run.returncode == 0, run.stderr
    assert (clone.folder / MODEL / "model.safetensors").exists()


def test_a_read_only_disk_is_said_before_any_job(clone: Clone, mount: Mount) -> None:
    mount(clone.folder / "results", "ro")
    run = clone.snakemake("--configfile", *SMOKE, "--quiet", "all")
    assert run.returncode == 1
    assert f"{clone.folder / 'results'} cannot be written (read-only file system" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.faults
def test_training_goes_on_from_its_checkpoint_when_there_is_room_again(
    finished: Clone, tmp_path: Path, mount: Mount
) -> None:
    """Room for the first checkpoint and not for all that follows."""
    checkpoints = mount(tmp_path / "checkpoints", "size=100k")
    arguments = [
        *("train-adapter", "--params", finished.plan().train_adapter("chat", "42")),
        *("--model", MODEL, "--tokens", "results/data/chat/tokens.parquet"),
        *("--checkpoints", str(checkpoints / "chat"), "--output", str(tmp_path / "output")),
    ]
    for size in ("100k", "200k", "300k"):
        mount(checkpoints, f"size={size}")
        run = finished.stage(*arguments)
        if run.returncode == 0:
            break
        assert "No space left on device" in run.stderr, run.stderr[-2000:]
        assert not (tmp_path / "output/metrics.json").exists()
    mount(checkpoints, "size=64m")
    run = finished.stage(*arguments)
    assert run.returncode == 0, run.stderr[-2000:]
    name = "adapter/adapter_model.safetensors"
    theirs = finished.folder / "results/training/chat/s42" / name
    assert (tmp_path / "output" / name).read_bytes() == theirs.read_bytes()
    assert read_json(tmp_path / "output/metrics.json")["steps"] > 0
