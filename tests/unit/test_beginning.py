"""`matinee init`: out of tools and logs, a configuration that plans and a suite that is sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from matinee.apps.beginning import Beginning, begin, trial
from matinee.config.checking import parse_configuration
from matinee.data.leakage import find_leaks
from matinee.data.readers import read_dataset
from matinee.evaluation.suites import check_suite, load_suite
from matinee.runtime.errors import ConfigurationError
from matinee.stages import experiments

TOOLS = [
    {
        "name": name,
        "description": f"look up a {what}",
        "parameters": {
            "type": "object",
            "properties": {what: {"type": "string"}},
            "required": [what],
        },
    }
    for name, what in (("find_order", "number"), ("track_parcel", "parcel"))
]
API = {
    "openapi": "3.0.0",
    "info": {"title": "shop", "version": "1"},
    "paths": {
        "/orders/{id}": {
            "get": {
                "operationId": "getOrder",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {},
            }
        }
    },
}


def logged(number: int) -> dict[str, Any]:
    """Two calls, one after the other, and an answer."""
    called = [("find_order", {"number": f"A{number}"}), ("track_parcel", {"parcel": f"P{number}"})]
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Where is order A{number}?"}]
    for place, (name, arguments) in enumerate(called):
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"c{place}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{place}", "content": '{"at": "Oulu"}'})
    messages.append({"role": "assistant", "content": "In Oulu."})
    return {"messages": messages, "tools": [{"type": "function", "function": one} for one in TOOLS]}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    file = tmp_path / "logs.jsonl"
    file.write_text("".join(json.dumps(logged(number)) + "\n" for number in range(40)))
    return file


def configuration(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8")))


def test_logs_become_rows_and_cases_that_share_no_question(tmp_path: Path, logs: Path) -> None:
    begun = begin(Beginning(tmp_path / "shop", "owner/name", logs=logs))
    assert (begun.rows, begun.cases) == (28, 12)
    rows = (tmp_path / "shop/rows.jsonl").read_text(encoding="utf-8").splitlines()
    trained = {json.loads(row)["messages"][0]["content"] for row in rows}
    (file,) = (tmp_path / "shop/scenarios").glob("chain_two.yaml")
    cases = yaml.safe_load(file.read_text(encoding="utf-8"))["cases"]
    assert trained.isdisjoint(case["turns"][0]["user"] for case in cases)
    assert len(trained) + len(cases) == 40


def test_questions_that_are_alike_are_on_one_side(tmp_path: Path) -> None:
    asked = ["Where is order A{}?", "Cancel A{} please.", "Is A{} in stock?", "I send back A{}."]
    file = tmp_path / "logs.jsonl"
    with file.open("w") as lines:
        for number in range(40):
            row = logged(number)
            row["messages"][0]["content"] = asked[number % 4].format(1000 + number)
            lines.write(json.dumps(row) + "\n")
    begun = begin(Beginning(tmp_path / "shop", "owner/name", logs=file))
    assert (begun.rows, begun.cases) == (30, 10)
    folder = tmp_path / "shop"
    assert configuration(folder)["leakage"] == "same_tools"
    suite = load_suite(folder / "scenarios", folder / "tools.json", folder / "fixtures.yaml")
    rows = read_dataset("openai", [folder / "rows.jsonl"], source="own", on_bad_row="error")
    assert [leak for leak in find_leaks(rows, suite).leaks if leak.kind == "question"] == []


def test_logs_that_are_all_alike_are_said_to_be(tmp_path: Path, logs: Path) -> None:
    begun = begin(Beginning(tmp_path / "shop", "owner/name", logs=logs))
    assert configuration(tmp_path / "shop")["leakage"] == "warn"
    assert any("are alike" in note for note in begun.notes)


def test_the_suite_is_sound_and_the_configuration_is_valid(tmp_path: Path, logs: Path) -> None:
    folder = tmp_path / "shop"
    begin(Beginning(folder, "owner/name", logs=logs))
    problems = check_suite(folder / "scenarios", folder / "tools.json", folder / "fixtures.yaml")
    assert problems == []
    assert (
        parse_configuration(configuration(folder), folder).variant("mine").data[0].dataset == "own"
    )


def test_a_trial_is_valid_from_elsewhere(tmp_path: Path, logs: Path) -> None:
    folder = tmp_path / "shop"
    begin(Beginning(folder, "owner/name", logs=logs))
    small = parse_configuration(trial(folder), tmp_path)
    assert small.suite("own").limit == 5


def test_an_openapi_document_gives_the_tools_and_an_example_to_go_on_from(tmp_path: Path) -> None:
    document = tmp_path / "api.yaml"
    document.write_text(yaml.safe_dump(API), encoding="utf-8")
    begun = begin(Beginning(tmp_path / "shop", "owner/name", openapi=document))
    assert begun.rows == begun.cases == 0
    assert len(begun.notes) == 2
    assert "getOrder" in (tmp_path / "shop/scenarios/cases.yaml").read_text(encoding="utf-8")


def test_an_experiment_is_not_written_over(tmp_path: Path, logs: Path) -> None:
    begin(Beginning(tmp_path / "shop", "owner/name", logs=logs))
    with pytest.raises(ConfigurationError, match="an experiment already"):
        begin(Beginning(tmp_path / "shop", "owner/name", logs=logs))


def test_without_any_tool_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--tools or --openapi"):
        begin(Beginning(tmp_path / "shop", "owner/name"))


def test_an_experiment_that_is_no_yaml_is_refused_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("models: [a\nvariants: {\n")
    done = CliRunner().invoke(experiments.app, ["plan", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert re.search(r"experiment\.yaml:\d+: not YAML", str(done.exception))
