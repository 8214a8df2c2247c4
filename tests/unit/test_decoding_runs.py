"""Runs with a guaranteed format or drawn tokens, and runs in parts, with a tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playing import gold, scenario, suite, turn
from report_fixture import Shape, configuration
from tiny import llama, tokenizer

from matinee.config import Limits, SampledRuns, paths
from matinee.config.parameters import RunScenarios, ScoreScenarios
from matinee.config.plan import Plan
from matinee.messages.transcripts import Verdict
from matinee.runtime.records import read_lines
from matinee.stages.evaluation import run_scenarios, score_scenarios

AIR = "get_environment_air_pm"
CITIES = ("上海", "北京", "广州", "成都", "西安")
DRAWN = SampledRuns(temperature=1.0, repeats=2, seed=3)


def plan(root: Path, **shape: Any) -> Plan:
    return Plan(configuration(Shape(references=1, **shape), root))


def test_without_further_decoding_there_are_only_greedy_subjects(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert {subject.decoding for subject in made.subjects.values()} == {"greedy"}
    assert "constrained" not in made.run_scenarios("chat-untuned", "zh", "0")
    assert "sampling" not in made.run_scenarios("chat-untuned", "zh", "0")


def test_every_local_subject_is_constrained_and_every_subject_drawn(tmp_path: Path) -> None:
    made = plan(tmp_path, decodings=True)
    extra = [name for name in made.subjects if "." in name]
    assert extra == [
        *("chat-untuned.constrained", "chat-untuned.sampled"),
        *("chat-tuned-s42.constrained", "chat-tuned-s42.sampled"),
        *("base-untuned.constrained", "base-untuned.sampled"),
        *("base-tuned-s42.constrained", "base-tuned-s42.sampled"),
        "ref-model0.sampled",
    ]
    assert '"constrained":true' in made.run_scenarios("chat-untuned.constrained", "zh", "0")
    assert '"repeats":4' in made.run_scenarios("chat-untuned.sampled", "zh", "0")
    sampled, greedy = map(made.subject_model, ("chat-tuned-s42.sampled", "chat-tuned-s42"))
    assert sampled == greedy
    assert "results/evaluation/ref-model0.sampled/zh/verdicts.jsonl" in made.evaluated(
        paths.VERDICTS
    )


def test_other_decoding_does_not_run_the_greedy_subjects_again(tmp_path: Path) -> None:
    before, after = plan(tmp_path), plan(tmp_path, decodings=True)
    for subject in before.subjects:
        assert before.run_scenarios(subject, "zh", "0") == after.run_scenarios(subject, "zh", "0")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    made = tokenizer()
    llama(seed=11, vocabulary=len(made)).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cases over three tools; the last asks the very words of the first."""
    made = suite(
        *(
            scenario(
                turn(gold(AIR, city=city), user=f"{CITIES[number % 4]}空气如何？"),
                name=f"c{number}",
            )
            for number, city in enumerate(CITIES)
        )
    )
    path = tmp_path_factory.mktemp("suite") / "inline.json"
    small = made.model_copy(update={"tools": made.tools[3:6]})
    path.write_text(small.model_dump_json(), encoding="utf-8")
    return path


def told(**changed: Any) -> RunScenarios:
    usual = {
        "subject": "s",
        "form": "hermes",
        "template": "chatml_hermes",
        "reference": None,
        "engine": "transformers",
        "fixtures": None,
        "part": 0,
    }
    return RunScenarios(**{**usual, **changed})


def score(cases: Path, parts: list[Path], folder: Path) -> None:
    transcripts, verdicts = folder / "transcripts.jsonl", folder / "verdicts.jsonl"
    score_scenarios(ScoreScenarios(form="hermes"), cases, parts, transcripts, verdicts)


def gathered(
    cases: Path, model: Path, folder: Path, parts: int, **decoding: Any
) -> list[dict[str, Any]]:
    """The gathered transcripts of a run in so many parts, without their times."""
    folder.mkdir()
    written = [folder / f"{part}.jsonl" for part in range(parts)]
    for part, path in enumerate(written):
        params = told(
            limits=Limits(
                max_steps=2, max_new_tokens=24, batch_size=2, parts=parts, precision="fp32"
            ),
            part=part,
            **decoding,
        )
        run_scenarios(params, cases, path, model)
    score(cases, written, folder)
    rows = list(read_lines(folder / "transcripts.jsonl"))
    for row in rows:
        for step in row["steps"]:
            step.pop("seconds")
    return rows


