"""Geometry of the page's figures; the templates draw them as inline SVG in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matinee.evaluation import significance
from matinee.evaluation.comparison import ALL, Pair, Result
from matinee.report.data import ReportData, SeedFiles
from matinee.report.language import Language, describe, number, percent, points

SMOOTHING = 0.7
LONGEST_LINE = 400


@dataclass(frozen=True)
class Mark:
    """A share with its 95 % interval, placed on the axis."""

    share: float
    x: float
    low: float
    high: float


@dataclass(frozen=True)
class CategoryRow:
    """One category before and after; `seeds` are the places of the single trainings."""

    label: str
    cases: int
    overall: bool
    y: float
    before: Mark
    after: Mark
    seeds: tuple[float, ...]
    finding: str
    text: str
    title: str


@dataclass(frozen=True)
class CategoryFigure:
    """The before/after figure of one variant on one suite."""

    width: float
    height: float
    left: float
    right: float
    top: float
    narrow: bool
    rows: tuple[CategoryRow, ...]
    ticks: tuple[tuple[float, str], ...]
    title: str
    description: str


def category_figure(
    data: ReportData, pair: Pair, suite: str, words: Language, narrow: bool
) -> CategoryFigure:
    """Rows per category under one row for all; `narrow` puts the label above its row."""
    overall = data.comparison.of(pair, suite)
    results = [overall, *data.comparison.categories_of(pair, suite)]
    left, right, width = (12.0, 276.0, 360.0) if narrow else (228.0, 832.0, 940.0)
    step = 54.0 if narrow else 38.0
    top = 34.0
    rows = []
    y = top + (30 if narrow else 18)
    for result in results:
        rows.append(_category_row(result, y, left, right, words))
        y += step + (12 if result.category == ALL else 0)
    ticks = tuple(
        (left + share * (right - left), percent(share)) for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return CategoryFigure(
        width=width,
        height=y - step + 26,
        left=left,
        right=right,
        top=top,
        narrow=narrow,
        rows=tuple(rows),
        ticks=ticks,
        title=words("figure.category_title", variant=pair.after[0].split("-tuned")[0], suite=suite),
        description=words("punctuation.sentences").join(row.title for row in rows),
    )


def _category_row(
    result: Result, y: float, left: float, right: float, words: Language
) -> CategoryRow:
    label = (
        words("figure.all_cases")
        if result.category == ALL
        else words.name("categories", result.category)
    )
    before, after = (
        _mark(share, result.cases, left, right) for share in (result.before, result.after)
    )
    sentence = words(
        "figure.row",
        label=label,
        before=percent(result.before),
        after=percent(result.after),
        points=points(result.difference.estimate),
        cases=result.cases,
        finding=describe(result, words),
    )
    seeds = result.after_seeds
    places = (seeds.low, seeds.high) if seeds.spread else ()
    return CategoryRow(
        label=label,
        cases=result.cases,
        overall=result.category == ALL,
        y=y,
        before=before,
        after=after,
        seeds=tuple(left + share * (right - left) for share in places),
        finding=result.finding,
        text=f"{result.before * 100:.0f} → {result.after * 100:.0f}",
        title=sentence,
    )


def _mark(share: float, cases: int, left: float, right: float) -> Mark:
    interval = significance.wilson(round(share * cases), cases)
    span = right - left
    return Mark(share, left + share * span, left + interval.low * span, left + interval.high * span)


@dataclass(frozen=True)
class CurveLine:
    """One line as an SVG path; `kind` is `raw` or `smooth`, `place` counts the seeds."""

    path: str
    kind: str
    place: int


@dataclass(frozen=True)
class CurveFigure:
    """One quantity over the steps of a variant's trainings."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    lines: tuple[CurveLine, ...]
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    title: str
    description: str


def curve_figure(
    trainings: Sequence[SeedFiles], key: str, label: str, words: Language, smooth: bool
) -> CurveFigure | None:
    """A small plot of one key of the trainer's log; None where no training logged it.

    Values of `eval_KEY`, measured on held-out rows now and then, are drawn as dots.
    """
    series = [points_ for run in trainings if (points_ := _points(run, key))]
    if not series:
        return None
    held_out = [point for run in trainings for point in _points(run, f"eval_{key}")]
    left, right, top, bottom = 52.0, 352.0, 14.0, 168.0
    last_step = max(x for line in series for x, _ in line)
    low, high, y_values = _nice_range([y for line in [*series, held_out] for _, y in line])
    lines = []
    for place, line in enumerate(series):
        shown = _thinned(line)
        for kind, values in (("raw", shown), ("smooth", _smoothed(shown) if smooth else [])):
            path = _path(values, last_step, low, high, (left, right, top, bottom))
            if path:
                lines.append(CurveLine(path, kind if smooth else "smooth", place))
    first, last = series[0][0][1], _smoothed(series[0])[-1][1]
    return CurveFigure(
        width=364.0,
        height=196.0,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        lines=tuple(sorted(lines, key=lambda line: line.kind)),
        dots=tuple(
            (left + x / max(1, last_step) * (right - left), _height(y, low, high, top, bottom))
            for x, y in held_out
        ),
        x_ticks=tuple(
            (left + share * (right - left), number(round(share * last_step)))
            for share in (0, 0.5, 1)
        ),
        y_ticks=tuple((_height(y, low, high, top, bottom), _tick(y)) for y in y_values),
        title=label,
        description=words(
            "figure.curve",
            label=label,
            first=number(first),
            last=number(last),
            steps=number(last_step),
        )
        + (_held_out_words(held_out, words) if held_out else ""),
    )


def _held_out_words(points_: Sequence[tuple[int, float]], words: Language) -> str:
    values = [value for _, value in points_]
    return words("punctuation.sentences") + words(
        "figure.held_out", first=number(values[0]), last=number(values[-1]), count=len(values)
    )


def _points(run: SeedFiles, key: str) -> list[tuple[int, float]]:
    return [
        (int(row["step"]), float(row[key]))
        for row in run.log
        if isinstance(row.get(key), int | float) and math.isfinite(row[key])
    ]


def _thinned(line: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most LONGEST_LINE points, each the mean of its neighbours."""
    size = max(1, math.ceil(len(line) / LONGEST_LINE))
    groups = [line[start : start + size] for start in range(0, len(line), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _smoothed(line: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """An exponential moving average whose start is not drawn towards zero."""
    found, sum_, weight = [], 0.0, 0.0
    for x, y in line:
        sum_ = SMOOTHING * sum_ + (1 - SMOOTHING) * y
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        found.append((x, sum_ / weight))
    return found


def _path(
    line: Sequence[tuple[int, float]],
    last_step: int,
    low: float,
    high: float,
    box: tuple[float, float, float, float],
) -> str:
    left, right, top, bottom = box
    return " ".join(
        f"{'L' if place else 'M'}{left + x / max(1, last_step) * (right - left):.1f} "
        f"{_height(y, low, high, top, bottom):.1f}"
        for place, (x, y) in enumerate(line)
    )


def _height(y: float, low: float, high: float, top: float, bottom: float) -> float:
    return bottom - (y - low) / (high - low) * (bottom - top)


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
    if value == 0:
        return "0"
    text = f"{value:.3g}"
    return text.replace("e-0", "e-").replace("-", "\u2212")
