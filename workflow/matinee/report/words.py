"""The page's words: both languages from tables, numbers, findings and verdicts put into words.

Model text is made safe to look at: escaped, invisible characters shown, very long texts cut.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from matinee.evaluation.comparison import Result
from matinee.messages.details import said
from matinee.messages.transcripts import Detail

STRINGS = Path(__file__).with_name("strings.yaml")
# Controls but tab and newline; soft hyphen, Arabic letter mark, zero-width and directional marks,
# line and paragraph separators, isolates, byte-order mark, interlinear marks, tags, surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
LONGEST = 12_000
HEAD, TAIL = 8_000, 2_000


@functools.cache
def table(path: Path) -> Any:
    """The content of one of the page's YAML tables. Shared: do not change it."""
    import yaml

    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


@dataclass(frozen=True)
class Language:
    """One language of the page. `code` is `en` or `zh`."""

    code: str
    strings: dict[str, Any]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key such as `cases.search`, with `{names}` filled in.

        Values of type Markup stay markup, and the text is then markup too. Raises KeyError for a
        key that the table does not have.
        """
        entry: Any = self.strings
        for part in key.split("."):
            entry = entry[part]
        if any(isinstance(value, Markup) for value in values.values()):
            return Markup(entry).format(**values)
        return str(entry).format(**values) if values else str(entry)

    def name(self, group: str, key: str) -> str:
        """The shown name of a category, error class or profile key; the key itself if unknown."""
        found = self.strings[group].get(key)
        return str(found) if found is not None else key.replace("_", " ")

    def group(self, name: str) -> str:
        """The shown name of a group of cases that are compared."""
        groups = self.strings["groups"]
        return str(groups[name]) if name in groups else self.name("categories", name)

    def detail(self, told: Detail) -> str:
        """What a verdict or a parser says, in this language."""
        return said(told, self.code)

    def listed(self, parts: list[str]) -> str:
        """The parts as one text."""
        return Markup(self("punctuation.list")).join(parts)


def language(code: str, categories: Mapping[str, Any] | None = None) -> Language:
    """The language of that code, with the titles of suites' own categories."""
    strings = {key: _of(code, value) for key, value in table(STRINGS).items()}
    own = {name: getattr(title, code) for name, title in (categories or {}).items()}
    return Language(code, strings | {"categories": strings["categories"] | own})


def _of(code: str, value: Any) -> Any:
    """One language's half of the table: a leaf is `{en: …, zh: …}`."""
    if set(value) == {"en", "zh"}:
        return value[code]
    return {key: _of(code, inner) for key, inner in value.items()}


def percent(share: float | None, digits: int = 0) -> str:
    """0.4 as `40 %`, with a no-break space."""
    return "–" if share is None else f"{share * 100:.{digits}f}\u00a0%"


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
    magnitude = 0 if value == 0 else math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def gigabytes(megabytes: float | None) -> str:
    """`2.21 GB` (10^9 bytes); a dash where it was not measured."""
    return f"{number(megabytes / 1000)}\u00a0GB" if megabytes else "–"


def duration(seconds: float | None, words: Language) -> str:
    """`0.8 s`, `48 s`, `12 min 5 s`, `2 h 9 min`, in the page's language."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if seconds < 10 or whole < 60:
        return words("duration.seconds", seconds=f"{seconds:.1f}" if seconds < 10 else whole)
    if whole < 3600:
        return words("duration.minutes", minutes=whole // 60, seconds=whole % 60)
    return words("duration.hours", hours=whole // 3600, minutes=whole % 3600 // 60)


def describe(result: Result, words: Language) -> str:
    """What a comparison shows, in words that claim no more than the numbers."""
    p = p_text(result.p_holm)
    finding = result.finding
    if finding in ("better", "worse"):
        return words(f"finding.{finding}", p=p)
    counts = {"cases": result.cases, "families": result.families}
    if finding == "few":
        return words("finding.few", **counts)
    if finding == "seeds":
        shares = [percent(min(result.after_seeds)), percent(max(result.after_seeds))]
        return words("finding.seeds", low=shares[0], high=shares[1], p=p)
    # To say "no difference" beside an interval without zero would contradict the table.
    limit = result.detectable
    if limit is None or result.difference.apart or abs(result.difference.estimate) >= limit:
        return words("finding.not_shown", p=p, cases=result.cases)
    return words("finding.none", points=f"{limit * 100:.0f}", **counts)


def visible(text: str) -> Markup:
    """Escaped text in which each invisible or direction-changing character is a visible mark.

    Zero-width joiners inside emoji become marks too; this is a record, not a rendering.
    """
    marked = _HIDDEN.sub(
        lambda found: f'<span class="hid">U+{ord(found[0]):04X}</span>', str(escape(text))
    )
    return Markup(marked)


def shortened(text: str) -> tuple[str, int, str]:
    """Head, number of characters left out, and tail; (text, 0, "") for a text of usual length."""
    if len(text) <= LONGEST:
        return text, 0, ""
    return text[:HEAD], len(text) - HEAD - TAIL, text[-TAIL:]


def plain(text: str) -> str:
    """Text without invisible characters, for attributes and labels."""
    return _HIDDEN.sub("", text)
