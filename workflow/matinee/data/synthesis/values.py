"""Value makers: from `date past` or `cities` in the catalogue to words and call values."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import cn2an

from matinee.config.synthesis import Language
from matinee.data.synthesis.dates import Period, draw_date, draw_time
from matinee.data.synthesis.texts import Bilingual, Word

Lexicons = Mapping[str, tuple[Word, ...]]


@dataclass(frozen=True)
class Setting:
    """Where a value is drawn: source of chance, language, and today's date where it is known."""

    rng: random.Random
    language: Language
    today: date | None = None


@dataclass(frozen=True)
class Drawn:
    """A value as the user says it and as the call needs it."""

    words: str
    value: Any


@dataclass(frozen=True)
class Maker:
    """Draws values of one kind. `hint` is the format note of descriptions."""

    kind: str
    json_type: str
    draw: Callable[[Setting], Drawn]
    hint: Bilingual | None = None
    nameable: bool = True
    """Whether several such values can be said side by side ("A and B")."""


def make_maker(expression: str, lexicons: Lexicons) -> Maker:
    """Reads a maker expression.

    `date past|future|any|birth`, `time`, `month`, `int A..B [step S]`, `num A..B`,
    `wan A..B` (ten thousands, the value in units), `code PATTERN` (# digit, ? capital letter),
    `phone`, `person`, `many NAME`, or the name of a word list. Raises ValueError for others.
    """
    kind, _, rest = expression.partition(" ")
    if kind in _FACTORIES:
        return _FACTORIES[kind](rest)
    if kind == "many":
        return _many(make_maker(rest, lexicons))
    if kind == "person":
        return _person(lexicons)
    if expression in lexicons:
        return word_maker(lexicons[expression])
    raise ValueError(f"unknown value maker {expression!r}")


def word_maker(words: tuple[Word, ...], kind: str = "words", json_type: str = "string") -> Maker:
    """Draws one of the words; the value is fixed (codes) or the word itself."""

    def draw(setting: Setting) -> Drawn:
        word = setting.rng.choice(words)
        said = setting.rng.choice(word.words(setting.language))
        return Drawn(said, said if word.value is None else word.value)

    return Maker(kind, json_type, draw)


def _date(rest: str) -> Maker:
    period_name, _, form = rest.partition(" ")
    if period_name not in ("past", "future", "any", "birth"):
        raise ValueError(f"unknown period {period_name!r}: past, future, any or birth")
    period = cast(Period, period_name)
    style = form or "%Y-%m-%d"

    def draw(setting: Setting) -> Drawn:
        words, day = draw_date(setting.rng, setting.language, period, setting.today)
        return Drawn(words, day.strftime(style))

    shown = style.replace("%Y", "YYYY").replace("%m", "MM").replace("%d", "DD")
    return Maker("date", "string", draw, Bilingual(f"格式{shown}", f"format {shown}"))


def _time(_: str) -> Maker:
    def draw(setting: Setting) -> Drawn:
        return Drawn(*draw_time(setting.rng, setting.language))

    return Maker("time", "string", draw, Bilingual("格式HH:MM", "format HH:MM"))


def _month(_: str) -> Maker:
    def draw(setting: Setting) -> Drawn:
        year, month = setting.rng.randint(2019, 2025), setting.rng.randint(1, 12)
        zh = setting.language == "zh"
        words = f"{year}年{month}月" if zh else f"{date(year, month, 1):%B} {year}"
        return Drawn(words, f"{year}-{month:02d}")

    return Maker("month", "string", draw, Bilingual("格式YYYY-MM", "format YYYY-MM"))


def _range(rest: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"(-?[\d.]+?)\.\.(-?[\d.]+)(?: step (\d+))?", rest)
    if not match:
        raise ValueError(f"expected 'low..high' or 'low..high step n', found {rest!r}")
    return match[1], match[2], match[3] or "1"


def _whole(rest: str) -> Callable[[random.Random], int]:
    low, high, step = (int(part) for part in _range(rest))
    return lambda rng: rng.randrange(low, high + 1, step)


