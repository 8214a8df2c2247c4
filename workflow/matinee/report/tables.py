"""The run's numbers as tidy tables, each as CSV and as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from matinee.config.subjects import Subject
from matinee.evaluation.scoring.metrics import aggregate, seconds_per_case
from matinee.messages.details import said
from matinee.report.collect import Evaluated, ReportData
from matinee.report.summary import counted, grouped, summary
from matinee.runtime.records import whole

LOG_KEYS = ("step", "epoch", "loss", "learning_rate", "grad_norm")


def write_tables(data: ReportData, folder: Path) -> None:
    """Writes `cases`, `accuracy`, `metrics`, `comparisons`, `training_log` and `stages`.

    Each as .csv and .parquet. The folder appears whole or not at all.
    """
    import pandas as pd

    tables = {
        "cases": list(case_rows(data)),
        "accuracy": list(accuracy_rows(data)),
        "metrics": list(_metrics(data)),
        "comparisons": list(_comparisons(data)),
        "training_log": list(_training_log(data)),
        "stages": list(_stages(data)),
    }
    with whole(folder) as beside:
        beside.mkdir()
        for name, rows in tables.items():
            frame = pd.DataFrame(rows)
            frame.to_csv(beside / f"{name}.csv", index=False)
            frame.to_parquet(beside / f"{name}.parquet", index=False)


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "subject": subject.id,
        "kind": subject.kind,
        "variant": subject.name if subject.variant else None,
        "seed": subject.seed,
    }


def case_rows(data: ReportData) -> Iterator[dict[str, Any]]:
    """One row per subject and case: right or wrong, why, and what it took."""
    keys = ("case", "repeat", "category", "family", "success", "error")
    for subject in data.subjects:
        for suite in data.suites:
            evaluated = data.evaluated[subject.id, suite]
            costs = _costs(evaluated)
            for verdict in evaluated.verdicts:
                yield {
                    **_subject(subject),
                    "suite": suite,
                    **{key: getattr(verdict, key) for key in keys},
                    "detail": said(verdict.detail),
                    **costs.get((verdict.case, verdict.repeat), {}),
                }


def _costs(evaluated: Evaluated) -> dict[tuple[str, int], dict[str, Any]]:
    return {
        (row.case, row.repeat): {
            "stop": row.stop,
            "steps": len(row.steps),
            "calls": sum(len(step.parse.calls) for step in row.steps),
            "prompt_tokens": sum(step.prompt_tokens for step in row.steps),
            "completion_tokens": sum(step.completion_tokens for step in row.steps),
            "seconds": round(sum(step.seconds for step in row.steps), 4),
        }
        for row in evaluated.transcripts
    }


def accuracy_rows(data: ReportData) -> Iterator[dict[str, Any]]:
    """One row per subject and group of cases: the share of right ones with its interval."""
    for subject in data.subjects:
        for suite in data.suites:
            for name, group in grouped(data.evaluated[subject.id, suite].verdicts).items():
                counts = counted(group)
                yield {
                    **_subject(subject),
                    "suite": suite,
                    "category": name,
                    "share": counts["correct"] / counts["total"],
                    **counts,
                }


def _metrics(data: ReportData) -> Iterator[dict[str, Any]]:
    """Every subject's run, and its runs with other decoding, on each suite."""
    greedy = [
        (subject, suite, data.evaluated[subject.id, suite].verdicts)
        for subject in data.subjects
        for suite in data.suites
    ]
    for subject, suite, verdicts in (*greedy, *data.decoded):
        yield {
            **_subject(replace(subject, decoding="greedy")),
            "suite": suite,
            "decoding": subject.decoding,
            "correct": sum(verdict.success for verdict in verdicts),
            "total": len(verdicts),
            **aggregate(verdicts),
            "seconds_per_case": seconds_per_case(verdicts),
        }


def _comparisons(data: ReportData) -> Iterator[dict[str, Any]]:
    for row in summary(data)["comparisons"]:
        joined = {key: "+".join(row[key]) for key in ("before", "after")}
        lists = {key: " ".join(map(str, row[key])) for key in ("before_seeds", "after_seeds")}
        yield row | joined | lists


def _training_log(data: ReportData) -> Iterator[dict[str, Any]]:
    for run in data.trainings:
        for entry in run.log:
            if "loss" in entry:
                place = {"variant": run.variant, "seed": run.seed}
                yield place | {key: entry.get(key) for key in LOG_KEYS}


def _stages(data: ReportData) -> Iterator[dict[str, Any]]:
    for run in data.runs:
        yield {
            "stage": run.stage,
            "artefact": run.artefact,
            "started": run.record.get("started"),
            "wall_seconds": run.wall_seconds,
            "peak_memory_mb": run.record.get("peak_memory_mb"),
        }
