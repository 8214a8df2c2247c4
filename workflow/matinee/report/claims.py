"""The answer in three sentences: did it work, on what, and at what cost. Made from the numbers."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from matinee.evaluation import significance
from matinee.evaluation.comparison import DUE, QUIET, Pair, Result
from matinee.report.collect import ReportData, StageRun
from matinee.report.words import Language, duration, p_text, percent


def answer(data: ReportData, words: Language) -> list[str]:
    """What training did to every variant, on what, and what it cost; a sentence or two each."""
    effects = [_effect(data, pair, suite, words) for pair, suite in data.training_claims()]
    return [*effects, *_strengths(data, words), _cost(data, words)]


def name_of(data: ReportData, pair: Pair, suite: str) -> str:
    """The variant; where there are several suites, with the suite's name."""
    return f"{pair.name} · {suite}" if len(data.suites) > 1 else pair.name


def _effect(data: ReportData, pair: Pair, suite: str, words: Language) -> str:
    """The verdict, then the cases where something is due, then those to be left alone."""
    verdict = data.comparison.headline(pair, suite)
    parts = [_group(result, words) for result in data.comparison.headline_of(pair, suite)]
    told = words(
        "answer.effect",
        verdict=words(f"answer.{verdict}", name=name_of(data, pair, suite)),
        groups=words.listed(parts),
    )
    due = data.comparison.of(pair, suite, DUE)
    return told + _against_floor(data, due, words) if due else told


def _group(result: Result, words: Language) -> str:
    seeds = ""
    if result.spread:
        shares = words("punctuation.comma").join(percent(share) for share in result.after_seeds)
        seeds = words("answer.seeds_each", shares=shares)
    return words(
        f"answer.{result.category}",
        cases=result.cases,
        before=percent(result.before),
        after=percent(result.after),
        seeds=seeds,
        p="" if result.finding == "few" else Markup(f" <small>({p_text(result.p_holm)})</small>"),
    )


def _against_floor(data: ReportData, due: Result, words: Language) -> str:
    """What an agent that understands nothing gets of the same cases, and whether that is less."""
    floor = data.comparison.floors[due.suite]
    if due.after <= floor:
        key = "at_floor" if due.before <= floor else "below_floor"
        return words(f"answer.{key}", floor=percent(floor))
    quiet = data.floor_of(due.suite, QUIET)
    told = "" if quiet is None else words("answer.quiet_floor", floor=percent(quiet))
    return words("answer.above_floor", floor=percent(floor), quiet=told)


def _strengths(data: ReportData, words: Language) -> list[str]:
    """The best variant's best and worst category where that can be told, and its usual fault."""
    due = [data.comparison.of(*claim, DUE) for claim in data.training_claims()]
    claims = [one for one in due if one is not None]
    best = max((one.after for one in claims), default=0.0)
    if claims and best == 0:
        return [words("answer.no_strength")]
    leading = [one for one in claims if one.after == best]
    if len(leading) != 1:
        return []
    pair, suite = leading[0].pair, leading[0].suite
    name = name_of(data, pair, suite)
    told = []
    ends = strongest_and_weakest(data.comparison.categories_of(pair, suite))
    if ends is not None:
        high, low = ends
        told.append(
            words(
                "answer.strengths",
                name=name,
                high=words.group(high.category),
                high_share=percent(high.after),
                low=words.group(low.category),
                low_share=percent(low.after),
            )
        )
    verdicts = [one for subject in pair.after for one in data.evaluated[subject, suite].verdicts]
    wrong = [verdict.error for verdict in verdicts if verdict.error]
    errors = Counter(wrong).most_common(2)
    if errors and (len(errors) == 1 or errors[0][1] > errors[1][1]):
        error, count = errors[0]
        told.append(
            words(
                "answer.errors",
                name=name,
                error=words.name("errors", error),
                meaning=words.name("error_meanings", error),
                count=count,
                total=len(wrong),
            )
        )
    return [words("punctuation.sentences").join(told)] if told else []


def strongest_and_weakest(categories: Sequence[Result]) -> tuple[Result, Result] | None:
    """The categories with the largest and the smallest share after training.

    None where fewer than two have enough families, or where these two do not differ beyond chance.
    """
    enough = sorted(
        (one for one in categories if one.families >= significance.FEWEST_FAMILIES),
        key=lambda one: one.after,
    )
    if len(enough) < 2:
        return None
    low, high = enough[0], enough[-1]
    gap = significance.independent_difference(
        (low.after, low.families), (high.after, high.families)
    )
    return (high, low) if gap.low > 0 else None


def _cost(data: ReportData, words: Language) -> str:
    summed = sum(run.wall_seconds for run in data.runs)
    memory = max((run.memory_mb for run in data.runs), default=0.0)
    devices = sorted({str(run.metrics.get("device", "?")).upper() for run in data.trainings})
    times = {
        "elapsed": duration(elapsed(data.runs) or summed, words),
        "total": duration(summed, words),
    }
    if not data.trainings:
        return words("answer.cost_unknown", **times)
    training = sum(float(run.metrics.get("runtime_seconds") or 0) for run in data.trainings)
    return words(
        "answer.cost",
        training=duration(training, words),
        device=" / ".join(devices),
        runs=len(data.trainings),
        memory=f"{memory / 1000:.1f}",
        **times,
    )


def elapsed(runs: Sequence[StageRun]) -> float:
    """Seconds in which at least one stage was at work: side by side counts once, pauses not."""
    spans = sorted(span for run in runs if (span := span_of(run)))
    busy = end = 0.0
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return busy


def span_of(run: StageRun) -> tuple[float, float] | None:
    """When a stage began and ended, in seconds since 1970; None where its record does not say."""
    try:
        start = datetime.datetime.fromisoformat(str(run.record["started"])).timestamp()
    except (KeyError, ValueError):
        return None
    return start, start + run.wall_seconds