@pytest.mark.parametrize("decoding", [{}, {"sampling": DRAWN}], ids=["greedy", "drawn"])
def test_any_number_of_parts_gives_the_same(
    cases: Path, model: Path, tmp_path: Path, decoding: dict[str, Any]
) -> None:
    whole = gathered(cases, model, tmp_path / "1", 1, **decoding)
    assert gathered(cases, model, tmp_path / "3", 3, **decoding) == whole
    assert gathered(cases, model, tmp_path / "5", 5, **decoding) == whole
    repeats = 2 if decoding else 1
    assert [(row["case"], row["repeat"]) for row in whole] == [
        (f"c{case}", repeat) for case in range(5) for repeat in range(repeats)
    ]
    said = {(row["case"], row["repeat"]): row["steps"][0]["text"] for row in whole}
    # The same words: greedily the same text; drawn, the case decides.
    assert (said["c0", 0] == said["c4", 0]) is not bool(decoding)
    if decoding:
        assert said["c0", 0] != said["c0", 1]


def test_a_context_that_is_too_small_is_said_and_counted(
    cases: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    shutil.copytree(model, small)
    settings = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 64}))
    gathered(cases, model, tmp_path / "1", 1)
    assert "do not fit" not in capsys.readouterr().err
    assert facts(tmp_path / "1")["prompts_without_room"] == 0
    rows = gathered(cases, small, tmp_path / "2", 1)
    assert {row["steps"][0]["text"] for row in rows} == {""}
    said = capsys.readouterr().err
    assert "s on inline: 5 prompts and an answer of 24 tokens do not fit" in said
    assert "evaluation.max_new_tokens" in said
    assert facts(tmp_path / "2")["prompts_without_room"] == 5


def facts(folder: Path) -> dict[str, Any]:
    record: dict[str, dict[str, Any]] = json.loads((folder / "0.run.json").read_text())
    return record["facts"]


def test_recorded_answers_are_read_once_for_all_cases(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matinee.evaluation.simulation import FixtureSimulation

    read = []
    whole = FixtureSimulation.read.__func__  # type: ignore[attr-defined]

    def counted(cls: type[FixtureSimulation], path: Path, *given: Any) -> FixtureSimulation:
        read.append(path)
        made: FixtureSimulation = whole(cls, path, *given)
        return made

    monkeypatch.setattr(FixtureSimulation, "read", classmethod(counted))
    fixtures = tmp_path / "fixtures.yaml"
    fixtures.write_text(f"- {{tool: {AIR}, when: {{city: 上海}}, returns: 优}}\n", encoding="utf-8")
    params = told(
        limits=Limits(max_steps=3, max_new_tokens=24),
        engine="gold",
        fixtures=fixtures,
        sampling=DRAWN,
    )
    run_scenarios(params, cases, tmp_path / "0.jsonl")
    rows = list(read_lines(tmp_path / "0.jsonl"))
    errors = {row["case"]: row["steps"][0]["observations"][0]["error"] for row in rows}
    assert len(rows) == 10
    assert errors == {"c0": None, **{f"c{number}": "not_found" for number in range(1, 5)}}
    assert read == [fixtures]


def test_a_constrained_run_writes_nothing_that_cannot_be_read(
    cases: Path, model: Path, tmp_path: Path
) -> None:
    rows = gathered(cases, model, tmp_path / "1", 1, constrained=True)
    free = gathered(cases, model, tmp_path / "free", 1)
    steps = [step for row in rows for step in row["steps"] if step["finish"] == "stop"]
    assert [step["parse"]["error"] for step in steps if step["parse"]["error"]] == []
    assert [row["steps"][0]["text"] for row in rows] != [row["steps"][0]["text"] for row in free]


def test_stored_outputs_are_scored_again_both_ways(
    cases: Path, model: Path, tmp_path: Path
) -> None:
    gathered(cases, model, tmp_path / "1", 1)
    first = read_lines(tmp_path / "1" / "verdicts.jsonl")
    score(cases, [tmp_path / "1" / "0.jsonl"], tmp_path / "1")
    assert read_lines(tmp_path / "1" / "verdicts.jsonl") == first
    verdicts = [Verdict.model_validate(row) for row in first]
    assert [verdict.case for verdict in verdicts] == [f"c{number}" for number in range(5)]
    assert {verdict.metrics["lenient_success"] for verdict in verdicts} <= {True, False}
