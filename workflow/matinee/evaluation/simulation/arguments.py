"""Checks a call's arguments against the tool's JSON Schema, as the door of a real API does."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Collection
from typing import Any

import jsonschema

from matinee.evaluation.simulation.answers import ApiProblem, Refusal, echo
from matinee.messages.conversations import Tool
from matinee.messages.json_schemas import ParameterSchema, UnusableSchema
from matinee.runtime.errors import ScenarioError

_LONGEST_INTEGER = 40
_TYPES = {
    "string": "字符串",
    "integer": "整数",
    "number": "数字",
    "boolean": "布尔值",
    "array": "数组",
    "object": "对象",
    "null": "null",
}


class Parameters:
    """The parameters of one tool. Raises ScenarioError where their schema cannot be used."""

    def __init__(self, tool: Tool) -> None:
        try:
            self._schema = ParameterSchema(tool.schema)
        except UnusableSchema as error:
            raise ScenarioError(f"Tool {tool.name}: its parameters are {error}.") from error

    def read(self, arguments: str) -> dict[str, Any]:
        """The decoded and checked arguments. Raises Refusal, and nothing else, on any text."""
        values = _decode(arguments)
        if missing := self._schema.missing(values):
            raise Refusal(ApiProblem.missing_parameter, "、".join(missing))
        if unknown := self._schema.unknown(values):
            raise Refusal(ApiProblem.unknown_parameter, "、".join(map(echo, unknown)))
        for error in self._schema.errors(values):
            raise _as_refusal(error)
        return {name: self._whole(name, value) for name, value in values.items()}

    def _whole(self, name: str, value: Any) -> Any:
        # JSON Schema counts 5.0 as an integer; the tools' functions expect int.
        due = self._schema.parameters.get(name)
        is_integer = isinstance(due, dict) and due.get("type") == "integer"
        return int(value) if is_integer and isinstance(value, float) else value


def required_date(name: str, text: str) -> datetime.date:
    """The date of a `YYYY-MM-DD` text. Raises Refusal."""
    # Not fromisoformat alone: it also takes 20230501 and 2023-W18-1.
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            pass  # 2023-02-30: refused below like any other text that is no date
    raise Refusal(
        ApiProblem.out_of_range, f"{name}应为YYYY-MM-DD格式的有效日期，收到“{echo(text)}”"
    )


def required_number(name: str, text: str, low: int, high: int) -> int:
    """The whole number that a text spells, `low` to `high` included. Raises Refusal."""
    if re.fullmatch(r"[0-9]{1,6}", text) and low <= int(text) <= high:
        return int(text)
    raise Refusal(ApiProblem.out_of_range, f"{name}应为{low}到{high}之间的整数，收到“{echo(text)}”")


def required_choice(name: str, value: object, choices: Collection[Any]) -> None:
    """Raises Refusal where a value is none of the choices."""
    if value not in choices:
        allowed = "、".join(map(str, choices))
        raise Refusal(ApiProblem.out_of_range, f"{name}只能是{allowed}之一，收到“{echo(value)}”")


def required_page(page: int) -> int:
    """The page number, from 1 on. Raises Refusal."""
    if page < 1:
        raise Refusal(ApiProblem.out_of_range, f"page应大于等于1，收到“{page}”")
    return page


def _decode(arguments: str) -> dict[str, Any]:
    try:
        values = json.loads(
            arguments, parse_constant=_not_json, parse_float=_finite, parse_int=_bounded
        )
    except (ValueError, RecursionError):
        raise Refusal(ApiProblem.bad_arguments) from None
    if not isinstance(values, dict):
        raise Refusal(ApiProblem.bad_arguments)
    return values


def _not_json(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number too large for a float")
    return number


def _bounded(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError("an integer too long to be meant")
    return int(text)


def _as_refusal(error: jsonschema.ValidationError) -> Refusal:
    where = echo(".".join(map(str, error.absolute_path)) or "arguments")
    due: Any = error.validator_value
    if error.validator == "type":
        names = [_TYPES[name] for name in (due if isinstance(due, list) else [due])]
        return Refusal(ApiProblem.wrong_type, f"{where}应为{'或'.join(names)}")
    if error.validator == "enum":
        return Refusal(ApiProblem.out_of_range, f"{where}只能是{'、'.join(map(echo, due))}之一")
    if error.validator == "required":
        return Refusal(ApiProblem.missing_parameter, f"{where}的内容不完整")
    rule = f"{error.validator}={echo(due)}"
    return Refusal(ApiProblem.out_of_range, f"{where}不符合要求（{rule}）")
