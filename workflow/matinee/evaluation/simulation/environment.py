"""Tools whose records are drawn by place and day: weather, air, rivers, news."""

from __future__ import annotations

import datetime
import math
from itertools import pairwise
from typing import Any

from matinee.evaluation.simulation.api import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.places import (
    City,
    cities,
    cities_named,
    plain,
    same_basin,
    same_place,
)
from matinee.evaluation.simulation.resources import (
    between,
    pick,
    required_choice,
    required_date,
    required_number,
    required_page,
    share,
    world_file,
)

_SECTIONS_PER_PAGE = 20
FIRST_DAY = datetime.date(2011, 1, 1)
_SHARE_WITHOUT_RECORD = 0.04
_WARMEST_DAY = 200  # 19 July: the mean temperature follows a cosine about this day
_DRY = ("晴", "晴", "多云", "多云", "阴")
_RAIN = ("小雨", "小雨", "中雨", "阵雨", "大雨")
_SNOW = ("小雪", "小雪", "中雪", "雨夹雪")
_WINDS = ("东风", "南风", "西风", "北风", "东北风", "东南风", "西北风", "西南风")
_FORCES = ("1-2级", "1-2级", "3-4级", "3-4级", "4-5级")
_SHARE_WITH_TEXT = 0.7
_NEWSPAPERS = ("晨间资讯", "每日快讯", "新闻速览", "城市观察", "今日要闻")


def get_history_weather(today: datetime.date, *, city_id: str, weather_date: str) -> dict[str, Any]:
    """The day's weather. Some places and days have no record, always the same ones."""
    city = cities().get(city_id.strip())
    if city is None:
        raise Refusal(ApiProblem.not_found, f"没有id为“{echo(city_id)}”的城市")
    day = required_date("weather_date", weather_date)
    if not FIRST_DAY <= day < today:
        limits = f"weather_date应从{FIRST_DAY}开始，并早于今天（{today}）"
        raise Refusal(ApiProblem.out_of_range, limits)
    if share("no record", city.id, day) < _SHARE_WITHOUT_RECORD:
        raise Refusal(ApiProblem.no_record, f"{city.name}{day}没有天气记录")
    climate = world_file("climates")[city.climate]
    # From 1 at the warmest day of the year to 0 half a year away.
    season = math.cos(2 * math.pi * (day.timetuple().tm_yday - _WARMEST_DAY) / 365.25)
    summer = (season + 1) / 2
    mean = climate["january"] + (climate["july"] - climate["january"]) * summer
    wet = climate["wet_january"] + (climate["wet_july"] - climate["wet_january"]) * summer
    key = (city.id, day)
    high = round(mean) + between(1, 8, "high", *key)
    low = high - between(4, 11, "spread", *key)
    return {
        "city_id": city.id,
        "city_name": city.name,
        "weather_date": str(day),
        "day_weather": _sky("day", wet, high, city, day),
        "night_weather": _sky("night", wet, low, city, day),
        "day_temp": f"{high}℃",
        "night_temp": f"{low}℃",
        "wind": pick(_WINDS, "wind", *key),
        "wind_force": pick(_FORCES, "force", *key),
    }


def _sky(part: str, wet: float, degrees: int, city: City, day: datetime.date) -> str:
    if share("wet", part, city.id, day) >= wet:
        return pick(_DRY, "dry", part, city.id, day)
    return pick(_SNOW if degrees <= 0 else _RAIN, "fall", part, city.id, day)


def get_environment_air_pm(today: datetime.date, *, city: str) -> list[dict[str, Any]]:
    """Today's air of the city, or of each city where the pinyin means several (fuzhou)."""
    meant = sorted(cities_named(city), key=lambda found: found.id)
    if not meant:
        raise Refusal(ApiProblem.not_found, f"没有城市“{echo(city)}”的空气质量数据")
    return [_air(found, today) for found in meant]


