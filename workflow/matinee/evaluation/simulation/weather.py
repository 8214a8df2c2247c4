"""`get_history_weather`: past weather, drawn from climate, city and day."""

from __future__ import annotations

import datetime
import math
from typing import Any

from matinee.evaluation.simulation.answers import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.arguments import required_date
from matinee.evaluation.simulation.places import City, cities
from matinee.evaluation.simulation.resources import between, pick, share, world_file

FIRST_DAY = datetime.date(2011, 1, 1)
_SHARE_WITHOUT_RECORD = 0.04
_WARMEST_DAY = 200  # 19 July: the mean temperature follows a cosine about this day
_DRY = ("晴", "晴", "多云", "多云", "阴")
_RAIN = ("小雨", "小雨", "中雨", "阵雨", "大雨")
_SNOW = ("小雪", "小雪", "中雪", "雨夹雪")
_WINDS = ("东风", "南风", "西风", "北风", "东北风", "东南风", "西北风", "西南风")
_FORCES = ("1-2级", "1-2级", "3-4级", "3-4级", "4-5级")


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
    return {
        "city_id": city.id,
        "city_name": city.name,
        "weather_date": str(day),
        **_day(city, day),
    }


def _day(city: City, day: datetime.date) -> dict[str, str]:
    climate = world_file("climates")[city.climate]
    # From 1 at the warmest day of the year to -1 half a year away.
    season = math.cos(2 * math.pi * (day.timetuple().tm_yday - _WARMEST_DAY) / 365.25)
    summer = (season + 1) / 2
    mean = climate["january"] + (climate["july"] - climate["january"]) * summer
    wet = climate["wet_january"] + (climate["wet_july"] - climate["wet_january"]) * summer
    high = round(mean) + between(1, 8, "high", city.id, day)
    low = high - between(4, 11, "spread", city.id, day)
    force = pick(_FORCES, "force", city.id, day)
    return {
        "day_weather": _sky("day", wet, high, city, day),
        "night_weather": _sky("night", wet, low, city, day),
        "day_temp": f"{high}℃",
        "night_temp": f"{low}℃",
        "wind": pick(_WINDS, "wind", city.id, day),
        "wind_force": force,
    }


def _sky(part: str, wet: float, degrees: int, city: City, day: datetime.date) -> str:
    if share("wet", part, city.id, day) >= wet:
        return pick(_DRY, "dry", part, city.id, day)
    return pick(_SNOW if degrees <= 0 else _RAIN, "fall", part, city.id, day)
