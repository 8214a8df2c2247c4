"""The tools of the tasks: nine of the eleven, and three that give another way round."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from matinee.evaluation.simulation.api import ApiProblem, Refusal, SimulatedApi, echo
from matinee.evaluation.simulation.environment import get_environment_air_pm
from matinee.evaluation.simulation.places import cities_named
from matinee.evaluation.simulation.registers import icp_query
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.evaluation.simulation.world import FUNCTIONS
from matinee.messages.conversations import Tool, canonical_json
from matinee.messages.scenarios import Fault

_LEFT_OUT = frozenset({"get_river_environment", "get_toutiao_news"})


def find_city_id(today: datetime.date, *, city: str) -> dict[str, Any]:
    """The id of a city by its name, without the way over its province."""
    found = sorted(cities_named(city), key=lambda one: one.id)
    if len(found) != 1:
        raise Refusal(ApiProblem.not_found, f"没有找到城市“{echo(city)}”")
    return {"city_name": found[0].name, "city_id": found[0].id}


def get_air_station(today: datetime.date, *, city: str) -> list[dict[str, Any]]:
    """The same air as `get_environment_air_pm` reports, from another service."""
    return get_environment_air_pm(today, city=city)


def domain_holder(today: datetime.date, *, domain: str) -> dict[str, Any]:
    """Who holds a domain: the company that `icp_query` names too, without the registration."""
    record = icp_query(today, domainName=domain)
    return {"domain": record["domain"], "holder": record["company_name"]}


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **FUNCTIONS,
    "find_city_id": find_city_id,
    "get_air_station": get_air_station,
    "domain_holder": domain_holder,
}


@cache
def task_tools() -> tuple[Tool, ...]:
    """The twelve tools that every task is given."""
    known = tuple(tool for tool in eleven_tools() if tool.name not in _LEFT_OUT)
    return (
        *known,
        _tool("find_city_id", "按城市名称直接查询城市id。", "city", "城市名称，例如：苏州"),
        _tool(
            "get_air_station",
            "备用的空气质量接口：查询某个城市当前的PM2.5和空气质量。",
            "city",
            "城市的中文名称，例如：上海",
        ),
        _tool("domain_holder", "查询域名由哪家单位持有。", "domain", "域名，例如：juhe.cn"),
    )


def task_world(today: datetime.date, faults: Sequence[Fault] = ()) -> SimulatedApi:
    """The twelve tools as they answer on the day `today`."""

    def answer(name: str, arguments: dict[str, Any]) -> Any:
        return _FUNCTIONS[name](today, **arguments)

    return SimulatedApi(task_tools(), answer, faults)


def _tool(name: str, description: str, parameter: str, meaning: str) -> Tool:
    schema = {
        "type": "object",
        "properties": {parameter: {"type": "string", "description": meaning}},
        "required": [parameter],
    }
    return Tool(name, description, canonical_json(schema))
