"""The report in the Weights & Biases run that training began, without a network."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from unit.report_fixture import Shape, make_results

from matinee.report import collect, log_report, write_report, write_summary, write_tables
from matinee.report.watched import run_id

STARTED = "offline-run-20260101_000000-chat-s42-abc"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    folder, settings = make_results(tmp_path, Shape(cases=13))
    (folder / "training" / "chat" / "s42" / "wandb" / STARTED).mkdir(parents=True)
    data = collect(folder, settings)
    write_report(data, folder / "report.html")
    write_summary(data, folder / "summary.json")
    write_tables(data, folder / "tables")
    log_report(data, folder)
    return folder


def test_the_report_goes_to_the_run_of_its_training(results: Path) -> None:
    folder = results / "training" / "chat" / "s42" / "wandb"
    (logged,) = [f for f in folder.glob("offline-run-*-chat-s42-abc") if f.name != STARTED]
    # What a later `wandb sync` sends: protocol buffers, whose texts stand in the file as they are.
    # The service that writes it may end after the run has.
    texts = (b"report-chat-s42-abc", b"report.html", b"tables/cases.parquet")
    file = logged / "run-chat-s42-abc.wandb"
    end = time.monotonic() + 60
    while not all(text in file.read_bytes() for text in texts):
        assert time.monotonic() < end
        time.sleep(0.05)
    tables = {path.name.split("_")[0] for path in logged.rglob("*.table.json")}
    assert tables == {"accuracy", "cases"}


def test_a_training_that_nobody_watched_gets_no_run(results: Path) -> None:
    assert run_id(results / "training" / "base" / "s42") is None
    assert not (results / "training" / "base" / "s42" / "wandb").exists()


def test_nothing_is_logged_where_watching_is_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder, settings = make_results(tmp_path, Shape(cases=13))
    wandb = folder / "training" / "chat" / "s42" / "wandb"
    (wandb / STARTED).mkdir(parents=True)
    log_report(collect(folder, settings), folder)
    assert [path.name for path in wandb.iterdir()] == [STARTED]
