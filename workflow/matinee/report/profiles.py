"""What a variant was trained on: the figures that matter, the lengths, and rows with their mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matinee.report.histogram import Histogram, histogram
from matinee.report.language import Language, number, percent
from matinee.report.sections import Fact, FactGroup, fact_groups

MOST_TOKENS = 1200
MOST_TOOLS = 10
# Shown large; what is shown so is not repeated below.
TILES = ("rows", "calls", "different_tools", "different_tool_lists")

# Keys of `facts` in strings.yaml, where a bare `en` would be a translation.
LANGUAGES = {"en": "english", "zh": "chinese"}


@dataclass(frozen=True)
class MaskedRow:
    """A sample row: text and supervision of each token, up to MOST_TOKENS of them."""

    id: str
    head: tuple[tuple[str, bool], ...]
    left_out: int


@dataclass(frozen=True)
class ProfileView:
    """One variant's data."""

    tiles: tuple[Fact, ...]
    lengths: Histogram | None
    groups: list[FactGroup]
    rows: list[MaskedRow]


def profile_view(profile: dict[str, Any], words: Language) -> ProfileView:
    """The profile as the page shows it. What an older profile lacks is left out."""
    tokens = dict(profile.get("tokens") or {})
    tiles = [(key, number(profile[key])) for key in TILES if key in profile]
    if "total" in tokens:
        tiles.append(("tokens", number(tokens.pop("total"))))
    if "supervised_share" in tokens:
        tiles.append(("supervised_share", percent(tokens.pop("supervised_share"), 1)))
    rest = {
        key: value
        for key, value in profile.items()
        if key not in (*TILES, "samples", "tokens", "frequent_tools")
    }
    languages = dict(rest.get("languages") or {})
    rest["languages"] = {LANGUAGES.get(code, code): rows for code, rows in languages.items()}
    rest["tokens"] = {key: value for key, value in tokens.items() if key != "histogram"}
    rest["frequent_tools"] = (profile.get("frequent_tools") or [])[:MOST_TOOLS]
    return ProfileView(
        tiles=tuple(Fact(words.name("facts", key), value) for key, value in tiles),
        lengths=histogram(profile, words),
        groups=fact_groups(rest, words),
        rows=[masked_row(sample) for sample in profile.get("samples") or []],
    )


def masked_row(sample: dict[str, Any]) -> MaskedRow:
    """One of the profile's sample rows."""
    tokens = sample["tokens"]
    head = tuple((str(piece), bool(supervised)) for piece, supervised in tokens[:MOST_TOKENS])
    return MaskedRow(str(sample["id"]), head, max(0, len(tokens) - MOST_TOKENS))
