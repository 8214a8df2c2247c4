"""Provinces and cities: `get_province_list`, `get_cities_list`, and the names that mean a city."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from matinee.evaluation.simulation.answers import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.names import is_chinese, latin, same_place, stem
from matinee.evaluation.simulation.resources import world_file


@dataclass(frozen=True)
class City:
    """A city (or prefecture, or directly administered county) with its invented id."""

    id: str
    name: str
    province: str
    climate: str


@dataclass(frozen=True)
class Province:
    """A province-level unit with its invented id and the character on its number plates."""

    id: str
    name: str
    short: str
    cities: tuple[City, ...]


@cache
def provinces() -> tuple[Province, ...]:
    """The 34 province-level units, in the official order."""
    return tuple(
        Province(
            id=entry["id"],
            name=entry["name"],
            short=entry["short"],
            cities=tuple(
                City(number, name, entry["name"], entry["climate"])
                for name, number in entry["cities"].items()
            ),
        )
        for entry in world_file("places")["provinces"]
    )


@cache
def cities() -> dict[str, City]:
    """All cities by id."""
    return {city.id: city for province in provinces() for city in province.cities}


@lru_cache(maxsize=4096)  # bounded: models make up names
def spellings(name: str) -> frozenset[str]:
    """How a Chinese city name may be written in Latin letters, lower case, letters only."""
    from pypinyin import lazy_pinyin

    places = world_file("places")
    found = set()
    for full in {city.name for city in cities().values() if same_place(city.name, name)} or {name}:
        pinyin = places["pinyin"].get(full) or latin("".join(lazy_pinyin(stem(full))))
        found |= {pinyin, *places["spellings"].get(full, [])}
        found |= {pinyin + "shi", pinyin + "city"} if full.endswith("市") else set()
    return frozenset(found)


@cache
def _by_spelling() -> dict[str, frozenset[City]]:
    found: dict[str, set[City]] = {}
    for city in cities().values():
        for spelling in spellings(city.name):
            found.setdefault(spelling, set()).add(city)
    return {spelling: frozenset(meant) for spelling, meant in found.items()}


def cities_named(name: str) -> frozenset[City]:
    """The cities that a Chinese name or pinyin may mean: none, one, or several (fuzhou)."""
    if is_chinese(name):
        return frozenset(city for city in cities().values() if same_place(city.name, name))
    return _by_spelling().get(latin(name), frozenset())


def get_province_list(today: datetime.date) -> list[dict[str, Any]]:
    """All provinces with their ids."""
    return [{"id": province.id, "province": province.name} for province in provinces()]


def get_cities_list(today: datetime.date, *, province_id: str) -> list[dict[str, Any]]:
    """The cities of a province with their ids."""
    for province in provinces():
        if province.id == province_id.strip():
            return [
                {"id": city.id, "city_name": city.name, "province_id": province.id}
                for city in province.cities
            ]
    raise Refusal(ApiProblem.not_found, f"没有id为“{echo(province_id)}”的省份")
