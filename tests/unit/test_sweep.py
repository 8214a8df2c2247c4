"""A sweep: what varies is trained, the rest is made once, and not the test chooses."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from report_fixture import Shape, make_results

from matinee.config import Configuration, Sweep, paths
from matinee.config.parameters import ChooseVariant
from matinee.config.plan import Plan
from matinee.report import collect
from matinee.report.page import render_report
from matinee.report.summary import summary
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json, write_json, write_lines
from matinee.stages.training import choose_variant

RATES = [1e-3, 3e-3, 1e-2]
DEVELOPMENT = {"id": "dev", "scenarios": "dev", "tools": "tools.json"}


def configuration(**sweep: Any) -> Configuration:
    variant = {
        "id": "chat",
        "model": "tiny",
        "template": "chatml_hermes",
        "data": [{"dataset": "made"}],
        "validation_share": 0.1,
        "training": {"learning_rate": 0.01, "epochs": 1, "batch_size": 4},
        "seeds": [42, 43],
    }
    values = {
        "models": [{"id": "tiny", "sources": [{"kind": "random"}]}],
        "datasets": [{"id": "made", "synthesis": {"conversations": 10}}],
        "variants": [variant],
        "sweep": {"variant": "chat", "over": {"learning_rate": RATES}, **sweep},
        "evaluation": {"suites": [{"id": "zh", "scenarios": "cases", "tools": "tools.json"}]},
    }
    return Configuration.model_validate(values)


def jobs(plan: Plan) -> Counter[str]:
    """How many trainings, merges and tests are asked for, and how many of untuned models."""
    return Counter(
        trained=len(plan.trainings()),
        merged=len(plan.merges()),
        tested=len(plan.tests),
        untuned=sum("untuned" in subject for subject, _ in plan.tests),
        tried=len(plan.trials),
        rows=len(plan.with_rows(paths.TOKENS)),
    )


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ({}, {"merged": 2, "tested": 3, "tried": 0}),
        ({"test": "all"}, {"merged": 6, "tested": 7, "tried": 0}),
        (
            {"choose_by": "development", "development": DEVELOPMENT},
            {"merged": 8, "tested": 3, "tried": 6},
        ),
    ],
    ids=["chosen", "all", "development"],
)
def test_three_rates_and_two_seeds_train_six_times_from_one_untuned_model(
    sweep: dict[str, Any], expected: dict[str, int]
) -> None:
    found = jobs(Plan(configuration(**sweep)))
    assert found == Counter({"trained": 6, "untuned": 1, "rows": 1, **expected})


def test_a_candidate_is_named_by_its_values_and_trains_with_them() -> None:
    plan = Plan(configuration(over={"learning_rate": [5e-5], "lora.r": [8, 16]}))
    told = [json.loads(plan.train_adapter(one.id, "42")) for one, _ in plan.trainings()[::2]]
    assert [one["variant"] for one in told] == [
        "chat_learning_rate_5e_05_r_8",
        "chat_learning_rate_5e_05_r_16",
    ]
    assert [one["training"]["lora"]["r"] for one in told] == [8, 16]
    assert plan.tokens("chat_learning_rate_5e_05_r_8") == "results/data/chat/tokens.parquet"


def test_the_leakage_check_sees_the_suite_that_chooses() -> None:
    plan = Plan(configuration(choose_by="development", development=DEVELOPMENT))
    assert plan.development == ["dev"]
    assert {suite for _, suite in plan.tests} == {"zh"}


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ({"variant": "chatt"}, "'chatt' is not among variants: ['chat']. Did you mean `chat`?"),
        ({"over": {"learning_rat": [1]}}, "no key of `training`. Did you mean `learning_rate`?"),
        ({"over": {"lora.rank": [1]}}, "`lora.rank` is no key of `training`"),
        ({"over": {"learning_rate": [2]}}, "{'learning_rate': 2}: Input should be less than 1"),
        ({"over": {"learning_rate": [1e-4, 1e-4]}}, "'chat_learning_rate_0_0001' is used twice"),
        ({"choose_by": "development"}, "a suite `development` go together"),
        (
            {"choose_by": "development", "development": {**DEVELOPMENT, "scenarios": "cases"}},
            "is the test, and may not choose",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(sweep: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        configuration(**sweep)


def test_the_held_out_loss_needs_held_out_rows() -> None:
    values = configuration().model_dump(mode="json")
    values["variants"][0]["validation_share"] = 0.0
    with pytest.raises(ValueError, match="held_out_loss needs a validation_share"):
        Configuration.model_validate(values)


def leave_training(results: Path, variant: str, seed: int, loss: float | None) -> None:
    folder = paths.TRAINING.below(results, variant=variant, seed=seed)
    write_json(folder / "metrics.json", {"validation_loss": loss})
    write_json(folder / "trainer_state.json", {})
    write_json(folder / "run.json", {"parameters": {"variant": variant}, "wall_seconds": 9})
    (folder / "adapter").mkdir()
    (folder / "adapter/weights").write_text(variant)


def test_the_lowest_mean_loss_is_chosen_and_takes_the_variants_place(tmp_path: Path) -> None:
    losses = {"a": (1.0, 3.0), "b": (1.5, 1.6), "c": (2.0, 2.0)}
    for variant, marks in losses.items():
        for seed, loss in enumerate(marks):
            leave_training(tmp_path, variant, seed, loss)
    settings = {name: {"lora.r": number} for number, name in enumerate(losses)}
    told = ChooseVariant(variant="chat", candidates=settings, seeds=[0, 1], suite=None)
    choice = paths.CHOICE.below(tmp_path, variant="chat")
    choose_variant(told, tmp_path, choice)
    found = read_json(choice)
    assert found["chosen"] == "b"
    assert found["candidates"][0] == {
        **{"id": "a", "settings": {"lora.r": 0}, "score": 2.0, "by_seed": [1.0, 3.0]}
    }
    placed = paths.TRAINING.below(tmp_path, variant="chat", seed=1)
    assert (placed / "adapter/weights").read_text() == "b"
    run = read_json(placed / "run.json")
    # The model card tells the settings; the time was the candidate's and is not counted twice.
    assert run["parameters"] == {"variant": "b"}
    assert run["wall_seconds"] < 9


def test_without_a_held_out_row_nothing_is_chosen(tmp_path: Path) -> None:
    leave_training(tmp_path, "a", 0, None)
    told = ChooseVariant(variant="chat", candidates={"a": {}}, seeds=[0], suite=None)
    with pytest.raises(DataError, match="a s0: no row was held out"):
        choose_variant(told, tmp_path, tmp_path / "choice.json")


def test_a_development_suite_chooses_by_what_is_right(tmp_path: Path) -> None:
    for variant, right in {"a": [True, False], "b": [True, True]}.items():
        leave_training(tmp_path, variant, 0, 1.0)
        file = paths.VERDICTS.below(tmp_path, subject=f"{variant}-tuned-s0", suite="dev")
        write_lines(file, [{"success": one} for one in right])
    told = ChooseVariant(variant="chat", candidates={"a": {}, "b": {}}, seeds=[0], suite="dev")
    choose_variant(told, tmp_path, tmp_path / "choice.json")
    assert read_json(tmp_path / "choice.json")["chosen"] == "b"


@pytest.mark.parametrize(("language", "word"), [("en", "chosen"), ("zh", "已选中")])
def test_the_page_says_what_was_chosen_and_by_what(
    tmp_path: Path, language: str, word: str
) -> None:
    results, settings = make_results(tmp_path, Shape(language=language))
    sweep = Sweep(variant="chat", over={"lora.r": [8, 16]})
    rows = [
        {"id": f"chat_r_{r}", "settings": {"lora.r": r}, "score": 1.5, "by_seed": [1.5]}
        for r in (8, 16)
    ]
    choice = {"variant": "chat", "by": "held_out_loss", "chosen": "chat_r_16", "candidates": rows}
    write_json(paths.CHOICE.below(results, variant="chat"), choice)
    data = collect(results, settings.model_copy(update={"sweep": sweep}))
    page = render_report(data)
    section = page[page.index('<section id="sweep">') :]
    section = section[: section.index("</section>")]
    assert "<td>16</td>" in section
    assert section.count(word) >= 1
    assert summary(data)["sweep"]["chosen"] == "chat_r_16"
