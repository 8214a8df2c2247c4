"""What a user can get wrong: exit status 1, one message that says what and where, no traceback."""

from __future__ import annotations

import json

import pytest
from clones import SMOKE


def assert_refused(run, *expected):
    shown = run.stdout + run.stderr
    assert run.returncode == 1, shown[-2000:]
    assert "Traceback" not in shown
    for text in expected:
        assert text in shown


class TestConfiguration:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"leakge": "warn"}, ["leakge", "unknown key"]),
            ({"leakage": "maybe"}, ["leakage", "'maybe'", "'error', 'same_tools' or 'warn'"]),
            ({"export": {"shard_size": "2 parsecs"}}, ["export.shard_size", "2 parsecs"]),
        ],
    )
    def test_a_mistake_is_named_with_its_path(self, clone, values, expected):
        overlay = clone.overlay("bad.yaml", values)
        run = clone.snakemake("-n", "--quiet", "all", "--configfile", *SMOKE, str(overlay))
        assert_refused(run, *expected)

    def test_a_learning_rate_that_is_a_word(self, clone):
        text = (clone.folder / "config.yaml").read_text(encoding="utf-8")
        broken = text.replace("learning_rate: 5.0e-4", "learning_rate: fast")
        (clone.folder / "config.yaml").write_text(broken, encoding="utf-8")
        run = clone.snakemake("-n", "--quiet", "all")
        assert_refused(run, "variants[0].training.learning_rate", "'fast'")

    def test_a_scenario_folder_that_is_missing(self, clone):
        text = (clone.folder / "config.yaml").read_text(encoding="utf-8")
        broken = text.replace("scenarios: workflow/resources/scenarios", "scenarios: scenarioz")
        (clone.folder / "config.yaml").write_text(broken, encoding="utf-8")
        assert_refused(clone.snakemake("-n"), "evaluation.suites[0].scenarios", "scenarioz")

    def test_without_a_network_all_that_is_missing_is_listed_at_once(self, clone):
        url = "https://example.org/rows.json"
        hub = {"kind": "hf", "repo": "owner/gone", "revision": "main"}
        values = {
            "offline": True,
            "models": [{"id": "tiny", "sources": [hub]}],
            "datasets": [
                {
                    "id": "synthesized",
                    "reader": "alpaca",
                    "sources": [{"kind": "url", "url": url, "sha256": "0" * 64}],
                }
            ],
        }
        overlay = clone.overlay("offline.yaml", values)
        run = clone.snakemake("-n", "--quiet", "all", "--configfile", *SMOKE, str(overlay))
        assert_refused(run, "model `tiny`", "owner/gone", "dataset `synthesized`", url)


class TestStages:
    def test_a_scenario_with_an_unknown_tool(self, clone):
        path = clone.folder / "workflow/resources/scenarios/single_tool.yaml"
        text = path.read_text(encoding="utf-8").replace("tool: icp_query", "tool: icp_qery", 1)
        path.write_text(text, encoding="utf-8")
        params = {
            "id": "zh",
            "scenarios": "workflow/resources/scenarios",
            "tools": "workflow/resources/tools.json",
        }
        run = clone.stage("prepare-suite", "--params", json.dumps(params), "--output", "suite.json")
        assert_refused(run, "single_tool.yaml:", "icp_qery", "icp_query")
        assert not (clone.folder / "suite.json").exists()

    def test_a_data_row_that_is_not_json(self, clone):
        raw = clone.folder / "raw"
        raw.mkdir()
        good = {"instruction": "你好", "input": "", "output": "您好"}
        (raw / "rows.jsonl").write_text(
            json.dumps(good, ensure_ascii=False) + "\n{not json}\n", encoding="utf-8"
        )
        params = {
            "id": "mine",
            "reader": "alpaca",
            "sources": [{"kind": "path", "path": "raw"}],
        }
        run = clone.stage(
            "format-dataset", "--params", json.dumps(params), "--raw", "raw", "--output", "o.jsonl"
        )
        assert_refused(run, "rows.jsonl", "2")
        assert not (clone.folder / "o.jsonl").exists()

    def test_a_hub_that_cannot_be_reached(self, clone):
        params = {
            "id": "yi",
            "sources": [{"kind": "hf", "repo": "01-ai/Yi-6B-Chat", "revision": "main"}],
        }
        run = clone.stage(
            "fetch-model",
            "--params",
            json.dumps(params),
            "--output",
            "model",
            HF_ENDPOINT="http://127.0.0.1:9",
            HF_HUB_OFFLINE="0",
        )
        assert_refused(run, "01-ai/Yi-6B-Chat", "127.0.0.1:9")
        assert not (clone.folder / "model").exists()


def test_help_of_every_stage(clone):
    shown = clone.stage("--help")
    assert shown.returncode == 0
    for stage in ("fetch-model", "train-adapter", "run-scenarios", "render-report"):
        assert stage in shown.stdout