def air_quality_index(pm25: int) -> int:
    """The index of PM2.5 in µg/m³, rounded up, at most 500. Source: HJ 633-2012, formula 1."""
    for (low, low_index), (high, high_index) in pairwise(world_file("standards")["pm25_steps"]):
        if pm25 <= high:
            return int(low_index + -(-(high_index - low_index) * (pm25 - low) // (high - low)))
    return 500


def _air(city: City, today: datetime.date) -> dict[str, Any]:
    # The square makes clean days common and bad ones rare.
    pm25 = 6 + int(share("pm2.5", city.id, today) ** 2 * 150)
    index = air_quality_index(pm25)
    levels = world_file("standards")["air_levels"]
    return {
        "city": city.name,
        "date": str(today),
        "PM2.5": pm25,
        "PM10": pm25 + between(5, 60, "pm10", city.id, today),
        "AQI": index,
        "quality": next(name for name, limit in levels.items() if index <= limit),
    }


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
    found = [
        (basin, within, name)
        for basin, by_province in world_file("rivers").items()
        if river is None or same_basin(basin, river)
        for within, names in by_province.items()
        if province is None or same_place(within, province)
        for name in names
        if section is None or plain(section) == name
    ]
    if not found:
        raise Refusal(ApiProblem.not_found, "没有符合条件的监测断面")
    shown = found[(page - 1) * _SECTIONS_PER_PAGE : page * _SECTIONS_PER_PAGE]
    return {
        "total": len(found),
        "page": page,
        "page_size": _SECTIONS_PER_PAGE,
        "list": [_reading(*one, today) for one in shown],
    }


def _reading(basin: str, province: str, section: str, today: datetime.date) -> dict[str, Any]:
    key = (basin, section, today)
    oxygen = round(4 + share("oxygen", *key) * 7, 2)
    permanganate = round(1 + share("permanganate", *key) ** 2 * 9, 2)
    ammonia = round(0.02 + share("ammonia", *key) ** 3 * 1.8, 2)
    return {
        "province": province,
        "river": basin,
        "section": section,
        "time": str(today),
        "ph": round(6.8 + share("ph", *key) * 1.9, 2),
        "dissolved_oxygen": oxygen,
        "permanganate_index": permanganate,
        "ammonia_nitrogen": ammonia,
        "water_class": water_class(oxygen, permanganate, ammonia) + "类",
    }


def water_class(oxygen: float, permanganate: float, ammonia: float) -> str:
    """The worst class of the three readings (mg/L), by GB 3838-2002."""
    limits = world_file("standards")["water"]
    worst = max(
        sum(oxygen < limit for limit in limits["oxygen_at_least"]),
        sum(permanganate > limit for limit in limits["permanganate_at_most"]),
        sum(ammonia > limit for limit in limits["ammonia_at_most"]),
    )
    return str(limits["classes"][worst])


def get_toutiao_news(
    today: datetime.date,
    *,
    type: str = "top",
    page: str = "1",
    page_size: str = "30",
    is_filter: str = "0",
) -> dict[str, Any]:
    """One page of the type's headlines; with `is_filter` "1" only those with full text.

    A type's headlines are every subject with every event, in another order every day.
    """
    required_choice("type", type, world_file("news"))
    required_choice("is_filter", is_filter, ("0", "1"))
    number = required_number("page", page, 1, 50)
    size = required_number("page_size", page_size, 1, 30)
    parts = world_file("news")[type]
    titles = [subject + event for subject in parts["subjects"] for event in parts["events"]]
    titles.sort(key=lambda title: share("order", type, today, title))
    items = [_headline(type, parts["name"], title, today) for title in titles]
    wanted = [item for item in items if is_filter == "0" or item["is_content"] == "1"]
    return {
        "stat": "1",
        "page": page,
        "pageSize": page_size,
        "data": wanted[(number - 1) * size : number * size],
    }


def _headline(kind: str, name: str, title: str, today: datetime.date) -> dict[str, str]:
    key = (kind, today, title)
    hour, minute = between(0, 23, "hour", *key), between(0, 59, "minute", *key)
    return {
        "uniquekey": f"{between(0, 16**12 - 1, 'key', *key):012x}",
        "title": title,
        "date": f"{today - datetime.timedelta(days=1)} {hour:02d}:{minute:02d}:00",
        "category": name,
        "author_name": pick(_NEWSPAPERS, "source", *key),
        "is_content": "1" if share("text", *key) < _SHARE_WITH_TEXT else "0",
    }
