"""`airport_query` and `aptabnormal_query`: airport codes, and irregular flights of a day."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cache
from typing import Any

from matinee.evaluation.simulation.api import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.places import is_chinese, latin, plain, simplified, spellings
from matinee.evaluation.simulation.resources import between, pick, required_page, share, world_file

_LARGEST_PAGE = 100
_MOST_IRREGULAR = 6
# IATA designators of mainland airlines, as they stand in flight numbers.
_AIRLINES = ("CA", "MU", "CZ", "HU", "ZH", "MF", "3U", "FM", "SC", "HO", "9C", "GS")
_REASONS = ("天气原因", "航空管制", "机械故障", "前序航班晚到", "旅客原因")


@dataclass(frozen=True)
class Airport:
    """A real airport. `keywords`: everything that means it or its city, in comparable form."""

    code: str
    keywords: frozenset[str]
    city: str
    city_english: str
    name: str
    name_english: str
    country: str

    @property
    def domestic(self) -> bool:
        """Whether `aptabnormal_query` covers it (mainland China)."""
        return self.country == "中国"


@cache
def airports() -> dict[str, Airport]:
    """All airports by code."""
    data = world_file("airports")
    return {
        code: Airport(code, _keywords(code, fields, data["aliases"].get(code, [])), *fields)
        for code, fields in data["airports"].items()
    }


def _keywords(code: str, fields: list[str], aliases: list[str]) -> frozenset[str]:
    city, city_english, name, name_english, _country = fields
    words = {code, city + "市", *(spellings(city) if is_chinese(city) else ())}
    for full in (city, city_english, name, name_english, *aliases):
        words |= _ways_to_say(full)
        words |= _ways_to_say(full.removeprefix(city).removeprefix(city_english))
    return frozenset(map(_comparable, words))


def _ways_to_say(name: str) -> set[str]:
    """首都国际机场 → 首都, 首都机场, 首都国际, 首都国际机场; in English the same."""
    international, airport = ("国际", "机场") if is_chinese(name) else ("international", "airport")
    core = _comparable(name).removesuffix(airport).removesuffix(international)
    # What is left of 香港国际机场 without 香港 names no airport.
    if not core:
        return set()
    return {core, core + airport, core + international, core + international + airport}


def _comparable(keyword: str) -> str:
    return simplified(keyword).replace(" ", "") if is_chinese(keyword) else latin(keyword)


def meant_by(keyword: str) -> frozenset[str]:
    """The codes of the airports that a keyword names exactly: 北京 and Beijing mean PEK and PKX."""
    return _by_keyword().get(_comparable(keyword), frozenset())


@cache
def _by_keyword() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one in airports().values():
        for keyword in one.keywords:
            found.setdefault(keyword, set()).add(one.code)
    return {keyword: frozenset(codes) for keyword, codes in found.items()}


def airport_query(
    today: datetime.date, *, airport: str, page: int = 1, per_page: int = 20
) -> dict[str, Any]:
    """The airports that the keyword names, else those whose names hold it; paged."""
    required_page(page)
    if not 1 <= per_page <= _LARGEST_PAGE:
        raise Refusal(ApiProblem.out_of_range, f"per_page应在1到{_LARGEST_PAGE}之间")
    exact, wanted = meant_by(airport), _comparable(airport)
    found = [
        one
        for one in airports().values()
        if one.code in exact
        or (not exact and len(wanted) > 1 and any(wanted in word for word in one.keywords))
    ]
    if not found:
        raise Refusal(ApiProblem.not_found, f"没有找到与“{echo(airport)}”有关的机场")
    keys = ("code", "name", "name_english", "city", "country")
    shown = found[(page - 1) * per_page : page * per_page]
    return {
        "total": len(found),
        "page": page,
        "per_page": per_page,
        "list": [{key: getattr(one, key) for key in keys} for one in shown],
    }


def aptabnormal_query(today: datetime.date, *, airport: str) -> dict[str, Any]:
    """Today's delayed and cancelled departures of a domestic airport; there may be none."""
    found = airports().get(plain(airport).upper())
    if found is None:
        raise Refusal(ApiProblem.not_found, f"没有三字码为“{echo(airport)}”的机场")
    if not found.domestic:
        told = f"仅支持国内机场，{found.code}（{found.name}）不在范围内"
        raise Refusal(ApiProblem.out_of_range, told)
    count = between(0, _MOST_IRREGULAR, "irregular", found.code, today)
    flights = [_flight(found, today, position) for position in range(count)]
    return {
        "airport": found.code,
        "airport_name": found.name,
        "date": str(today),
        "total": count,
        "list": sorted(flights, key=lambda flight: flight["scheduled"]),
    }


def _flight(airport: Airport, today: datetime.date, position: int) -> dict[str, Any]:
    key = (airport.code, today, position)
    others = [one for one in airports().values() if one.domestic and one.city != airport.city]
    cancelled = share("cancelled", *key) < 0.3
    hour, minute = between(6, 22, "hour", *key), between(0, 11, "minute", *key) * 5
    return {
        # The position keeps two flights of a day from having one number.
        "flight": f"{pick(_AIRLINES, 'airline', *key)}{between(110, 899, 'no', *key)}{position}",
        "destination": pick(others, "to", *key).name,
        "scheduled": f"{hour:02d}:{minute:02d}",
        "status": "取消" if cancelled else "延误",
        "delay_minutes": None if cancelled else between(4, 48, "delay", *key) * 5,
        "reason": pick(_REASONS, "reason", *key),
    }
