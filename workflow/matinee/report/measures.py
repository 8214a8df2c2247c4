"""What lies beside the verdicts: measures of each subject, and its runs with other decoding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matinee.evaluation import significance
from matinee.evaluation.scoring.metrics import METRICS, Metrics, aggregate, seconds_per_case
from matinee.messages.transcripts import Verdict
from matinee.report.data import ReportData
from matinee.report.language import Language, number, percent

_DECLARED = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class MeasureRow:
    """One measure of every subject on one suite, put into words."""

    label: str
    meaning: str
    values: tuple[str, ...]


def measured(verdicts: Sequence[Verdict]) -> Metrics:
    """The metrics of a group of cases, rounded for files."""
    return {
        name: None if value is None else round(value, 6)
        for name, value in aggregate(verdicts).items()
    }


def testing_times(data: ReportData) -> dict[str, Any]:
    """Seconds per case, by subject and suite; the clock's, unlike everything else here."""
    return {
        subject.id: {
            suite: seconds_per_case(data.evaluated[subject.id, suite].verdicts)
            for suite in data.suites
        }
        for subject in data.subjects
    }


def decodings(data: ReportData) -> dict[str, Any]:
    """Per subject and suite, what its runs with other decoding gave; empty where there are none."""
    found: dict[str, Any] = {}
    for (subject, suite, decoding), verdicts in data.decoded.items():
        greedy = data.evaluated[subject, suite].verdicts
        values = _constrained(greedy, verdicts) if decoding == "constrained" else _sampled(verdicts)
        found.setdefault(subject, {}).setdefault(suite, {})[decoding] = values
    return found


def _constrained(greedy: Sequence[Verdict], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Counts, errors and metrics, and the cases that changed against the free run."""
    correct = sum(verdict.success for verdict in verdicts)
    interval = significance.wilson(correct, len(verdicts))
    before = {verdict.case: verdict.success for verdict in greedy}
    pairs = [(before[verdict.case], verdict.success) for verdict in verdicts]
    test = significance.mcnemar_exact(*map(list, zip(*pairs, strict=True)))
    return {
        "correct": correct,
        "total": len(verdicts),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
        "gained": test.gained,
        "lost": test.lost,
        "p": float(f"{test.p:.6g}"),
        "errors": dict(sorted(Counter(v.error for v in verdicts if v.error).items())),
        "metrics": measured(verdicts),
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


def measure_rows(data: ReportData, suite: str, words: Language) -> list[MeasureRow]:
    """Every measure that any subject has on a suite; what was not measured is a dash."""
    columns = [_column(data, subject.id, suite) for subject in data.subjects]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = []
    for name in names:
        values = [column.get(name) for column in columns]
        if any(value is not None for value in values):
            shown = tuple(_shown(name, value) for value in values)
            rows.append(MeasureRow(*_titles(name, words), shown))
    return rows


def _column(data: ReportData, subject: str, suite: str) -> Metrics:
    column = aggregate(data.evaluated[subject, suite].verdicts)
    run = decodings(data).get(subject, {}).get(suite, {})
    if "constrained" in run:
        column["constrained"] = run["constrained"]["correct"] / run["constrained"]["total"]
    for k, share in run.get("sampled", {}).get("pass_hat", {}).items():
        column[f"pass_hat^{k}"] = share
    return column


def _titles(name: str, words: Language) -> tuple[str, str]:
    """A measure's name and meaning: a declared metric's own, else a decoding's."""
    if name in _DECLARED:
        return _DECLARED[name].titles(words.code)
    key, _, power = name.partition("^")
    title = words(f"measures.{key}", k=power) if power else words(f"measures.{key}")
    return title, words(f"measure_meanings.{key}")


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    share = name not in _DECLARED or _DECLARED[name].share
    return percent(value) if share else number(float(value))
