"""The whole chain on tiny random models: what it leaves, and what runs again after a change."""

from __future__ import annotations

import copy
import json

import pytest
import yaml
from clones import SMOKE, Clone


def smoke_settings(clone: Clone) -> dict:
    path = clone.folder / "workflow/presets/smoke.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


class TestWhatARunLeaves:
    def test_the_report_is_one_page_without_requests(self, finished):
        page = (finished.folder / "results/report.html").read_text(encoding="utf-8")
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert 'src="http' not in page

    def test_every_subject_ran_every_case(self, finished):
        evaluation = finished.summary()["evaluation"]
        assert set(evaluation) == {
            "chat-untuned",
            "chat-tuned-s42",
            "base-untuned",
            "base-tuned-s42",
        }
        assert {suite["zh"]["all"]["total"] for suite in evaluation.values()} == {13}

    def test_the_merged_model_loads_without_project_code(self, finished):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = finished.folder / "results/merged/chat/s42/model"
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": "你好"}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=False,
        )
        assert model(ids).logits.shape[1] == ids.shape[1]
        assert (folder / "README.md").exists()

    def test_the_certificate_holds(self, finished):
        path = finished.folder / "results/merged/chat/s42/merge.json"
        certificate = json.loads(path.read_text(encoding="utf-8"))
        assert certificate["changed_tensors"] == 14  # 7 linear layers in each of 2 blocks
        assert certificate["largest_logit_difference"] <= certificate["tolerance"]
        assert certificate["difference_from_start_model"] > 0

    def test_the_loss_curve_is_drawn_twice(self, finished):
        folder = finished.folder / "results/training/base/s42"
        assert (folder / "loss.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
        assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")

    def test_an_offline_run_of_weights_and_biases_is_there(self, finished):
        assert list(finished.folder.glob("results/training/chat/s42/wandb/offline-run-*"))

    def test_the_report_is_in_the_watched_run_of_each_training(self, finished):
        tables = finished.folder.glob("results/training/chat/s42/wandb/offline-run-*/files/media")
        assert [path for folder in tables for path in folder.rglob("cases*.table.json")]

    def test_snakemakes_own_report_has_captions_and_categories(self, finished):
        run = finished.snakemake("--configfile", *SMOKE, "--report", "snakemake-report.html")
        assert run.returncode == 0, run.stderr[-4000:]
        page = (finished.folder / "snakemake-report.html").read_text(encoding="utf-8")
        for category in ("Result", "Numbers", "Training", "Certificates"):
            assert f'"{category}"' in page
        assert "The certificate of the merge" in page

    def test_no_checkpoint_is_left_over(self, finished):
        assert not list(finished.folder.glob("results/.checkpoints/*/*"))


class TestWhatRunsAgain:
    def test_nothing_after_a_finished_run(self, finished):
        assert finished.planned() == set()

    def test_a_title_changes_the_report_alone(self, finished):
        overlay = finished.overlay("title.yaml", {"report": {"title": "another"}})
        assert finished.planned(overlay) == {"render_report", "all"}

    @pytest.mark.parametrize(
        ("gone", "rule"),
        [
            ("training/chat/s42/adapter", "train_adapter"),
            ("merged/base/s42/merge.json", "merge_model"),
            ("data/chat/tokens.parquet", "tokenize_data"),
            ("evaluation/chat-untuned/zh/parts/1.jsonl", "run_scenarios"),
        ],
    )
    def test_what_was_deleted_is_made_again(self, finished, gone, rule):
        path = finished.folder / "results" / gone
        aside = path.rename(finished.folder / "aside")
        assert rule in finished.planned()
        aside.rename(path)

    def test_publishing_uploads_the_models_and_trains_nothing(self, finished):
        overlay = finished.overlay("publish.yaml", {"publish": {"owner": "someone"}})
        assert finished.planned(overlay) == {"publish_model", "render_report", "all"}

    def test_watching_a_run_elsewhere_trains_nothing(self, finished):
        overlay = finished.overlay("wandb.yaml", {"wandb": {"mode": "disabled"}})
        assert "train_adapter" not in finished.planned(overlay)

    def test_other_scenarios_are_looked_for_in_the_data_but_train_nothing(self, finished):
        suites = copy.deepcopy(smoke_settings(finished)["evaluation"]["suites"])
        suites[0]["limit"] = 14
        overlay = finished.overlay("suite.yaml", {"evaluation": {"suites": suites}})
        jobs = finished.planned(overlay)
        assert {"prepare_suite", "check_leakage", "run_scenarios"} <= jobs
        assert not {"train_adapter", "merge_model"} & jobs

    def test_a_learning_rate_changes_its_variant_alone(self, finished):
        settings = smoke_settings(finished)
        variants = copy.deepcopy(settings["variants"])
        variants[1]["training"]["learning_rate"] = 0.02
        overlay = finished.overlay("rate.yaml", {"variants": variants})
        run = finished.snakemake("-n", "--configfile", *SMOKE, str(overlay))
        jobs = [line.split()[-1] for line in run.stdout.splitlines() if " output: " in line]
        assert finished.planned(overlay) == {
            "train_adapter",
            "merge_model",
            "run_scenarios",
            "score_scenarios",
            "render_report",
            "all",
        }
        trained = [job for job in jobs if "/chat" in job]
        assert trained == []
