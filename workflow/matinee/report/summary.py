"""`summary.json`: the run's numbers for programs; its keys are described in docs/summary.md."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from matinee.evaluation import significance
from matinee.evaluation.comparison import ALL, Result
from matinee.messages.transcripts import Verdict
from matinee.report.data import ReportData, SeedFiles
from matinee.report.measures import decodings, measured, testing_times
from matinee.runtime.records import write_json

SCHEMA = 1
# What a training's metrics say about its result; the other keys tell of the machine and the clock.
RESULT_KEYS = (
    "steps",
    "epochs",
    "samples",
    "train_loss",
    "trainable_parameters",
    "total_parameters",
    "tokens",
    "supervised_tokens",
    "packing",
    "precision",
)


def write_summary(data: ReportData, path: Path) -> None:
    """Writes the summary, whole or not at all."""
    write_json(path, summary(data))


def summary(data: ReportData) -> dict[str, Any]:
    """The summary's content.

    `created`, `stages`, `runtime`, `testing` and `machine` depend on the clock or the machine;
    everything else is the same for the same configuration and seeds.
    """
    return {
        "schema": SCHEMA,
        "title": data.configuration.report.title,
        "training": {v.id: _training(data, v.id) for v in data.configuration.variants},
        "evaluation": {
            subject.id: {
                suite: _counts(data.evaluated[subject.id, suite].verdicts) for suite in data.suites
            }
            for subject in data.subjects
        },
        "decoding": decodings(data),
        "comparisons": [
            _comparison(result)
            for result in (*data.comparison.overall, *data.comparison.categories)
        ],
        "outcomes": {suite: _outcomes(data, suite) for suite in data.suites},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "stages": [
            {"stage": run.stage, "artefact": run.artefact, "wall_seconds": run.wall_seconds}
            for run in data.runs
        ],
        "runtime": {f"{run.variant}/s{run.seed}": _runtime(run) for run in data.trainings},
        "testing": testing_times(data),
        "machine": _machine(data),
    }


def _training(data: ReportData, variant: str) -> dict[str, Any]:
    """The first seed's results on top, `train_loss` averaged over seeds, each seed in `seeds`."""
    runs = [run for run in data.trainings if run.variant == variant]
    seeds = {
        f"s{run.seed}": {key: run.metrics[key] for key in RESULT_KEYS if key in run.metrics}
        for run in runs
    }
    found: dict[str, Any] = {"model": data.configuration.variant(variant).model}
    if runs:
        found |= seeds[f"s{runs[0].seed}"]
        losses = [float(run.metrics["train_loss"]) for run in runs if "train_loss" in run.metrics]
        if losses:
            found["train_loss"] = sum(losses) / len(losses)
    return found | {"seeds": seeds}


def _counts(verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
    categories = dict.fromkeys(verdict.category for verdict in verdicts)
    groups = {ALL: list(verdicts)} | {
        name: [verdict for verdict in verdicts if verdict.category == name] for name in categories
    }
    return {name: _count(group) for name, group in groups.items()}


def _count(group: list[Verdict]) -> dict[str, Any]:
    correct = sum(verdict.success for verdict in group)
    interval = significance.wilson(correct, len(group))
    errors = Counter(verdict.error for verdict in group if verdict.error)
    return {
        "correct": correct,
        "total": len(group),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
        "errors": dict(sorted(errors.items())),
        "metrics": measured(group),
    }


def _comparison(result: Result) -> dict[str, Any]:
    return {
        "kind": result.pair.kind,
        "before": list(result.pair.before),
        "after": list(result.pair.after),
        "suite": result.suite,
        "category": result.category,
        "cases": result.cases,
        "families": result.families,
        "before_share": round(result.before, 6),
        "after_share": round(result.after, 6),
        "seed_spread": round(result.after_seeds.spread, 6),
        "difference": round(result.difference.estimate, 6),
        "low": round(result.difference.low, 6),
        "high": round(result.difference.high, 6),
        "gained": result.gained,
        "lost": result.lost,
        "p": float(f"{result.p:.6g}"),
        "p_holm": float(f"{result.p_holm:.6g}"),
        "cohens_h": round(result.effect.cohens_h, 6),
        "odds_ratio": round(result.effect.odds_ratio, 6),
        "detectable": None if result.detectable is None else round(result.detectable, 4),
        "finding": result.finding,
    }


def _outcomes(data: ReportData, suite: str) -> dict[str, Any]:
    """Right (1) or wrong (0) per case, one string per subject, in the order of `cases`."""
    first = data.evaluated[data.subjects[0].id, suite].verdicts
    keys = [(verdict.case, verdict.repeat) for verdict in first]
    return {
        "cases": [f"{case}#{repeat}" if repeat else case for case, repeat in keys],
        "categories": [verdict.category for verdict in first],
        "families": [verdict.family for verdict in first],
        "subjects": {
            subject.id: _marks(data.evaluated[subject.id, suite].verdicts, keys)
            for subject in data.subjects
        },
    }


def _marks(verdicts: tuple[Verdict, ...], keys: list[tuple[str, int]]) -> str:
    success = {(verdict.case, verdict.repeat): verdict.success for verdict in verdicts}
    return "".join("1" if success[key] else "0" for key in keys)


def _runtime(run: SeedFiles) -> dict[str, Any]:
    return {key: value for key, value in run.metrics.items() if key not in RESULT_KEYS}


def _machine(data: ReportData) -> dict[str, Any]:
    """Versions and hardware of the stages, each distinct value once."""
    found: dict[str, list[Any]] = {}
    for run in data.runs:
        facts = {**(run.record.get("versions") or {}), **(run.record.get("hardware") or {})}
        for key, value in facts.items():
            known = found.setdefault(key, [])
            if value not in known:
                known.append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in sorted(found.items())}
