"""What a scenario's gold data must agree with: its own slots and order, and the tools' schemas."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from matinee.evaluation.simulation import lookup
from matinee.messages.documents import Place
from matinee.messages.json_schemas import validator
from matinee.messages.scenarios import GoldCall, Lookup, Scenario, Turn
from matinee.runtime.errors import ScenarioError


def shown(value: Any) -> str:
    """A value as it is told in a message."""
    return json.dumps(value, ensure_ascii=False, default=str)


def scenario_problems(
    scenario: Scenario, schemas: dict[str, Any] | None
) -> Iterator[tuple[Place, str]]:
    """Yields each problem with the keys and positions that lead to it within the case.

    `schemas`: each tool's parameters by tool name; None leaves the tools out of the check.
    """
    for number, turn in enumerate(scenario.turns):
        at: Place = ("turns", number)
        for where, text in itertools.chain(_slot_problems(turn), _order_problems(turn.calls)):
            yield (*at, *where), text
        for position, call in enumerate(turn.calls if schemas is not None else ()):
            for where, text in _call_problems(call, schemas or {}):
                yield (*at, "calls", position, *where), text
    for position, fault in enumerate(scenario.faults):
        if schemas is not None and fault.tool not in schemas:
            yield ("faults", position, "tool"), _unknown_tool(fault.tool, schemas)


def _slot_problems(turn: Turn) -> Iterator[tuple[Place, str]]:
    for name in turn.ask:
        if name not in turn.slots:
            known = ", ".join(turn.slots) or "none"
            yield (
                ("ask",),
                f"asks for {name!r}, which slots does not define; defined: {known}",
            )
        elif turn.slots[name].answer is None and turn.calls:
            yield (
                ("calls",),
                f"{name!r} is never answered, so no call can become due; use []",
            )
    for name, slot in turn.slots.items():
        if not slot.asked_by or not all(word.strip() for word in slot.asked_by):
            yield (
                ("slots", name, "asked_by"),
                "asked_by needs at least one word, none of it blank",
            )


def _order_problems(calls: tuple[GoldCall, ...]) -> Iterator[tuple[Place, str]]:
    last = len(calls) - 1
    graph: dict[int, tuple[int, ...]] = {}
    for position, call in enumerate(calls):
        graph[position] = tuple(before for before in call.after if 0 <= before <= last)
        for before in call.after:
            if not 0 <= before <= last:
                yield (
                    ("calls", position, "after"),
                    f"after names call {before}; allowed: 0 to {last}, without itself",
                )
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(str(position) for position in error.args[1])
        yield (
            ("calls", error.args[1][0], "after"),
            f"calls wait for each other: {circle}",
        )


def _call_problems(call: GoldCall, schemas: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    if call.tool not in schemas:
        yield ("tool",), _unknown_tool(call.tool, schemas)
        return
    schema = schemas[call.tool]
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for name in required:
        if name not in call.arguments:
            yield (
                ("tool",),
                f"{call.tool} needs the parameter {name!r}, which arguments lacks",
            )
    for name, accepted in call.arguments.items():
        at: Place = ("arguments", name)
        if name not in properties:
            allowed = ", ".join(properties) or "none"
            yield at, f"{call.tool} has no parameter {name!r}; allowed: {allowed}"
            continue
        values = accepted if isinstance(accepted, list) else [accepted]
        if not values:
            yield at, f"{name}: no accepted value; give at least one"
        for position, value in enumerate(values):
            where = (*at, position) if isinstance(accepted, list) else at
            for text in _value_problems(value, schema, name):
                yield where, f"{name}: {text}"


def _value_problems(value: Any, schema: dict[str, Any], name: str) -> Iterator[str]:
    if value is None:
        if name in schema.get("required", []):
            yield "null means that it may be absent, but the parameter is required"
    elif isinstance(value, dict) and "lookup" in value:
        yield from _lookup_problems(value)
    elif (broken := _broken_rule(value, schema, name)) is not None:
        hint = "; put dates in quotes" if isinstance(value, datetime.date) else ""
        due = schema["properties"][name]
        allowed = {key: due[key] for key in ("type", "enum", broken) if key in due} or due
        yield f"{shown(value)} is not accepted by the tool; allowed: {shown(allowed)}{hint}"


def _broken_rule(value: Any, schema: dict[str, Any], name: str) -> str | None:
    """The schema's keyword that forbids this value, rules between parameters left aside."""
    parts = ("properties", "$defs", "definitions")
    alone: dict[str, Any] = {key: schema[key] for key in parts if key in schema}
    error = next(iter(validator(alone).iter_errors({name: value})), None)
    return None if error is None else str(error.validator)


def _lookup_problems(value: dict[str, Any]) -> Iterator[str]:
    try:
        wanted = Lookup.model_validate(value)
    except ValidationError as error:
        for fault in error.errors():
            yield f"lookup: {fault['loc'][-1]}: {fault['msg']}"
        return
    try:
        lookup(wanted.lookup, wanted.name)
    except ScenarioError as error:
        yield f"the simulation knows no {wanted.lookup} of {wanted.name!r} ({error})"


def _unknown_tool(name: str, schemas: dict[str, Any]) -> str:
    return f"unknown tool {name!r}; allowed: {', '.join(schemas)}"
