"""BFCL v4's single-turn questions as a suite: read from the benchmark's own wheel.

`BFCL_v4_CATEGORY.json` holds one question a line; `possible_answer/` holds the accepted answers
of the same ids, in the same order. A case is one question with its own tools; it ends after the
first output, whose calls must be the accepted ones in any order.

An answer is `{tool: {parameter: [accepted values]}}`, where "" among the values means that the
parameter may be absent. An object, or an object in a list, has such a list for each of its keys;
what lies deeper is one value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from matinee.messages.scenarios import (
    BfclCategory,
    Fields,
    GoldCall,
    Null,
    Said,
    Scenario,
    Suite,
    Turn,
)
from matinee.runtime.errors import ScenarioError

CATEGORIES: tuple[BfclCategory, ...] = get_args(BfclCategory)
_WITHOUT_CALLS = ("irrelevance", "live_irrelevance")
# BFCL's names of JSON Schema's types. `any` has none there: every value fits.
_TYPES = {
    **{name: name for name in ("string", "integer", "number", "boolean", "array", "object")},
    **{"float": "number", "bool": "boolean", "list": "array", "tuple": "array", "dict": "object"},
}
_KEPT = (
    *("description", "enum", "default", "format", "pattern"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
)


class _Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str


class _Function(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    description: str = ""
    parameters: dict[str, Any]


class _Question(BaseModel):
    """One line of a question file. `question`: one list of messages per turn."""

    id: str
    question: list[list[_Message]]
    function: list[_Function]


class _Answer(BaseModel):
    """One line of an answer file. `ground_truth`: the accepted calls."""

    id: str
    ground_truth: list[dict[str, dict[str, list[Any]]]]


Row = TypeVar("Row", _Question, _Answer)


@dataclass(frozen=True)
class BfclSuite:
    """The suite, and why which questions were left out, by id or by file and line."""

    suite: Suite
    left_out: dict[str, str]


def load_bfcl(data: Traversable, identifier: str, categories: Sequence[str] = ()) -> BfclSuite:
    """The suite of these categories (none named: all), in BFCL's order.

    `data`: the folder of the question files. A row that cannot be used is left out and told; where
    a category has no other, ScenarioError says why.
    """
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown:
        raise ScenarioError(
            f"suite {identifier}: BFCL has no categories {', '.join(unknown)} that can be run "
            f"here; choose among {', '.join(CATEGORIES)}."
        )
    left_out: dict[str, str] = {}
    scenarios: dict[str, Scenario] = {}
    for name in CATEGORIES:
        if not categories or name in categories:
            unusable: dict[str, str] = {}
            found = {case.id: case for case in _category(data, name, unusable)}
            if not found:
                why = "; ".join(f"{key}: {text}" for key, text in list(unusable.items())[:5])
                raise ScenarioError(
                    f"BFCL_v4_{name}.json has no question that can be used ({why or 'it is empty'})"
                    ". Take questions and answers from the same version of BFCL."
                )
            scenarios |= found
            left_out |= unusable
    cases = tuple(scenarios.values())
    suite = Suite(
        id=identifier, today=None, tools=(), scenarios=cases, single_output=True, values="plain"
    )
    return BfclSuite(suite, left_out)


def _category(
    data: Traversable, category: BfclCategory, left_out: dict[str, str]
) -> Iterator[Scenario]:
    questions = _rows(data / f"BFCL_v4_{category}.json", _Question, left_out)
    answers: dict[str, _Answer] | None = None
    if category not in _WITHOUT_CALLS:
        answers = _rows(data / "possible_answer" / f"BFCL_v4_{category}.json", _Answer, left_out)
    for name, question in questions.items():
        try:
            if answers is not None and name not in answers:
                raise ValueError("no accepted answer that can be used")
            yield _scenario(category, question, answers[name] if answers else None)
        except (ValueError, RecursionError) as error:
            left_out[name] = str(error)


def _rows(file: Traversable, kind: type[Row], left_out: dict[str, str]) -> dict[str, Row]:
    """The rows that can be used, by id; the others are noted as "file:line"."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: cannot be read ({error}).") from error
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = kind.model_validate(json.loads(line)) if line.strip() else None
            if row is not None and rows.setdefault(row.id, row) is not row:
                raise ValueError(f"the id {row.id} stands twice")
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            left_out[f"{file.name}:{number}"] = f"not a row of BFCL v4 ({place}: {first['msg']})"
        except json.JSONDecodeError as error:
            left_out[f"{file.name}:{number}"] = f"not JSON ({error})"
        except (ValueError, RecursionError) as error:
            left_out[f"{file.name}:{number}"] = str(error) or "nested too deeply"
    return rows


