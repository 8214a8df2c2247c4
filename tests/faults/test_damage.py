"""Files that are damaged: named, with what to do, before anything is computed with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import Clone

MODEL = "results/model/tiny"
TOKENS = "results/data/chat/tokens.parquet"


def cut(file: Path) -> None:
    """A copy that broke off half-way."""
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 2])


def overwrite(file: Path) -> None:
    """A block of the disk that came back as zeros."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 512] = bytes(512)
    file.unlink()
    file.write_bytes(bytes(content))


@pytest.fixture
def damaged(finished: Clone, tmp_path: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """A damaged copy of a file or of a model's weights; the finished run stays as it is."""

    def copy(name: str, damage: Callable[[Path], None]) -> Path:
        source, target = finished.folder / name, tmp_path / Path(name).name
        if source.is_dir():
            shutil.copytree(source, target)
            damage(target / "model.safetensors")
        else:
            shutil.copyfile(source, target)
            damage(target)
        return target

    return copy


def train(clone: Clone, model: Path | str, tokens: Path | str, folder: Path) -> list[str]:
    return [
        *("train-adapter", "--params", clone.plan().train_adapter("chat", "42")),
        *("--model", str(model), "--tokens", str(tokens)),
        *("--checkpoints", str(folder / "checkpoints"), "--output", str(folder / "output")),
    ]


def assert_refused(run, path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run.returncode == 1, run.stderr
    assert str(path) in run.stderr
    assert "Traceback" not in run.stderr
    assert "elete" in run.stderr, run.stderr


def test_a_truncated_model_shard(finished: Clone, damaged, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = damaged(MODEL, cut)
    run = finished.stage(*train(finished, model, TOKENS, tmp_path))
    assert_refused(run, model / "model.safetensors")
    assert not (tmp_path / "output/adapter").exists()


@pytest.mark.parametrize("damage", [cut, overwrite])
def test_damaged_token_rows(finished: Clone, damaged, tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    tokens = damaged(TOKENS, damage)
    run = finished.stage(*train(finished, MODEL, tokens, tmp_path))
    assert_refused(run, tokens)
    assert not (tmp_path / "output/adapter").exists()


@pytest.mark.parametrize("damage", [cut, overwrite])
def test_damaged_transcripts(finished: Clone, damaged, tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    part = damaged("results/evaluation/chat-untuned/zh/parts/0.jsonl", damage)
    run = finished.stage(
        *("score-scenarios", "--params", json.dumps({"form": "hermes"})),
        *("--suite", "results/suite/zh.json", "--part", str(part)),
        *("--transcripts", str(tmp_path / "transcripts.jsonl")),
        *("--output", str(tmp_path / "verdicts.jsonl")),
    )
    assert_refused(run, part)
    assert not (tmp_path / "transcripts.jsonl").exists()


def test_a_truncated_source_is_not_taken_over(finished: Clone, damaged, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = damaged(MODEL, cut)
    params = {"id": "mine", "sources": [{"kind": "path", "path": str(model)}]}
    output = tmp_path / "fetched"
    run = finished.stage("fetch-model", "--params", json.dumps(params), "--output", str(output))
    assert run.returncode == 1
    assert f"path {model}" in run.stderr
    assert "The source is not whole" in run.stderr
    assert not output.exists()