def _integer(rest: str) -> Maker:
    value_of = _whole(rest)

    def draw(setting: Setting) -> Drawn:
        value = value_of(setting.rng)
        words = str(value)
        if setting.language == "zh" and 0 < value <= 10 and setting.rng.random() < 0.35:
            words = "两" if value == 2 else str(cn2an.an2cn(value))
        return Drawn(words, value)

    return Maker("int", "integer", draw, nameable=False)


def _number(rest: str) -> Maker:
    low, high, _ = _range(rest)
    digits = len(low.partition(".")[2])

    def draw(setting: Setting) -> Drawn:
        value = round(setting.rng.uniform(float(low), float(high)), digits)
        return Drawn(f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value}", value)

    return Maker("num", "number", draw, nameable=False)


def _wan(rest: str) -> Maker:
    value_of = _whole(rest)

    def draw(setting: Setting) -> Drawn:
        value = value_of(setting.rng)
        zh = setting.language == "zh"
        return Drawn(f"{value}万" if zh else f"{value * 10000:,}", value * 10000)

    return Maker("wan", "integer", draw, nameable=False)


def _spelled(kind: str, write: Callable[[Setting], str]) -> Maker:
    """A maker whose words are the value."""

    def draw(setting: Setting) -> Drawn:
        text = write(setting)
        return Drawn(text, text)

    return Maker(kind, "string", draw)


def _code(pattern: str) -> Maker:
    if not pattern:
        raise ValueError("a code needs a pattern, such as 'code SF########'")
    return _spelled("code", lambda setting: fill_pattern(setting.rng, pattern))


def fill_pattern(rng: random.Random, pattern: str) -> str:
    """The pattern with each # a digit (the first not 0) and each ? a capital letter."""
    filled = []
    for position, mark in enumerate(pattern):
        if mark == "#":
            first = position == 0 or pattern[position - 1] != "#"
            filled.append(rng.choice("123456789" if first else "0123456789"))
        else:
            filled.append(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") if mark == "?" else mark)
    return "".join(filled)


def _phone(_: str) -> Maker:
    prefixes = ("135", "136", "139", "150", "158", "186", "187", "199")
    return _spelled(
        "phone",
        lambda setting: setting.rng.choice(prefixes) + fill_pattern(setting.rng, "########"),
    )


def _person(lexicons: Lexicons) -> Maker:
    def write(setting: Setting) -> str:
        family, own = (
            setting.rng.choice(lexicons[name]).words(setting.language)[0]
            for name in ("surnames", "given_names")
        )
        return family + own if setting.language == "zh" else f"{own} {family}"

    return _spelled("person", write)


def _many(maker: Maker) -> Maker:
    def draw(setting: Setting) -> Drawn:
        drawn = draw_distinct(maker, setting, setting.rng.randint(2, 3))
        words = join_words([item.words for item in drawn], setting.language)
        return Drawn(words, [item.value for item in drawn])

    return Maker("many", "array", draw, nameable=False)


def draw_distinct(maker: Maker, setting: Setting, count: int) -> list[Drawn]:
    """At most `count` draws with different values (fewer when the maker offers fewer)."""
    found: list[Drawn] = []
    for _ in range(count * 10):
        drawn = maker.draw(setting)
        if all(drawn.value != item.value for item in found):
            found.append(drawn)
        if len(found) == count:
            break
    return found


def join_words(words: list[str], language: Language) -> str:
    """`A、B和C` or `A, B and C`."""
    comma, last = ("、", "和") if language == "zh" else (", ", " and ")
    return comma.join(words[:-1]) + last + words[-1] if len(words) > 1 else words[0]


_FACTORIES: dict[str, Callable[[str], Maker]] = {
    "date": _date,
    "time": _time,
    "month": _month,
    "int": _integer,
    "num": _number,
    "wan": _wan,
    "code": _code,
    "phone": _phone,
}