def _scenario(category: BfclCategory, row: _Question, answer: _Answer | None) -> Scenario:
    if len(row.question) != 1 or not row.question[0] or row.question[0][-1].role != "user":
        raise ValueError("the question must be one turn that ends with a user's message")
    *before, last = row.question[0]
    tools = {
        function.name: {
            "name": function.name,
            "description": function.description,
            "parameters": as_json_schema(function.parameters),
        }
        for function in row.function
    }
    if len(tools) != len(row.function):
        raise ValueError("two of the question's tools have the same name")
    calls = tuple(_gold_call(call, tools) for call in (answer.ground_truth if answer else ()))
    # Live ids are `live_simple_3-1-0`: question 3, about the second list of functions.
    parts = row.id.split("-")
    family = f"{parts[0].rpartition('_')[0]}_list_{parts[1]}" if len(parts) == 3 else row.id
    return Scenario(
        id=row.id,
        category=category,
        family=family,
        turns=(Turn(user=last.content, calls=calls),),
        opening=tuple(Said(role=said.role, content=said.content) for said in before),
        tools=tuple(tools.values()),
    )


def as_json_schema(described: dict[str, Any]) -> dict[str, Any]:
    """A parameter's description as JSON Schema. Raises ValueError for an unknown type.

    What JSON Schema does not know (such as `optional`, which `required` says already) is left out.
    """
    kind = described.get("type", "any")
    if kind != "any" and kind not in _TYPES:
        raise ValueError(f"unknown type {kind!r}; known: any, {', '.join(_TYPES)}")
    schema: dict[str, Any] = {} if kind == "any" else {"type": _TYPES[kind]}
    schema |= {key: described[key] for key in _KEPT if key in described}
    if not isinstance(schema.get("enum", []), list):
        del schema["enum"]
    if isinstance(described.get("properties"), dict):
        schema["properties"] = {
            name: as_json_schema(inner) for name, inner in described["properties"].items()
        }
    if isinstance(described.get("required"), list):
        schema["required"] = described["required"]
    if isinstance(described.get("items"), dict):
        schema["items"] = as_json_schema(described["items"])
    return schema


def _gold_call(answer: dict[str, Any], tools: dict[str, dict[str, Any]]) -> GoldCall:
    """One accepted call; `tools` by name, bare. Raises ValueError where it cannot be one."""
    if len(answer) != 1:
        raise ValueError(f"an accepted call must name one tool, found {len(answer)}")
    ((tool, parameters),) = answer.items()
    if tool not in tools:
        raise ValueError(f"an accepted call names the tool {tool!r}, which the question lacks")
    schema = tools[tool]["parameters"]
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for name in required:
        if name not in parameters:
            raise ValueError(f"{tool} requires {name!r}, for which no value is accepted")
    arguments = {}
    for name, values in parameters.items():
        if not values:
            raise ValueError(f"{tool}: {name!r} may neither have a value nor be absent")
        if name in properties:
            due = properties[name]
            arguments[name] = _options(values, due, may_be_absent=name not in required)
        elif "" not in values:  # one that the tool does not have may only be absent
            raise ValueError(f"{tool} has no parameter {name!r}, which a call must have")
    return GoldCall(tool=tool, arguments=arguments)


def _options(values: list[Any], schema: dict[str, Any], *, may_be_absent: bool) -> list[Any]:
    """The accepted values; "" stands for absence, and for itself where a text is due."""
    options = [_accepted(value, schema) for value in values if value != ""]
    if "" in values and schema.get("type", "string") == "string":
        options.append("")
    if "" in values and may_be_absent:
        options.append(None)
    return options


def _accepted(value: Any, schema: dict[str, Any]) -> Any:
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_object(part, items) if isinstance(part, dict) else part for part in value]
    if isinstance(value, dict):
        return _object(value, schema)
    return Null().model_dump() if value is None else value


def _object(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if not all(isinstance(options, list) for options in value.values()):
        raise ValueError("an accepted object needs a list of accepted values for each key")
    # What lies deeper is one value, not a choice.
    properties, required = schema.get("properties", {}), schema.get("required", [])
    options = {}
    for name, values in value.items():
        kind = properties.get(name, {}).get("type", "string")
        options[name] = [
            Null().model_dump() if one is None else one
            for one in values
            if one != "" or kind == "string"
        ]
        if "" in values and name not in required:
            options[name].append(None)
    return Fields(fields=options).model_dump()
