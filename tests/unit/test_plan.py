"""What the rules ask of the configuration: inputs, and cores that are worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matinee.config import Configuration
from matinee.plan import Plan


def plan(datasets: list[dict[str, Any]], data: list[dict[str, Any]]) -> Plan:
    values = {
        "models": [{"id": "tiny", "sources": [{"kind": "random"}]}],
        "datasets": datasets,
        "variants": [
            {
                "id": "chat",
                "model": "tiny",
                "template": "chatml_hermes",
                "data": data,
                "training": {"learning_rate": 0.01, "epochs": 1, "batch_size": 4},
            }
        ],
        "evaluation": {"suites": [{"id": "zh", "scenarios": "scenarios", "tools": "tools.json"}]},
    }
    return Plan(Configuration.model_validate(values))


def fetched(*paths: str) -> dict[str, Any]:
    sources = [{"kind": "path", "path": path} for path in paths]
    return {"id": "mine", "reader": "openai", "sources": sources}


def made(rows: int) -> dict[str, Any]:
    return {"id": "made", "synthesis": {"conversations": rows}}


def test_files_of_local_data_sets_are_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder/inner").mkdir(parents=True)
    for name in ("rows.jsonl", "folder/a.json", "folder/inner/b.json"):
        (tmp_path / name).write_text("[]")
    found = plan([fetched("rows.jsonl", "folder", "gone.json")], [{"dataset": "mine"}])
    assert found.dataset_files("mine") == ["folder/a.json", "folder/inner/b.json", "rows.jsonl"]


@pytest.mark.parametrize(
    ("data", "threads"),
    [
        ([{"dataset": "made"}], 1),
        ([{"dataset": "mine"}], 8),
        ([{"dataset": "mine", "max_samples": 100}], 1),
        ([{"dataset": "made"}, {"dataset": "mine", "max_samples": 4000}], 8),
    ],
)
def test_cores_are_asked_for_where_there_may_be_many_rows(
    data: list[dict[str, Any]], threads: int
) -> None:
    assert plan([made(3000), fetched("rows.jsonl")], data).tokenize_threads("chat") == threads


def test_the_validation_share_reaches_the_mix() -> None:
    found = plan([made(10)], [{"dataset": "made"}])
    assert '"validation_share":0.0' in found.mix("chat")
