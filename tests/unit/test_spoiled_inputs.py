"""Scenarios, tools, OpenAPI documents and rows with random harm: refused with the place, or used.

What is accepted is used to the end: played by an engine that knows the answers and scored, or
called, rendered. tests/faults/test_spoiling.py does the same five thousand times.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from reader_rows import GRAMMARS, Dice
from spoiled import spoiled
from test_openapi import LIBRARY, QUERY
from test_suites import HEAD, OWN, OWN_HEAD, SOUND, TOOLS
from tiny import tokenizer

from matinee.data.readers import read_dataset
from matinee.evaluation.openapi import import_openapi
from matinee.evaluation.openapi.sending import path_part, query
from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import score_suite
from matinee.evaluation.scripted import GoldEngine
from matinee.evaluation.simulation import FixtureSimulation, RecordedAnswer
from matinee.evaluation.simulation.api import Parameters, Refusal
from matinee.evaluation.suites import check_suite, load_suite
from matinee.messages.conversations import Conversation, Tool
from matinee.messages.rendering import Renderer
from matinee.runtime.errors import DataError, ScenarioError

PLACE = re.compile(r"\S+:\d+: .")
ARGUMENTS = ("{}", '{"isbn": 1, "day": "x", "tags": ["a"], "deep": {"a": 1}}', '{"body": [1]}')


def try_suites(folder: Path, seeds: range, spoil: str) -> int:
    """Spoils one file of a suite for each seed; returns how many were accepted and played."""
    scenarios = folder / "scenarios"
    scenarios.mkdir()
    accepted = 0
    for seed in seeds:
        own = seed % 2
        files: dict[Path, tuple[Any, bool]] = {
            scenarios / "suite.yaml": (yaml.safe_load(OWN_HEAD if own else HEAD), False),
            scenarios / "a.yaml": (yaml.safe_load(OWN if own else SOUND), False),
            folder / "tools.json": (TOOLS, True),
        }
        for file, (value, as_json) in files.items():
            harmed = file.stem == spoil or (spoil == "a" and file.stem == "suite" and seed % 5 == 0)
            content = (
                spoiled(value, seed, as_json=as_json)
                if harmed
                else json.dumps(value, ensure_ascii=False).encode()
            )
            file.write_bytes(content)
        before = time.process_time()
        problems = check_suite(scenarios, folder / "tools.json")
        assert all(PLACE.match(problem) for problem in problems), (seed, problems)
        if not problems:
            accepted += 1
            play(scenarios, folder / "tools.json")
        assert time.process_time() - before < 20, seed
    return accepted


def play(scenarios: Path, tools: Path) -> None:
    suite = load_suite(scenarios, tools)
    listed = [Tool.from_openai(tool) for tool in suite.all_tools()]
    recorded = FixtureSimulation(listed, [RecordedAnswer(tool=t.name, returns=1) for t in listed])
    transcripts = run_suite(
        suite,
        GoldEngine(suite, "hermes"),
        Play(subject="gold", form="hermes", max_steps=6, max_new_tokens=100),
        simulation=lambda today, faults, tools: recorded.anew(faults, tools),
    )
    assert len(score_suite(suite, transcripts)) == len(suite.scenarios)


def try_documents(folder: Path, seeds: range) -> int:
    accepted = 0
    for seed in seeds:
        value = yaml.safe_load(QUERY if seed % 3 else LIBRARY)
        as_json = seed % 2 == 0
        file = folder / f"api.{'json' if as_json else 'yaml'}"
        file.write_bytes(spoiled(json.loads(json.dumps(value, default=str)), seed, as_json=as_json))
        before = time.process_time()
        refused = ""
        try:
            imported = import_openapi(file)
        except ScenarioError as error:
            refused = str(error)
        if refused:
            lines = refused.splitlines()[1:-1]
            assert lines, (seed, refused)
            assert all(PLACE.match(line.strip()) for line in lines), (seed, refused)
            continue
        accepted += 1
        for operation in imported.operations:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", operation.tool["name"]), seed
            for arguments in ARGUMENTS:
                try:
                    values = Parameters(Tool.from_openai(operation.tool)).read(arguments)
                except Refusal:
                    continue
                query(operation.spellings, values)
                for name, how in operation.spellings.items():
                    if operation.places[name] == "path" and name in values:
                        path_part(name, values[name], how)
        assert time.process_time() - before < 20, seed
    return accepted


def try_rows(folder: Path, seeds: range) -> int:
    """Spoils one row for each seed, of the formats in turn; returns how many were read."""
    file = folder / "rows.jsonl"
    renderers = [Renderer(tokenizer(), name) for name in ("chatml_hermes", "gemma_action")]
    grammars = sorted(GRAMMARS)
    accepted = 0
    for seed in seeds:
        reader, draw = GRAMMARS[grammars[seed % len(grammars)]]
        file.write_bytes(spoiled(draw(Dice(seed)), seed, as_json=True))
        before, refused = time.process_time(), ""
        try:
            kept = list(read_dataset(reader, [file], source="s", on_bad_row="skip"))
        except DataError as error:
            refused = str(error)
        if refused:
            assert re.search(r"rows\.jsonl|no usable row \(\d+ read", refused), (seed, refused)
            continue
        accepted += 1
        for conversation in kept:
            row = json.loads(json.dumps(conversation.to_row()))
            assert Conversation.from_row(row) == conversation, seed
            for renderer in renderers:
                renderer.rows_within([conversation], 4000)
        assert time.process_time() - before < 20, seed
    return accepted


@pytest.mark.parametrize("spoil", ["a", "tools"])
def test_a_spoiled_suite_is_refused_by_file_and_line_or_played(tmp_path: Path, spoil: str) -> None:
    assert 0 < try_suites(tmp_path, range(60), spoil) < 60


def test_a_spoiled_document_is_refused_by_file_and_line_or_called(tmp_path: Path) -> None:
    assert 0 < try_documents(tmp_path, range(60)) < 60


def test_a_spoiled_row_is_refused_with_its_file_or_rendered(tmp_path: Path) -> None:
    assert 0 < try_rows(tmp_path, range(200)) < 200
