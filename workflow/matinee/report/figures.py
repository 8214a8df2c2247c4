"""What the page's figures draw: shares as places on a line, and curves as SVG paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matinee.evaluation import significance
from matinee.evaluation.comparison import HEADLINE, Pair, Result
from matinee.report.collect import ReportData, SeedFiles
from matinee.report.words import Language, describe, number, percent, points
from matinee.training.curves import log_points, smoothed

LONGEST_LINE = 400
# The curves' box: width, height, and the sides of the plot in it.
WIDTH, HEIGHT = 364.0, 196.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 352.0, 14.0, 168.0


class ShareRow(NamedTuple):
    """One group of cases before and after, for a line from 0 to 1.

    `floor`: the largest share that an agent gets that understands nothing. `sentence` says the
    row in words.
    """

    result: Result
    label: str
    before: significance.Interval
    after: significance.Interval
    floor: float
    sentence: str


def share_rows(
    data: ReportData, pair: Pair, suite: str, words: Language, *, categories: bool
) -> list[ShareRow]:
    """The cases in which something is due, those to be left alone, and every category if asked."""
    results = data.comparison.headline_of(pair, suite)
    if categories:
        results += data.comparison.categories_of(pair, suite)
    return [_share_row(data, result, words) for result in results]


def _share_row(data: ReportData, result: Result, words: Language) -> ShareRow:
    label = words.group(result.category)
    return ShareRow(
        result=result,
        label=label,
        before=significance.wilson(result.before * result.cases, result.cases),
        after=significance.wilson(result.after * result.cases, result.cases),
        floor=data.floor_of(result.suite, result.category) or 0.0,
        sentence=words(
            "figure.row",
            label=label,
            before=percent(result.before),
            after=percent(result.after),
            points=points(result.difference.estimate),
            cases=result.cases,
            finding=describe(result, words),
        ),
    )


def is_headline(row: ShareRow) -> bool:
    """Whether a row is one of the two that the answer speaks of."""
    return row.result.category in HEADLINE


class CurveFigure(NamedTuple):
    """One quantity over the steps of a variant's trainings.

    `lines`: kind (`raw` or `smooth`), number of the seed, SVG path.
    """

    lines: tuple[tuple[str, int, str], ...]
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    title: str
    description: str


Points = Sequence[tuple[int, float]]


def curve_figure(
    trainings: Sequence[SeedFiles], key: str, words: Language, *, smooth: bool
) -> CurveFigure | None:
    """A small plot of one key of the trainer's log; None where no training logged it.

    Values of `eval_KEY`, measured on held-out rows now and then, are drawn as dots.
    """
    series = [line for run in trainings if (line := log_points(run.log, key))]
    if not series:
        return None
    held_out = [point for run in trainings for point in log_points(run.log, f"eval_{key}")]
    last_step = max(x for line in series for x, _ in line)
    low, high, y_values = _nice_range([y for line in [*series, held_out] for _, y in line])

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / max(1, last_step) * (RIGHT - LEFT)
        return across, BOTTOM - (y - low) / (high - low) * (BOTTOM - TOP)

    def path(line: Points) -> str:
        return "M" + "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in line)

    shown = [_thinned(line) for line in series]
    lines = [("raw" if smooth else "smooth", seed, path(line)) for seed, line in enumerate(shown)]
    if smooth:
        lines += [("smooth", seed, path(smoothed(line))) for seed, line in enumerate(shown)]
    label = words(f"curves.{key}")
    ends = {"first": number(series[0][0][1]), "last": number(smoothed(series[0])[-1][1])}
    told = [words("figure.curve", label=label, steps=number(last_step), **ends)]
    if held_out:
        ends = {"first": number(held_out[0][1]), "last": number(held_out[-1][1])}
        told.append(words("figure.held_out", count=len(held_out), **ends))
    return CurveFigure(
        lines=tuple(lines),
        dots=tuple(place(x, y) for x, y in held_out),
        x_ticks=tuple(
            (place(share * last_step, 0)[0], number(round(share * last_step)))
            for share in (0, 0.5, 1)
        ),
        y_ticks=tuple((place(0, y)[1], _tick(y)) for y in y_values),
        title=label,
        description=words("punctuation.sentences").join(told),
    )


def _thinned(line: Points) -> Points:
    """At most LONGEST_LINE points, each the mean of its neighbours."""
    size = math.ceil(len(line) / LONGEST_LINE)
    groups = [line[start : start + size] for start in range(0, len(line), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _nice_range(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """From zero (or below) to a round number above the largest value, and the ticks between."""
    high, low = max(values), min(0.0, min(values))
    if high <= low:
        high = low + 1.0
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step * 0.9999)
    return first * step, last * step, [tick * step for tick in range(first, last + 1)]


def _tick(value: float) -> str:
    return f"{value:.3g}".replace("e-0", "e-").replace("-", "\u2212") if value else "0"
