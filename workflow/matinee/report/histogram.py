"""The lengths of a variant's training rows, as bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matinee.report.language import Language, number

WIDTH, HEIGHT = 364.0, 122.0
LEFT, TOP = 2.0, 18.0
GAP = 2.0


@dataclass(frozen=True)
class Bar:
    """Rows of one range of lengths; `title` says it in words."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """The figure. `peak`: rows of the highest bar.

    `ticks`: places below it, as shares of its width, and their texts; they are no part of the
    drawing, which is scaled, so that they keep the size of other small text.
    """

    width: float
    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    peak: str
    description: str


def histogram(profile: dict[str, Any], words: Language) -> Histogram | None:
    """Rows by tokens; ranges before the first row and after the last are left out."""
    tokens = profile.get("tokens") or {}
    buckets = list(tokens.get("histogram") or [])
    while buckets and not buckets[0]["rows"]:
        del buckets[0]
    while buckets and not buckets[-1]["rows"]:
        del buckets[-1]
    if not buckets:
        return None
    most = max(bucket["rows"] for bucket in buckets)
    step = (WIDTH - 2 * LEFT) / len(buckets)
    bars = tuple(
        _bar(place * step + LEFT, step - GAP, bucket, most, words)
        for place, bucket in enumerate(buckets)
    )
    edges = [bucket["from"] for bucket in buckets] + [buckets[-1]["to"]]
    chosen = sorted({0, len(buckets) // 2, len(buckets)})
    return Histogram(
        width=WIDTH,
        height=HEIGHT,
        bars=bars,
        ticks=tuple(((LEFT + place * step) / WIDTH, number(edges[place])) for place in chosen),
        peak=words("figure.peak", rows=number(most)),
        description=words(
            "figure.lengths",
            rows=number(sum(bucket["rows"] for bucket in buckets)),
            low=number(edges[0]),
            high=number(edges[-1]),
            median=number(tokens.get("median")),
        ),
    )


def _bar(x: float, width: float, bucket: dict[str, Any], most: int, words: Language) -> Bar:
    height = bucket["rows"] / most * (HEIGHT - TOP)
    title = words(
        "figure.bucket",
        low=number(bucket["from"]),
        high=number(bucket["to"] - 1),
        rows=number(bucket["rows"]),
    )
    return Bar(x, HEIGHT - height, width, height, title)
