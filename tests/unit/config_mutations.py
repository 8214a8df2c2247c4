"""Configurations with mistakes in them, drawn from a seed, and what must hold for each."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

from matinee.config import Configuration, Dataset, Model, SuiteSettings, parameters, paths
from matinee.config.checking import read_configuration
from matinee.config.plan import Plan
from matinee.runtime.errors import ConfigurationError

START: dict[str, Any] = {
    "offline": False,
    "models": [
        {
            "id": "small",
            "sources": [
                {"kind": "hf", "repo": "owner/name", "revision": "main"},
                {"kind": "path", "path": "scenarios"},
                {"kind": "random", "seed": 1},
            ],
        }
    ],
    "datasets": [
        {
            "id": "made",
            "synthesis": {"conversations": 10, "tools_per_list": [3, 4], "mix": {"single": 1}},
        },
        {
            "id": "rows",
            "reader": "alpaca",
            "sources": [{"kind": "url", "url": "https://host/a.json", "sha256": "0" * 64}],
        },
    ],
    "variants": [
        {
            "id": "first",
            "model": "small",
            "template": "chatml_hermes",
            "data": [{"dataset": "made", "max_samples": 5, "weight": 1.5}],
            "training": {
                "learning_rate": 1e-4,
                "epochs": 1,
                "batch_size": 4,
                "lora": {"r": 4, "alpha": 8.0, "target": ["q_proj"]},
            },
            "seeds": [1, 2],
        }
    ],
    "evaluation": {
        "suites": [{"id": "suite", "scenarios": "scenarios", "tools": "tools.json", "limit": 3}],
        "references": [{"id": "ref", "base_url": "http://127.0.0.1/v1", "model": "m"}],
        "sampling": {"temperature": 0.7, "repeats": 2},
        "constrained": True,
        "parts": 2,
    },
    "export": {"shard_size": "2GB", "tolerance": 1e-3},
    "publish": {"owner": "someone"},
    "report": {"title": "T", "price_per_hour": 2.5, "compare_with": ["tools.json"]},
}  # fmt: skip
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 5e-324, 2**31, 2**32, 2**63, 10**30),
    *("", " ", "x", "x" * 300, "a/b", "../..", "/", "~", "{x}", "{", "a\nb", "\u0000", "\u202e"),
    *("5e-4", "1:30", "010", "no", "null", ".inf", "$HOME", "%s", "*", "-x", "a b", "'", '"', "\\"),
    *("sk-abcdefghijkl", "hf_abcdefghijkl", "http://u:p@h/", "http://[x", "file:///x", "汉"),
    *([], {}, [1], [[]], {"a": 1}, [None], {"": 1}, [True], ["x", "x"]),
]  # fmt: skip


def mutation(draw: random.Random) -> bytes:
    """The text of a configuration with one to three mistakes."""
    values = copy.deepcopy(START)
    for _ in range(draw.choice((1, 1, 2, 3))):
        _mistake(values, draw)
    text = json.dumps(values, ensure_ascii=False, indent=1)
    if draw.random() < 0.3:
        text = _misspelt(text, draw)
    content = text.encode("utf-8", errors="surrogatepass")
    return content if draw.random() < 0.97 else text.encode("utf-16", errors="surrogatepass")


def _mistake(values: Any, draw: random.Random) -> None:
    places = list(_places(values))
    holder, key = draw.choice(places)
    match draw.randrange(6):
        case 0 if isinstance(holder, dict):
            holder[draw.choice(("extra", str(key)[:-1], f"{key}s", ""))] = holder.pop(key)
        case 1:
            del holder[key]
        case 2:
            other, name = draw.choice(places)
            if name in other if isinstance(other, dict) else True:
                holder[key] = copy.deepcopy(other[name])
        case _:
            holder[key] = copy.deepcopy(draw.choice(ODD))


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _misspelt(text: str, draw: random.Random) -> str:
    at = draw.randrange(len(text))
    length = draw.choice((0, 1, 1, 5))
    put = draw.choice(
        ("", '"', "{", "]", ":", ",", "&a ", "*a", "!!python/x ", "\t", "\ud800", "9")
    )
    return text[:at] + put * draw.choice((1, 1, 100)) + text[at + length :]


def outcome(content: bytes, folder: Path) -> str:
    """`refused` with words, or `accepted`; what is accepted must be good for a whole plan."""
    file = folder / "config.yaml"
    file.write_bytes(content)
    try:
        configuration = read_configuration([file], {}, folder)
    except ConfigurationError as error:
        told = str(error)
    else:
        use(Plan(configuration))
        return "accepted"
    assert told.startswith("The configuration has ")
    assert str(file) in told
    return "refused"


def use(plan: Plan) -> None:
    """Asks all that the rules ask, and reads every stage's parameters as the stage does."""
    configuration = plan.configuration
    for model in plan.model_ids:
        Model.model_validate_json(plan.fetch_model(model))
        plan.model_files(model)
    for dataset in plan.dataset_ids:
        Dataset.model_validate_json(plan.fetch_dataset(dataset))
        Dataset.model_validate_json(plan.dataset(dataset))
        plan.dataset_files(dataset)
        plan.catalogue_files(dataset)
    for variant in configuration.variants:
        parameters.MixData.model_validate_json(plan.mix_data(variant.id))
        parameters.TokenizeData.model_validate_json(plan.tokenize_data(variant.id))
        parameters.MergeModel.model_validate_json(plan.merge_model(variant.id))
        plan.mix_inputs(variant.id)
        assert plan.tokenize_threads(variant.id) > 0
        for seed in variant.seeds:
            parameters.TrainAdapter.model_validate_json(plan.train_adapter(variant.id, str(seed)))
            assert "{" not in plan.checkpoints(variant.id, str(seed))
            if configuration.publish:
                plan.publish_model(variant.id, str(seed))
    for subject in plan.subjects:
        parameters.ScoreScenarios.model_validate_json(plan.score_scenarios(subject))
        plan.gpus(subject)
        for suite in plan.suite_ids:
            SuiteSettings.model_validate_json(plan.prepare_suite(suite))
            parameters.RunScenarios.model_validate_json(plan.run_scenarios(subject, suite, "0"))
            assert all("{" not in file for file in plan.suite_files(suite))
    assert Configuration.model_validate_json(plan.render_report()) == configuration
    plan.evaluated(paths.VERDICTS)
    re.compile(plan.pattern(plan.subjects))
