"""The answer in three sentences: did it work, on what, and at what cost. Made from the numbers."""

from __future__ import annotations

from collections import Counter

from matinee.evaluation.comparison import Result
from matinee.report.data import ReportData
from matinee.report.language import Language, duration, p_text, percent
from matinee.report.sections import subject_label


def answer(data: ReportData, words: Language) -> list[str]:
    """Three sentences; the last is shorter where nothing was recorded."""
    return [_effect(data, words), _strengths(data, words), _cost(data, words)]


def _effect(data: ReportData, words: Language) -> str:
    parts = []
    for pair in data.pairs:
        if pair.kind != "training":
            continue
        for suite in data.suites:
            result = data.comparison.of(pair, suite)
            name = pair.before[0].removesuffix("-untuned")
            if len(data.suites) > 1:
                name = f"{name} ({suite})"
            parts.append(_effect_part(result, name, words))
    joined = words("punctuation.clauses").join(parts)
    return joined[0].upper() + joined[1:] + words("punctuation.stop")


def _effect_part(result: Result, name: str, words: Language) -> str:
    return words(
        f"answer.{result.finding}",
        variant=name,
        before=percent(result.before),
        after=percent(result.after),
        cases=result.cases,
        p=p_text(result.p_holm),
    )


def _strengths(data: ReportData, words: Language) -> str:
    """The best tuned subject's best and worst category, and its most frequent error."""
    tuned = [subject for subject in data.subjects if subject.kind == "tuned"]
    best = max(tuned, key=lambda subject: sum(v.success for v in data.verdicts(subject.id)))
    verdicts = data.verdicts(best.id)
    totals = Counter(verdict.category for verdict in verdicts)
    right = Counter(verdict.category for verdict in verdicts if verdict.success)
    ranked = sorted(totals, key=lambda name: right[name] / totals[name])
    low, high = ranked[0], ranked[-1]
    key = "answer.strengths" if right[high] else "answer.no_strength"
    text = words(
        key,
        subject=subject_label(best, words),
        high=words.name("categories", high),
        high_share=percent(right[high] / totals[high]),
        low=words.name("categories", low),
        low_share=percent(right[low] / totals[low]),
    )
    errors = Counter(verdict.error for verdict in verdicts if verdict.error)
    if errors:
        error, count = max(errors.items(), key=lambda item: (item[1], item[0]))
        text += words(
            "answer.errors",
            error=words.name("errors", error),
            count=count,
            total=sum(errors.values()),
        )
    return text + words("punctuation.stop")


def _cost(data: ReportData, words: Language) -> str:
    training = sum(float(run.metrics.get("runtime_seconds") or 0) for run in data.trainings)
    total = sum(run.wall_seconds for run in data.runs)
    memory = max((float(run.record.get("peak_memory_mb") or 0) for run in data.runs), default=0.0)
    devices = sorted({str(run.metrics.get("device", "?")).upper() for run in data.trainings})
    if not data.trainings:
        return words("answer.cost_unknown", total=duration(total, words))
    return words(
        "answer.cost",
        training=duration(training, words),
        device=" / ".join(devices),
        runs=len(data.trainings),
        total=duration(total, words),
        memory=f"{memory / 1000:.1f}",
    )
