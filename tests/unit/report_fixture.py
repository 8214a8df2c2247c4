"""Makes a synthetic results folder: realistic verdicts and transcripts, no model involved."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from matinee.config import Configuration
from matinee.config.checking import parse_configuration
from matinee.config.subjects import (
    Subject,
    converted_subjects,
    decoded_subjects,
    greedy_subjects,
)
from matinee.evaluation.scripted import play_floor
from matinee.messages.scenarios import Category, Suite
from matinee.runtime.records import write_json, write_lines

CATEGORIES: tuple[str, ...] = get_args(Category)[:13]  # as many as the figures below are for
CITIES = ("上海", "成都", "哈尔滨", "西安", "厦门", "昆明", "南京", "长沙", "兰州", "三亚")
EASE = dict(
    zip(
        CATEGORIES,
        (0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.2, 0.5, 0.6, 0.7, 0.85, 0.4, 0.35),
        strict=True,
    )
)
QUESTIONS = {
    "single_tool": "{city}现在PM2.5多少？",
    "coded_values": "看看{city}今天的体育新闻头条。",
    "parallel_calls": "{city}的空气质量怎么样？顺便查一下江苏省的地表水水质。",
    "chain_two": "{city}机场今天有哪些航班不正常？",
    "chain_three": "{city}去年国庆那天的天气如何？我想做个旅行回顾。",
    "missing_unanswered": "帮我查一下历史天气，就是上次出差那天。",
    "no_tool": "用一句话夸夸{city}的秋天。",
}
AIR, RIVER, WEATHER = "get_environment_air_pm", "get_river_environment", "get_history_weather"
MISTAKES: dict[str, dict[str, Any]] = {
    error: {"key": key, "values": values}
    for error, key, values in (
        ("no_call", "never_called", {"tool": AIR}),
        ("wrong_tool", "called_other", {"call": RIVER, "accepted": AIR}),
        ("unparsable", "unparsable", {"said": "not JSON: Unterminated string starting at"}),
        (
            "wrong_value",
            "accepted",
            {"tool": AIR, "argument": "city='上海市浦东'", "accepted": "'上海' | '上海市'"},
        ),
        ("missing_call", "never_called", {"tool": RIVER}),
        ("invented_value", "returned_by_none", {"tool": WEATHER, "argument": "city_id='7'"}),
        ("unneeded_call", "called_for_nothing", {"call": "query_news"}),
    )
}


@dataclass(frozen=True)
class Shape:
    """How large the synthetic run is. Two variants, each untuned and tuned with every seed."""

    cases: int = 60
    seeds: tuple[int, ...] = (42,)
    references: int = 0
    language: str = "en"
    log_points: int = 120
    hostile: bool = False
    price_per_hour: float | None = None
    compare_with: tuple[str, ...] = ()
    long_line: int = 0
    decodings: bool = False
    gguf: tuple[str, ...] = ()
    alike: bool = False  # both variants start from one model and its prompts


def configuration(shape: Shape, root: Path) -> Configuration:
    """A checked configuration of that shape."""
    (root / "scenarios").mkdir(parents=True, exist_ok=True)
    (root / "tools.json").write_text("[]", encoding="utf-8")
    source = {"kind": "url", "url": "http://localhost/rows.json", "sha256": "0" * 64}
    values: dict[str, Any] = {
        "models": [
            {"id": "smollm2_135m_instruct", "sources": [{"kind": "random"}]},
            {"id": "gemma_3_270m", "sources": [{"kind": "random"}]},
        ],
        "datasets": [{"id": "made", "sources": [source], "reader": "alpaca"}],
        "variants": [
            _variant("chat", "smollm2_135m_instruct", "chatml_hermes", shape),
            _variant("base", "smollm2_135m_instruct", "chatml_hermes", shape)
            if shape.alike
            else _variant("base", "gemma_3_270m", "plain_action", shape),
        ],
        "evaluation": {
            "suites": [{"id": "zh", "scenarios": "scenarios", "tools": "tools.json"}],
            "references": [
                {
                    "id": f"model{number}",
                    "base_url": "http://localhost/v1",
                    "model": f"ref-{number}",
                }
                for number in range(shape.references)
            ],
            "constrained": shape.decodings,
            "gguf": list(shape.gguf),
            "sampling": {"repeats": 4} if shape.decodings else None,
        },
        "export": {"formats": {"gguf": list(shape.gguf)}},
        "report": {
            "title": "Eleven tools, in Chinese",
            "language": shape.language,
            "price_per_hour": shape.price_per_hour,
            "compare_with": list(shape.compare_with),
        },
    }
    return parse_configuration(values, root)


def _variant(identifier: str, model: str, template: str, shape: Shape) -> dict[str, Any]:
    return {
        "id": identifier,
        "model": model,
        "template": template,
        "data": [{"dataset": "made"}],
        "training": {"learning_rate": 5e-4, "epochs": 3, "batch_size": 4},
        "seeds": list(shape.seeds),
    }


def make_results(root: Path, shape: Shape = Shape()) -> tuple[Path, Configuration]:
    """Writes `root/results` and returns it with the configuration that asks for it."""
    settings = configuration(shape, root)
    results = root / "results"
    scenarios = [_scenario(number) for number in range(shape.cases)]
    suite = {"id": "zh", "today": "2024-01-25", "tools": [], "scenarios": scenarios}
    write_json(results / "suite" / "zh.json", suite)
    floor = play_floor(Suite.model_validate(suite))
    write_lines(results / "suite" / "zh.floor.jsonl", [row.model_dump() for row in floor])
    write_json(results / "suite" / "zh.run.json", _run("prepare_suite", 0.9))
    fetched = {"model.safetensors": {"bytes": 269_060_552, "sha256": "ab" * 32}}
    for model in settings.models:
        record = _run("fetch_model", 21.4, commit="12fd25f77366", files=fetched)
        write_json(results / "model" / model.id / "run.json", record)
    write_json(results / "dataset" / "made" / "raw" / "run.json", _run("fetch_dataset", 2.5))
    record = _run(
        "format_dataset",
        3.3,
        bad_by_kind={"empty": 2},
        left={"row.id": 1998},
        notes={"rows_with_reasoning": 17},
    )
    record["parameters"] = {"id": "made"}
    write_json(results / "dataset" / "made" / "run.json", record)
    for subject in greedy_subjects(settings):
        _write_evaluation(results, subject, scenarios, shape)
    for subject in converted_subjects(settings):
        _write_evaluation(results, subject, scenarios, shape)
        files = {kind: {"bytes": 675_713_216} for kind in settings.evaluation.gguf}
        folder = results / f"merged/{subject.name}/s{subject.seed}/gguf"
        write_json(folder / "run.json", _run("export_gguf", 41.0, files=files))
    for subject in decoded_subjects(settings):
        _write_decoded(results, subject.id, scenarios)
    for variant in ("chat", "base"):
        _write_data(results / "data" / variant)
        for seed in shape.seeds:
            _write_training(results, variant, seed, shape)
    return results, settings


def _scenario(number: int) -> dict[str, Any]:
    category = CATEGORIES[number % len(CATEGORIES)]
    city = CITIES[number // len(CATEGORIES) % len(CITIES)]
    question = QUESTIONS.get(category, "请问{city}这周末适合出门吗？我有点犹豫。").format(city=city)
    turns: list[dict[str, Any]] = [
        {
            "user": question,
            "calls": [{"tool": "get_environment_air_pm", "arguments": {"city": city}}],
        }
    ]
    if category == "change_of_mind":
        turns.append({"user": "等等，还是换成北京吧。", "calls": []})
    if category == "no_tool":
        turns[0]["calls"] = []
    return {
        "id": f"{category}-{number:04d}",
        "category": category,
        "family": f"{category}-{number // len(CATEGORIES) // 3}",
        "turns": turns,
    }


def _write_evaluation(
    results: Path, subject: Subject, scenarios: list[dict[str, Any]], shape: Shape
) -> None:
    draw = random.Random(subject.id)
    skill = {"untuned": 0.12, "tuned": 0.95, "reference": 0.8}[subject.kind]
    verdicts, transcripts = [], []
    for number, scenario in enumerate(scenarios):
        right = random.Random(f"{subject.id}{number}").random() < skill * EASE[scenario["category"]]
        error = None if right else draw.choice(sorted(MISTAKES))
        common = {"case": scenario["id"], "subject": subject.id, "suite": "zh", "repeat": 0}
        verdicts.append(
            common
            | {
                "category": scenario["category"],
                "family": scenario["family"],
                "success": right,
                "error": error,
                "detail": {"key": "as_accepted"} if error is None else MISTAKES[error],
                "metrics": _metrics(scenario, right, error),
            }
        )
        steps = _steps(scenario, right, error, draw)
        if shape.hostile and number % 7 == 0:
            steps[0] |= _hostile(number)
        if shape.long_line and number == 1:
            steps[0] |= {"text": "長" * shape.long_line}
        transcripts.append(common | {"messages": [], "steps": steps, "stop": "done"})
    folder = results / "evaluation" / subject.id / "zh"
    write_lines(folder / "verdicts.jsonl", verdicts)
    write_lines(folder / "transcripts.jsonl", transcripts)
    for part in range(2):
        record = _run("run_scenarios", 1.5 * len(scenarios))
        record["parameters"] |= {"engine": "llama_cpp" if subject.gguf else "transformers"}
        write_json(folder / "parts" / f"{part}.run.json", record)
    write_json(folder / "verdicts.run.json", _run("score_scenarios", 1.2))


def _write_decoded(results: Path, subject: str, scenarios: list[dict[str, Any]]) -> None:
    """Verdicts of a run with other decoding: right where the number of case and repeat says so."""
    repeats = 4 if subject.endswith("sampled") else 1
    verdicts = [
        {
            "case": scenario["id"],
            "subject": subject,
            "suite": "zh",
            "repeat": repeat,
            "category": scenario["category"],
            "family": scenario["family"],
            "success": right,
            "error": None if right else "no_call",
            "detail": {"key": "as_accepted"},
            "metrics": _metrics(scenario, right, None if right else "no_call"),
        }
        for number, scenario in enumerate(scenarios)
        for repeat in range(repeats)
        for right in [number % 5 > repeat]
    ]
    write_lines(results / "evaluation" / subject / "zh" / "verdicts.jsonl", verdicts)


def _metrics(scenario: dict[str, Any], right: bool, error: str | None) -> dict[str, Any]:
    due = any(turn["calls"] for turn in scenario["turns"])
    return {
        "lenient_success": right or error == "unparsable",
        "tool_selection": error not in ("no_call", "wrong_tool") if due else None,
        "arguments": float(right) if due else None,
        "format_valid": error != "unparsable",
        "called": due and error != "no_call",
        "call_due": due,
        "asked": False,
        "ask_due": scenario["category"].startswith("missing"),
        "chain_progress": float(right) if due else None,
        "steps": 2,
        "shortest_steps": 2,
        "refused_calls": 0,
        "mentioned": None,
        "cut_off": False,
        "completion_tokens": 40,
        "seconds": 1.5,
    }


def _steps(
    scenario: dict[str, Any], right: bool, error: str | None, draw: random.Random
) -> list[dict[str, Any]]:
    city = draw.choice(CITIES) if error == "wrong_value" else "上海"
    call = {
        "name": "get_environment_air_pm",
        "arguments": json.dumps({"city": city}, ensure_ascii=False),
    }
    steps = []
    for turn in range(len(scenario["turns"])):
        if error in ("no_call", "missing_call") or not scenario["turns"][turn]["calls"]:
            steps.append(_step(turn, "秋天的风把桂花的香气吹满了整座城市。", [], draw))
            continue
        shown = f'{{"name": "{call["name"]}", "arguments": {call["arguments"]}}}'
        text = f"<tool_call>\n{shown}\n</tool_call>"
        if error == "unparsable":
            broken = _step(turn, text[:48], [], draw)
            broken["parse"]["error"] = "the text after <tool_call> is not JSON: it ends in a string"
            steps.append(broken)
            continue
        observation = {"city": city, "pm25": draw.randint(8, 180), "level": "良", "time": "10:00"}
        steps.append(_step(turn, text, [call], draw, json.dumps(observation, ensure_ascii=False)))
        answer = f"{city}今天PM2.5是{observation['pm25']}，空气质量{observation['level']}。"
        steps.append(
            _step(turn, answer + ("适合户外活动。" if right else "建议您明天再来问我。"), [], draw)
        )
    return steps


def _step(
    turn: int, text: str, calls: list[dict[str, str]], draw: random.Random, observed: str = ""
) -> dict[str, Any]:
    observations = (
        [{"tool": calls[0]["name"], "content": observed, "error": None}] if observed else []
    )
    return {
        "turn": turn,
        "text": text,
        "parse": {"content": "" if calls else text, "calls": calls, "error": None},
        "observations": observations,
        "prompt_tokens": draw.randint(2400, 4200),
        "completion_tokens": max(1, len(text) // 2),
        "finish": "stop",
        "seconds": round(draw.uniform(0.2, 2.0), 3),
        "reply": None,
    }


def _hostile(number: int) -> dict[str, Any]:
    """Model text that attacks the page: markup, ends of raw-text elements, control characters."""
    attacks = (
        '<script>window.attacked = 1</script><img src=x onerror="window.attacked = 2">',
        "</style></script></template></textarea><script>window.attacked = 3</script>",
        "\u202egnp.exe\u202c \u2066hidden\u2069 zero\u200bwidth bell\u0007"
        " null\u0000 esc\u001b[31m",
        "{{ 7 * 7 }} {% raw %} ${alert(1)} &lt;b&gt; <!-- --!> ]]> \u2028 \u2029 \ufeff",
    )
    text = attacks[number // 7 % len(attacks)]
    return {
        "text": text,
        "parse": {"content": text, "calls": [{"name": text, "arguments": text}], "error": text},
        "observations": [{"tool": text, "content": text, "error": text}],
        "reply": text,
    }


def _run(stage: str, seconds: float, **facts: Any) -> dict[str, Any]:
    return {
        "stage": stage,
        "parameters": {"note": "synthetic"},
        "facts": facts,
        "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0"},
        "hardware": {"machine": "x86_64", "cores": 2, "memory_gb": 8.2},
        "started": "2024-01-25T08:00:00Z",
        "wall_seconds": round(seconds, 3),
        "peak_memory_mb": 1830.4,
    }


def _write_data(folder: Path) -> None:
    profile = {
        "rows": 2000,
        "turns": 5210,
        "calls": 1840,
        "different_tools": 48,
        "different_tool_lists": 1312,
        "sources": {"made": 2000},
        "languages": {"en": 1000, "zh": 1000},
        "categories": {"single": 900, "parallel": 300, "no_tool": 400, "missing": 400},
        "frequent_tools": [
            {"name": "book_table", "calls": 320, "rows": 610},
            {"name": "find_recipe", "calls": 180, "rows": 590},
        ],
        "tokens": {
            "total": 1_204_332,
            "supervised": 161_204,
            "supervised_share": 0.134,
            "truncated": 12,
            "median": 577,
            "histogram": [
                {"from": 0, "to": 256, "rows": 310},
                {"from": 256, "to": 512, "rows": 1290},
                {"from": 512, "to": 1024, "rows": 400},
            ],
        },
        "samples": [
            {
                "id": "made-0001",
                "tokens": [["<user>", 0], ["订一桌", 0], ["好的</s>", 1], ["<script>", 1]],
            }
        ],
    }
    hits = [
        {
            "kind": "near_text",
            "training": "made-00412",
            "test": "single_tool-0013",
            "similarity": 0.81,
        }
    ]
    write_json(folder / "profile.json", profile)
    checked = {"training_rows": 2000, "test_cases": 300, "tool_names": 11}
    write_json(folder / "leakage.json", {"checked": checked, "hits": hits})
    write_json(folder / "mix.run.json", _run("mix_data", 0.4))
    write_json(folder / "run.json", _run("tokenize_data", 14.2))
    write_json(folder / "leakage.run.json", _run("check_leakage", 6.1))


def _write_training(results: Path, variant: str, seed: int, shape: Shape) -> None:
    folder = results / "training" / variant / f"s{seed}"
    draw = random.Random(f"{variant}{seed}")
    total = shape.log_points * 10
    log: list[dict[str, Any]] = [
        {
            "step": step,
            "epoch": round(3 * step / total, 3),
            "loss": round(0.25 + 1.9 * math.exp(-step / total * 5) + draw.gauss(0, 0.05), 4),
            "learning_rate": 2.5e-4 * (1 + math.cos(math.pi * step / total)),
            "grad_norm": round(
                0.6 + 0.5 * math.exp(-step / total * 3) + abs(draw.gauss(0, 0.15)), 4
            ),
        }
        for step in range(10, total + 1, 10)
    ]
    log += [{"step": total // 10 * tenth, "eval_loss": 2.0 / tenth} for tenth in range(1, 11)]
    log.append({"step": total, "epoch": 3.0, "train_loss": 0.41, "train_runtime": 412.6})
    write_json(folder / "trainer_state.json", {"global_step": total, "log_history": log})
    write_json(
        folder / "metrics.json",
        {
            "steps": total,
            "epochs": 3.0,
            "samples": 6000,
            "train_loss": 0.4122,
            "runtime_seconds": 412.6,
            "samples_per_second": 14.54,
            "steps_per_second": 2.91,
            "tokens_per_second": 8754.2,
            "trainable_parameters": 2_442_240,
            "total_parameters": 136_957_248,
            "tokens": 3_612_996,
            "computed_tokens": 3_650_110,
            "supervised_tokens": 483_612,
            "peak_memory_mb": 2210.5,
            "device": "cpu",
            "precision": "fp32",
            "packing": "plain",
        },
    )
    write_json(folder / "run.json", _run("train_adapter", 431.9, model_revision="12fd25f77366"))
    write_json(
        results / "merged" / variant / f"s{seed}" / "merge.json",
        {
            "changed_tensors": 210,
            "unchanged_tensors": 62,
            "largest_relative_change": 0.0871,
            "largest_logit_difference": 0.0000041,
            "rounding_logit_difference": 0.0041,
            "weights": "BF16",
            "tolerance": 0.0001,
            "prompts": 8,
            "identical_greedy": 8,
            "shards": 1,
            "bytes": 269_060_552,
        },
    )
    write_json(results / "merged" / variant / f"s{seed}" / "run.json", _run("merge_model", 8.4))
