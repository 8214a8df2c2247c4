"""`get_environment_air_pm` and `get_river_environment`: the quality of air and of rivers."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from matinee.evaluation.simulation.answers import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.arguments import required_page
from matinee.evaluation.simulation.names import plain, same_basin, same_place
from matinee.evaluation.simulation.places import City, cities_named
from matinee.evaluation.simulation.resources import between, share, world_file

_SECTIONS_PER_PAGE = 20

# PM2.5 (µg/m³, 24 h) at which the individual air quality index takes its steps; linear between
# them. Source: HJ 633-2012, table 1.
_PM25_STEPS = (
    (0, 0),
    (35, 50),
    (75, 100),
    (115, 150),
    (150, 200),
    (250, 300),
    (350, 400),
    (500, 500),
)
_AIR_LEVELS = (
    (50, "优"),
    (100, "良"),
    (150, "轻度污染"),
    (200, "中度污染"),
    (300, "重度污染"),
    (500, "严重污染"),
)

# Limits of the classes I to V (mg/L). Source: GB 3838-2002, table 1.
_WATER_CLASSES = ("Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ", "Ⅴ", "劣Ⅴ")
_OXYGEN_AT_LEAST = (7.5, 6.0, 5.0, 3.0, 2.0)
_PERMANGANATE_AT_MOST = (2.0, 4.0, 6.0, 10.0, 15.0)
_AMMONIA_AT_MOST = (0.15, 0.5, 1.0, 1.5, 2.0)


def get_environment_air_pm(today: datetime.date, *, city: str) -> list[dict[str, Any]]:
    """Today's air of the city, or of each city where the pinyin means several (fuzhou)."""
    meant = sorted(cities_named(city), key=lambda found: found.id)
    if not meant:
        raise Refusal(ApiProblem.not_found, f"没有城市“{echo(city)}”的空气质量数据")
    return [_air(found, today) for found in meant]


def air_quality_index(pm25: int) -> int:
    """The index of PM2.5 in µg/m³, rounded up, at most 500. Source: HJ 633-2012, formula 1."""
    for (low, low_index), (high, high_index) in pairwise(_PM25_STEPS):
        if pm25 <= high:
            return low_index + -(-(high_index - low_index) * (pm25 - low) // (high - low))
    return 500


def _air(city: City, today: datetime.date) -> dict[str, Any]:
    # The square makes clean days common and bad ones rare.
    pm25 = 6 + int(share("pm2.5", city.id, today) ** 2 * 150)
    index = air_quality_index(pm25)
    return {
        "city": city.name,
        "date": str(today),
        "PM2.5": pm25,
        "PM10": pm25 + between(5, 60, "pm10", city.id, today),
        "AQI": index,
        "quality": next(name for limit, name in _AIR_LEVELS if index <= limit),
    }


@dataclass(frozen=True)
class _Section:
    basin: str
    province: str
    name: str


@cache
def _sections() -> tuple[_Section, ...]:
    basins = world_file("rivers").items()
    return tuple(
        _Section(basin, province, name)
        for basin, by_province in basins
        for province, names in by_province.items()
        for name in names
    )


def get_river_environment(
    today: datetime.date,
    *,
    page: int = 1,
    province: str | None = None,
    river: str | None = None,
    section: str | None = None,
) -> dict[str, Any]:
    """The monitored sections that fit every given filter, 20 a page, with today's readings."""
    required_page(page)
    found = list(_matching(province, river, section))
    if not found:
        raise Refusal(ApiProblem.not_found, "没有符合条件的监测断面")
    start = (page - 1) * _SECTIONS_PER_PAGE
    return {
        "total": len(found),
        "page": page,
        "page_size": _SECTIONS_PER_PAGE,
        "list": [_reading(one, today) for one in found[start : start + _SECTIONS_PER_PAGE]],
    }


def _matching(province: str | None, river: str | None, section: str | None) -> Iterator[_Section]:
    for one in _sections():
        if province is not None and not same_place(one.province, province):
            continue
        if river is not None and not same_basin(one.basin, river):
            continue
        if section is not None and plain(section) != one.name:
            continue
        yield one


def _reading(section: _Section, today: datetime.date) -> dict[str, Any]:
    key = (section.basin, section.name, today)
    oxygen = round(4 + share("oxygen", *key) * 7, 2)
    permanganate = round(1 + share("permanganate", *key) ** 2 * 9, 2)
    ammonia = round(0.02 + share("ammonia", *key) ** 3 * 1.8, 2)
    return {
        "province": section.province,
        "river": section.basin,
        "section": section.name,
        "time": str(today),
        "ph": round(6.8 + share("ph", *key) * 1.9, 2),
        "dissolved_oxygen": oxygen,
        "permanganate_index": permanganate,
        "ammonia_nitrogen": ammonia,
        "water_class": water_class(oxygen, permanganate, ammonia) + "类",
    }


def water_class(oxygen: float, permanganate: float, ammonia: float) -> str:
    """The worst class of the three readings (mg/L), by GB 3838-2002."""
    worst = max(
        sum(oxygen < limit for limit in _OXYGEN_AT_LEAST),
        sum(permanganate > limit for limit in _PERMANGANATE_AT_MOST),
        sum(ammonia > limit for limit in _AMMONIA_AT_MOST),
    )
    return _WATER_CLASSES[worst]
