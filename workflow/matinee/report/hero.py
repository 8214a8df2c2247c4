"""The one figure that can be read from across a room: all cases before and after, per variant."""

from __future__ import annotations

from dataclasses import dataclass

from matinee.evaluation import significance
from matinee.report.data import ReportData
from matinee.report.language import Language, describe, percent, points

ROW = 118.0
LEFT = 0.0
# Width of the figure, and where 100 % is: beside it stand the two figures.
WIDE, NARROW = (940.0, 760.0), (360.0, 248.0)


@dataclass(frozen=True)
class HeroRow:
    """A variant on a suite: two bars with their intervals, and the two shares in figures."""

    label: str
    y: float
    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    before_text: str
    after_text: str
    finding: str
    title: str


@dataclass(frozen=True)
class Hero:
    """The figure. `right`: where 100 % is."""

    width: float
    height: float
    left: float
    right: float
    rows: tuple[HeroRow, ...]
    description: str


def hero_figure(data: ReportData, words: Language, narrow: bool) -> Hero:
    """One row per variant and suite; `narrow` is for a telephone."""
    width, right = NARROW if narrow else WIDE
    wanted = [
        (pair, suite) for pair in data.pairs if pair.kind == "training" for suite in data.suites
    ]
    rows = []
    for place, (pair, suite) in enumerate(wanted):
        result = data.comparison.of(pair, suite)
        name = pair.before[0].removesuffix("-untuned")
        label = f"{name} · {suite}" if len(data.suites) > 1 else name
        rows.append(
            HeroRow(
                label=label,
                y=place * ROW,
                before=_place(result.before, right),
                after=_place(result.after, right),
                before_interval=_interval(result.before, result.cases, right),
                after_interval=_interval(result.after, result.cases, right),
                before_text=percent(result.before),
                after_text=percent(result.after),
                finding=result.finding,
                title=words(
                    "figure.row",
                    label=label,
                    before=percent(result.before),
                    after=percent(result.after),
                    points=points(result.difference.estimate),
                    cases=result.cases,
                    finding=describe(result, words),
                ),
            )
        )
    return Hero(
        width=width,
        height=len(rows) * ROW - 14,
        left=LEFT,
        right=right,
        rows=tuple(rows),
        description=words("punctuation.sentences").join(row.title for row in rows),
    )


def _place(share: float, right: float) -> float:
    return LEFT + share * (right - LEFT)


def _interval(share: float, cases: int, right: float) -> tuple[float, float]:
    found = significance.wilson(round(share * cases), cases)
    return _place(found.low, right), _place(found.high, right)
