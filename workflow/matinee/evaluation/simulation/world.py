"""The eleven tools over one world of real names and invented records, as of a given day."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rapidfuzz import process

from matinee.evaluation.simulation import airports, environment, places, registers
from matinee.evaluation.simulation.api import SimulatedApi
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault
from matinee.runtime.errors import ScenarioError

# By name: a function of today and, as keywords, of the tool's own parameters.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        places.get_province_list,
        places.get_cities_list,
        environment.get_history_weather,
        environment.get_river_environment,
        environment.get_environment_air_pm,
        environment.get_toutiao_news,
        registers.chejian_query,
        registers.loan_calc_query,
        registers.icp_query,
        airports.airport_query,
        airports.aptabnormal_query,
    )
}


def world(
    today: datetime.date, faults: Sequence[Fault] = (), tools: Sequence[Tool] = ()
) -> SimulatedApi:
    """The eleven tools as they answer on the day `today`, with nothing called yet.

    `tools`: as a case lists them; arguments are checked against these where they are of the eleven.
    Raises ScenarioError for a fault of a tool that is not one of the eleven.
    """

    def answer(name: str, arguments: dict[str, Any]) -> Any:
        return FUNCTIONS[name](today, **arguments)

    shipped = {tool.name: tool.schema["properties"].keys() for tool in eleven_tools()}
    offered = [t for t in tools if shipped.get(t.name) == t.schema.get("properties", {}).keys()]
    return SimulatedApi(offered or eleven_tools(), answer, faults)


def lookup(kind: str, name: str) -> str:
    """The id or code of what is called `name`: a value that only a tool can supply.

    `kind` is `province_id` or `city_id` (Chinese name, with or without its suffix) or
    `airport_code` (code, airport name, or the name of a city with one airport). Raises
    ScenarioError where nothing or more than one thing is called so.
    """
    known = airports.airports()
    if kind == "airport_code":
        found = {code: f"{known[code].name} ({code})" for code in sorted(airports.meant_by(name))}
        names = [word for one in known.values() for word in (one.name, one.city)]
    elif kind in ("province_id", "city_id"):
        listed = places.provinces() if kind == "province_id" else places.cities().values()
        found = {one.id: one.name for one in listed if places.same_place(one.name, name)}
        names = [word for one in listed for word in (places.stem(one.name), one.name)]
    else:
        raise ScenarioError(
            f"lookup {kind!r}: allowed are province_id, city_id and airport_code. Correct the kind."
        )
    if len(found) == 1:
        return next(iter(found))
    if found:
        means = ", ".join(found.values())
        raise ScenarioError(
            f"lookup {kind} {name!r}: this means {means}. Name exactly one of them."
        )
    close = [match for match, _score, _key in process.extract(name, list(dict.fromkeys(names)))]
    raise ScenarioError(
        f"lookup {kind} {name!r}: the simulated world has no such name. Close: {', '.join(close)}."
    )
