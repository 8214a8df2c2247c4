"""The page's words: both languages from one table, numbers and findings put into words."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.evaluation.comparison import Result
from matinee.messages.transcripts import Detail
from matinee.report.details import in_chinese, said

STRINGS = Path(__file__).with_name("strings.yaml")


@dataclass(frozen=True)
class Language:
    """One language of the page. `code` is `en` or `zh`."""

    code: str
    strings: dict[str, Any]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key such as `cases.search`, with `{names}` filled in.

        Raises KeyError for a key that the table does not have.
        """
        entry: Any = self.strings
        for part in key.split("."):
            entry = entry[part]
        return str(entry).format(**values) if values else str(entry)

    def name(self, group: str, key: str) -> str:
        """The shown name of a category, error class or profile key; the key itself if unknown."""
        found = self.strings[group].get(key)
        return str(found) if found is not None else key.replace("_", " ")

    def detail(self, told: Detail | str) -> str:
        """What a verdict says, or what a parser wrote in English, in this language."""
        if isinstance(told, Detail):
            return said(told, self.code)
        return in_chinese(told) if self.code == "zh" else told

    def block(self, group: str) -> dict[str, str]:
        """All texts of one group, for the page's script."""
        return dict(self.strings[group])


@functools.cache
def _table() -> dict[str, Any]:
    import yaml

    loaded = yaml.load(STRINGS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return {code: {key: _of(code, value) for key, value in loaded.items()} for code in ("en", "zh")}


def _of(code: str, value: Any) -> Any:
    """One language's half of the table: a leaf is `{en: …, zh: …}`."""
    if set(value) == {"en", "zh"}:
        return value[code]
    return {key: _of(code, inner) for key, inner in value.items()}


def language(code: str) -> Language:
    """The language of that code."""
    return Language(code, _table()[code])


def percent(share: float, digits: int = 0) -> str:
    """0.4 as `40 %`, with a no-break space."""
    return f"{share * 100:.{digits}f}\u00a0%"


def points(share: float) -> str:
    """A difference in percentage points, signed, with a true minus."""
    return f"{share * 100:+.0f}".replace("-", "\u2212").replace("+0", "0").replace("\u22120", "0")


def p_text(p: float) -> str:
    """`p = 0.031`, or `p < 0.001`, with no-break spaces."""
    if p < 0.001:
        return "p\u00a0<\u00a00.001"
    return f"p\u00a0=\u00a0{p:.3f}" if p < 0.1 else f"p\u00a0=\u00a0{min(p, 1.0):.2f}"


def number(value: float | int | None, digits: int = 3) -> str:
    """A number with thousands separated; floats to so many significant digits."""
    if value is None:
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10):
        return f"{int(value):,}"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e7):
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - _magnitude(value))
    return f"{value:,.{decimals}f}"


def _magnitude(value: float) -> int:
    import math

    return 0 if value == 0 else math.floor(math.log10(abs(value)))


def duration(seconds: float | None, words: Language) -> str:
    """`0.8 s`, `48 s`, `12 min 5 s`, `2 h 9 min`, in the page's language."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return words("duration.seconds", seconds=f"{seconds:.1f}")
    whole = round(seconds)
    if whole < 60:
        return words("duration.seconds", seconds=whole)
    if whole < 3600:
        return words("duration.minutes", minutes=whole // 60, seconds=whole % 60)
    return words("duration.hours", hours=whole // 3600, minutes=whole % 3600 // 60)


def describe(result: Result, words: Language) -> str:
    """What a comparison shows, in words that claim no more than the numbers."""
    p = p_text(result.p_holm)
    match result.finding:
        case "better" | "worse":
            return words(f"finding.{result.finding}", p=p)
        case "unsure":
            return words("finding.unsure", p=p)
    if result.detectable is None:
        return words("finding.none_ever", cases=result.cases)
    limit = f"{result.detectable * 100:.0f}"
    # To say "no difference" beside an interval without zero would contradict the table.
    if result.apart or abs(result.difference.estimate) >= result.detectable:
        return words("finding.not_shown", p=p, cases=result.cases)
    return words("finding.none", cases=result.cases, points=limit)
