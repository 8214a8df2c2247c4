"""`summary.json`: the run's numbers for programs; its keys are described in docs/summary.md."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matinee.evaluation import significance
from matinee.evaluation.comparison import ALL, DUE, HEADLINE, QUIET, Result, is_due
from matinee.evaluation.scoring.metrics import Metrics, aggregate, seconds_per_case
from matinee.evaluation.scripted import FLOOR
from matinee.messages.transcripts import Verdict
from matinee.report.collect import ReportData
from matinee.report.formats import format_values
from matinee.runtime.records import write_json

SCHEMA = 2
# What a training's metrics say about its result; the other keys tell of the machine and the clock.
RESULT_KEYS = (
    *("steps", "epochs", "samples", "train_loss", "trainable_parameters", "total_parameters"),
    *("tokens", "supervised_tokens", "packing", "precision"),
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
        "training": {v.id: _training(data, v.id) for v in data.configuration.tested},
        **({"sweep": data.choice} if data.choice else {}),
        "evaluation": {
            subject.id: {
                suite: {
                    name: _count(group)
                    for name, group in grouped(data.evaluated[subject.id, suite].verdicts).items()
                }
                for suite in data.suites
            }
            for subject in data.subjects
        },
        "floor": {suite: _floor(data, suite) for suite in data.suites},
        "decoding": decodings(data),
        "formats": format_values(data),
        "headlines": [
            {
                "variant": pair.name,
                "suite": suite,
                "headline": data.comparison.headline(pair, suite),
            }
            for pair, suite in data.training_claims()
        ],
        "comparisons": [_comparison(result) for result in data.comparison.results],
        "outcomes": {suite: _outcomes(data, suite) for suite in data.suites},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "stages": [
            {"stage": run.stage, "artefact": run.artefact, "wall_seconds": run.wall_seconds}
            for run in data.runs
        ],
        "runtime": {
            f"{run.variant}/s{run.seed}": {
                key: value for key, value in run.metrics.items() if key not in RESULT_KEYS
            }
            for run in data.trainings
        },
        "testing": {
            subject.id: {
                suite: seconds_per_case(data.evaluated[subject.id, suite].verdicts)
                for suite in data.suites
            }
            for subject in data.subjects
        },
        "machine": {
            key: values[0] if len(values) == 1 else values
            for key, values in data.recorded("versions", "hardware").items()
        },
    }


def _training(data: ReportData, variant: str) -> dict[str, Any]:
    """The first seed's results on top, `train_loss` averaged over seeds, each seed in `seeds`."""
    runs = data.trainings_of(variant)
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


def grouped(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """All verdicts, those on cases in which something is due, the others, and each category's."""
    groups: dict[str, list[Verdict]] = {ALL: list(verdicts), **{name: [] for name in HEADLINE}}
    for verdict in verdicts:
        groups[DUE if is_due(verdict) else QUIET].append(verdict)
        groups.setdefault(verdict.category, []).append(verdict)
    return {name: group for name, group in groups.items() if group}


def counted(group: Sequence[Verdict]) -> dict[str, Any]:
    """Right cases of a group, and Wilson's interval of their share."""
    correct = sum(verdict.success for verdict in group)
    interval = significance.wilson(correct, len(group))
    return {
        "correct": correct,
        "total": len(group),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
    }


def _count(group: Sequence[Verdict]) -> dict[str, Any]:
    errors = Counter(verdict.error for verdict in group if verdict.error)
    return counted(group) | {"errors": dict(sorted(errors.items())), "metrics": measured(group)}


def measured(verdicts: Sequence[Verdict]) -> Metrics:
    """The metrics of a group of cases, rounded for files."""
    return {
        name: None if value is None else round(value, 6)
        for name, value in aggregate(verdicts).items()
    }


def _floor(data: ReportData, suite: str) -> dict[str, Any]:
    """Shares of right cases per agent that understands nothing, and group of cases."""
    groups = grouped(data.evaluated[data.subjects[0].id, suite].verdicts)
    return {
        agent: {
            name: None if share is None else round(share, 6)
            for name in groups
            for share in [data.floor_share(suite, agent, name)]
        }
        for agent in FLOOR
    }


def decodings(data: ReportData) -> dict[str, Any]:
    """Per subject and suite, what its runs with other decoding gave; empty where there are none."""
    found: dict[str, Any] = {}
    for subject, suite, verdicts in data.decoded:
        free = replace(subject, decoding="greedy").id
        if subject.decoding == "constrained":
            values = _constrained(data.evaluated[free, suite].verdicts, verdicts)
        else:
            values = _sampled(verdicts)
        found.setdefault(free, {}).setdefault(suite, {})[subject.decoding] = values
    return found


def _constrained(greedy: Sequence[Verdict], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Counts, errors and metrics, and the cases that changed against the free run."""
    free = {verdict.case: verdict.success for verdict in greedy}
    before, after = [free[v.case] for v in verdicts], [v.success for v in verdicts]
    flips = list(zip(before, after, strict=True))
    families = [verdict.family for verdict in verdicts]
    p = significance.paired_difference([before], [after], families).p
    return _count(verdicts) | {
        "gained": flips.count((False, True)),
        "lost": flips.count((True, False)),
        "p": float(f"{p:.6g}"),
    }


def _sampled(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """pass^k for every k up to the number of runs."""
    right: Counter[str] = Counter({verdict.case: 0 for verdict in verdicts})
    right.update(verdict.case for verdict in verdicts if verdict.success)
    runs = len(verdicts) // len(right)
    counts = list(right.values())
    return {
        "cases": len(right),
        "repeats": runs,
        "pass_hat": {
            str(k): round(significance.pass_hat_k(counts, runs, k), 6) for k in range(1, runs + 1)
        },
        "metrics": measured(verdicts),
    }


def _comparison(result: Result) -> dict[str, Any]:
    difference = result.difference
    limit = result.detectable
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
        "before_seeds": [round(share, 6) for share in result.before_seeds],
        "after_seeds": [round(share, 6) for share in result.after_seeds],
        "seed_spread": round(result.spread, 6),
        "difference": round(difference.estimate, 6),
        "low": round(difference.low, 6),
        "high": round(difference.high, 6),
        "gained": round(result.gained, 6),
        "lost": round(result.lost, 6),
        "p": float(f"{difference.p:.6g}"),
        "p_holm": float(f"{result.p_holm:.6g}"),
        "cohens_h": round(significance.cohens_h(result.before, result.after), 6),
        "odds_ratio": round(significance.odds_ratio(result.gained, result.lost), 6),
        "detectable": None if limit is None else round(limit, 4),
        "finding": result.finding,
    }


def _outcomes(data: ReportData, suite: str) -> dict[str, Any]:
    """Right (1) or wrong (0) per case, one string per subject, in the order of `cases`."""
    first = data.evaluated[data.subjects[0].id, suite].verdicts
    marks = {}
    for subject in data.subjects:
        verdicts = data.evaluated[subject.id, suite].verdicts
        success = {(one.case, one.repeat): one.success for one in verdicts}
        marks[subject.id] = _flags(success[one.case, one.repeat] for one in first)
    return {
        "cases": [f"{one.case}#{one.repeat}" if one.repeat else one.case for one in first],
        "categories": [verdict.category for verdict in first],
        "due": _flags(map(is_due, first)),
        "families": [verdict.family for verdict in first],
        "subjects": marks,
    }


def _flags(values: Iterable[bool]) -> str:
    return "".join("1" if value else "0" for value in values)
