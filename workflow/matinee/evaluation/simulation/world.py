"""The eleven tools over one world of real names and invented records, as of a given day."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matinee.evaluation.simulation.airports import airport_query, aptabnormal_query
from matinee.evaluation.simulation.api import SimulatedApi
from matinee.evaluation.simulation.environment import get_environment_air_pm, get_river_environment
from matinee.evaluation.simulation.loans import loan_calc_query
from matinee.evaluation.simulation.news import get_toutiao_news
from matinee.evaluation.simulation.places import get_cities_list, get_province_list
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.evaluation.simulation.sites import icp_query
from matinee.evaluation.simulation.vehicles import chejian_query
from matinee.evaluation.simulation.weather import get_history_weather
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault

# By name: a function of today and, as keywords, of the tool's own parameters.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        get_province_list,
        get_cities_list,
        get_history_weather,
        get_river_environment,
        get_environment_air_pm,
        get_toutiao_news,
        chejian_query,
        loan_calc_query,
        icp_query,
        airport_query,
        aptabnormal_query,
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
