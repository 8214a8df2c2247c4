"""BFCL's accepted answers as accepted calls.

An answer is `{tool: {parameter: [accepted values]}}`, where "" among the values means that the
parameter may be absent. An object, or an object in a list, has such a list for each of its keys;
what lies deeper is one value.
"""

from __future__ import annotations

from typing import Any

from matinee.messages.scenarios import Fields, GoldCall, Null


def gold_call(answer: dict[str, Any], tools: dict[str, dict[str, Any]]) -> GoldCall:
    """One accepted call; `tools` by name, bare. Raises ValueError where it cannot be one."""
    if len(answer) != 1:
        raise ValueError(f"an accepted call must name one tool, found {len(answer)}")
    ((name, parameters),) = answer.items()
    if name not in tools:
        raise ValueError(f"an accepted call names the tool {name!r}, which the question lacks")
    schema = tools[name]["parameters"]
    _refuse_unanswerable(name, parameters, schema)
    return GoldCall(tool=name, arguments=_options_by_name(parameters, schema))


def _refuse_unanswerable(tool: str, parameters: dict[str, Any], schema: dict[str, Any]) -> None:
    for name in schema.get("required", []):
        if name not in parameters:
            raise ValueError(f"{tool} requires {name!r}, for which no value is accepted")
    for name, values in parameters.items():
        if not values:
            raise ValueError(f"{tool}: {name!r} may neither have a value nor be absent")
        if name not in schema.get("properties", {}) and "" not in values:
            raise ValueError(f"{tool} has no parameter {name!r}, which a call must have")


def _options_by_name(
    parameters: dict[str, list[Any]], schema: dict[str, Any]
) -> dict[str, list[Any]]:
    """Accepted values of each parameter; one that the tool does not have may only be absent."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    return {
        name: _options(values, properties[name], may_be_absent=name not in required)
        for name, values in parameters.items()
        if name in properties
    }


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
