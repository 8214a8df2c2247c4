"""`snakemake --cache`: what one clone fetched and formatted, another takes from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import SMOKE, Clone, copy_repository
from unit.loopback import Hub, serving, sha256

pytestmark = pytest.mark.extended
ROWS = "".join(
    json.dumps({"instruction": f"Question {number}?", "input": "", "output": f"{number}."}) + "\n"
    for number in range(20)
).encode()
TARGETS = ("results/dataset/mine/conversations.jsonl", "results/dataset/mine/run.json")


@pytest.fixture
def server() -> Iterator[Hub]:
    with serving(Hub(files={"rows.jsonl": ROWS})) as hub:
        yield hub


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


def clone_in(folder: Path, source: dict[str, str]) -> Clone:
    folder.mkdir()
    clone = copy_repository(folder)
    dataset = {"id": "mine", "reader": "alpaca", "sources": [source]}
    variant = {
        "id": "chat",
        "model": "tiny",
        "template": "chatml_hermes",
        "data": [{"dataset": "mine"}],
        "training": {"learning_rate": 0.01, "epochs": 1, "batch_size": 4},
    }
    clone.overlay("mine.yaml", {"datasets": [dataset], "variants": [variant]})
    return clone


def make(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Formats the data set, without a download cache of its own to fall back on."""
    monkeypatch.setenv("MATINEE_CACHE", str(clone.folder / "downloads"))
    run = clone.snakemake("--cache", "--configfile", *SMOKE, "mine.yaml", "--", *TARGETS)
    assert run.returncode == 0, run.stderr[-4000:]
    facts = json.loads((clone.folder / TARGETS[1]).read_text(encoding="utf-8"))["facts"]
    assert facts["converted"] == len((clone.folder / TARGETS[0]).read_bytes().splitlines())
    return (clone.folder / TARGETS[0]).read_bytes()


def test_two_clones_download_and_format_once(
    tmp_path: Path, server: Hub, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = {"kind": "url", "url": f"{server.address}/content/rows.jsonl", "sha256": sha256(ROWS)}
    first, second = (clone_in(tmp_path / name, url) for name in ("first", "second"))
    assert make(first, monkeypatch) == make(second, monkeypatch)
    assert len(server.gets("/content/rows.jsonl")) == 1
    assert (second.folder / TARGETS[0]).resolve().parent == shared


def test_another_file_under_the_same_path_is_read_anew(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for name, rows in (("first", ROWS), ("second", ROWS.replace(b"Question", b"Riddle"))):
        clone = clone_in(tmp_path / name, {"kind": "path", "path": "rows.jsonl"})
        (clone.folder / "rows.jsonl").write_bytes(rows)
        made.append(make(clone, monkeypatch))
        assert (clone.folder / "rows.jsonl").stat().st_mode & 0o022 == 0
    assert b"Riddle" in made[1]
    assert b"Riddle" not in made[0]
