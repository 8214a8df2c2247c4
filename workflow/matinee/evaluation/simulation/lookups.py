"""Finds the values that only a tool can supply, so that scenarios can name them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

from rapidfuzz import process

from matinee.evaluation.simulation.airports import airports, meant_by
from matinee.evaluation.simulation.names import same_place, stem
from matinee.evaluation.simulation.places import cities, provinces
from matinee.runtime.errors import ScenarioError


def lookup(kind: str, name: str) -> str:
    """The id or code of what is called `name`.

    `kind` is `province_id` or `city_id` (Chinese name, with or without its suffix) or
    `airport_code` (code, airport name, or the name of a city with one airport). Raises
    ScenarioError where nothing or more than one thing is called so.
    """
    if kind == "province_id":
        return _place(kind, name, {province.name: province.id for province in provinces()})
    if kind == "city_id":
        return _place(kind, name, {city.name: city.id for city in cities().values()})
    if kind == "airport_code":
        return _airport(name)
    raise ScenarioError(
        f"lookup {kind!r}: allowed are province_id, city_id and airport_code. Correct the kind."
    )


def _place(kind: str, name: str, ids: Mapping[str, str]) -> str:
    found = [full for full in ids if same_place(full, name)]
    if len(found) == 1:
        return ids[found[0]]
    _refuse(kind, name, found, (word for full in ids for word in (stem(full), full)))


def _airport(name: str) -> str:
    found = sorted(meant_by(name))
    if len(found) == 1:
        return found[0]
    names = [word for one in airports().values() for word in (one.name, one.city)]
    _refuse(
        "airport_code",
        name,
        [f"{airports()[code].name} ({code})" for code in found],
        names,
    )


def _refuse(kind: str, name: str, found: list[str], names: Iterable[str]) -> NoReturn:
    if found:
        raise ScenarioError(
            f"lookup {kind} {name!r}: this means {', '.join(found)}. Name exactly one of them."
        )
    close = [match for match, _score, _key in process.extract(name, list(dict.fromkeys(names)))]
    raise ScenarioError(
        f"lookup {kind} {name!r}: the simulated world has no such name. Close: {', '.join(close)}."
    )
