"""The results folder described as a Workflow Run Crate."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.report_fixture import Shape, make_results

from matinee.config.checking import parse_configuration
from matinee.report import collect, configuration_yaml, write_crate, write_report, write_summary
from matinee.runtime.records import read_json, sha256_file

VALIDATOR = os.environ.get("MATINEE_ROCRATE_VALIDATOR") or shutil.which("rocrate-validator")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, settings = make_results(tmp_path_factory.mktemp("run"), Shape(cases=13))
    data = collect(folder, settings)
    write_report(data, folder / "report.html")
    write_summary(data, folder / "summary.json")
    write_crate(data, folder, configuration_yaml(settings))
    return folder


@pytest.fixture(scope="module")
def entities(results: Path) -> dict[str, Any]:
    graph = read_json(results / "ro-crate-metadata.json")["@graph"]
    return {entity["@id"]: entity for entity in graph}


def test_the_run_names_what_it_was_given_and_what_it_made(entities: dict[str, Any]) -> None:
    run = entities["#run"]
    assert run["instrument"] == {"@id": "crate/Snakefile"}
    assert run["object"] == {"@id": "crate/config.yaml"}
    made = {entity["@id"] for entity in run["result"]}
    assert {"report.html", "summary.json"} <= made
    assert "evaluation/chat-tuned-s42/zh/verdicts.jsonl" in made
    assert run["startTime"] == "2024-01-25T08:00:00+00:00"


def test_every_file_is_there_with_its_checksum(results: Path, entities: dict[str, Any]) -> None:
    files = [entity for entity in entities.values() if "sha256" in entity]
    assert len(files) > 8
    for entity in files:
        assert sha256_file(results / entity["@id"]) == entity["sha256"]


def test_the_configuration_in_it_is_the_one_that_ran(tmp_path: Path) -> None:
    folder, settings = make_results(tmp_path, Shape(cases=13, price_per_hour=2.5))
    write_crate(collect(folder, settings), folder, configuration_yaml(settings))
    kept = yaml.safe_load((folder / "crate" / "config.yaml").read_text(encoding="utf-8"))
    assert parse_configuration(kept, tmp_path) == settings


def test_licences_are_those_that_the_sources_state(entities: dict[str, Any]) -> None:
    assert entities["./"]["license"] == {"@id": "#licences"}
    assert "model/gemma_3_270m: not stated" in entities["#licences"]["description"]


@pytest.mark.skipif(
    VALIDATOR is None, reason="no rocrate-validator on PATH: pip install roc-validator elsewhere"
)
def test_a_validator_accepts_it(results: Path) -> None:
    assert VALIDATOR is not None
    command = [VALIDATOR, "--no-interactive", "-y", "validate", "-p", "workflow-run-crate-0.5"]
    offline = ["--offline"] if os.environ.get("MATINEE_ROCRATE_OFFLINE") else []
    run = subprocess.run(
        [*command, *offline, str(results)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:]
