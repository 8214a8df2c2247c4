"""What a scenario's gold data must agree with: its own slots and order, and the tools' schemas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from matinee.evaluation.gold import written
from matinee.evaluation.simulation import lookup
from matinee.evaluation.values import KINDS
from matinee.messages.documents import Place
from matinee.messages.json_schemas import ParameterSchema
from matinee.messages.scenarios import GoldCall, Lookup, Scenario, Turn
from matinee.runtime.errors import ScenarioError


def shown(value: Any) -> str:
    """A value as it is told in a message."""
    return json.dumps(value, ensure_ascii=False, default=str)


def head_problems(
    kinds: Mapping[str, Mapping[str, str]],
    defaults: Mapping[str, Mapping[str, Any]],
    tools: Mapping[str, dict[str, Any]],
) -> Iterator[tuple[Place, str]]:
    """What is wrong with the kinds and defaults that a suite declares. `tools`: by name."""
    for key, listed in (("kinds", kinds), ("defaults", defaults)):
        for tool, declared in listed.items():
            if tool not in tools:
                yield (key, tool), _unknown_tool(tool, tools)
                continue
            schema = ParameterSchema(tools[tool]["parameters"])
            for name, value in declared.items():
                at: Place = (key, tool, name)
                if schema.unknown({name: None}):
                    allowed = ", ".join(schema.parameters) or "none"
                    yield at, f"{tool} has no parameter {name!r}; allowed: {allowed}"
                elif key == "kinds" and value not in KINDS:
                    yield at, f"unknown kind {value!r}; allowed: {', '.join(sorted(KINDS))}"
                elif key == "defaults" and not schema.accepts(name, value):
                    yield at, f"{name}: {shown(value)} is not accepted by the tool"


def scenario_problems(
    scenario: Scenario, tools: Mapping[str, dict[str, Any]] | None, *, single_output: bool = False
) -> Iterator[tuple[Place, str]]:
    """Yields each problem with the keys and positions that lead to it within the case.

    `tools`: by name, bare; None leaves them out of the check.
    """
    if single_output:
        yield from _single_output_problems(scenario)
    for number, turn in enumerate(scenario.turns):
        at: Place = ("turns", number)
        for where, text in _slot_problems(turn, last=turn is scenario.turns[-1]):
            yield (*at, *where), text
        for way, calls in enumerate(turn.ways):
            inside: Place = (*at, *(("alternatives", way - 1) if way else ("calls",)))
            for where, text in _order_problems(calls):
                yield (*inside, *where), text
            for position, call in enumerate(calls if tools is not None else ()):
                for where, text in _call_problems(call, tools or {}):
                    yield (*inside, position, *where), text
    for position, fault in enumerate(scenario.faults):
        if tools is not None and fault.tool not in tools:
            yield ("faults", position, "tool"), _unknown_tool(fault.tool, tools)


def _single_output_problems(scenario: Scenario) -> Iterator[tuple[Place, str]]:
    told = "cannot be in a suite of single outputs, where nothing answers"
    if len(scenario.turns) > 1:
        yield ("turns", 1), f"a second turn {told}"
    if scenario.faults:
        yield ("faults",), f"a fault {told}"
    for key in ("ask", "invalid", "ask_after"):
        if getattr(scenario.turns[0], key):
            yield ("turns", 0, key), f"{key} {told}"
    for way, calls in enumerate(scenario.turns[0].ways):
        for position, call in enumerate(calls):
            if call.after:
                inside: Place = ("alternatives", way - 1) if way else ("calls",)
                yield ("turns", 0, *inside, position, "after"), f"after {told}"


def _slot_problems(turn: Turn, *, last: bool) -> Iterator[tuple[Place, str]]:
    for key in ("ask", "invalid", "ask_after"):
        for name in getattr(turn, key):
            if name not in turn.slots:
                known = ", ".join(turn.slots) or "none"
                text = f"asks for {name!r}, which slots does not define; defined: {known}"
                yield (key,), text
            elif (
                key != "ask_after"
                and turn.slots[name].answer is None
                and not all(call.early and call.optional for calls in turn.ways for call in calls)
            ):
                text = f"{name!r} is never answered, so no call can become due; use []"
                yield ("calls",), text
            elif key == "invalid" and turn.slots[name].answer and not any(turn.ways):
                text = f"{name!r} is answered, but no call is due then; add calls, or leave it out"
                yield ("slots", name, "answer"), text
    if turn.ask_after and last:
        yield ("ask_after",), "the question that ends the last turn has no answer; add a turn"
    if turn.ask_after and (turn.ask or turn.invalid or not any(turn.ways)):
        yield ("ask_after",), "needs calls whose results it follows, and neither ask nor invalid"
    for name, slot in turn.slots.items():
        if not slot.asked_by or not all(word.strip() for word in slot.asked_by):
            text = "asked_by needs at least one word, none of it blank"
            yield ("slots", name, "asked_by"), text
        echoed = [word for word in slot.asked_by if word in turn.user]
        if name in turn.invalid and echoed:
            text = f"{echoed[0]!r} stands in the user's own message; saying it points nothing out"
            yield ("slots", name, "asked_by"), text


def _order_problems(calls: tuple[GoldCall, ...]) -> Iterator[tuple[Place, str]]:
    last = len(calls) - 1
    graph: dict[int, tuple[int, ...]] = {}
    for position, call in enumerate(calls):
        graph[position] = tuple(before for before in call.after if 0 <= before <= last)
        for before in call.after:
            if not 0 <= before <= last:
                text = f"after names call {before}; allowed: 0 to {last}, without itself"
                yield (position, "after"), text
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(str(position) for position in error.args[1])
        yield (error.args[1][0], "after"), f"calls wait for each other: {circle}"


def _call_problems(call: GoldCall, tools: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    if call.tool not in tools:
        yield ("tool",), _unknown_tool(call.tool, tools)
        return
    schema = ParameterSchema(tools[call.tool]["parameters"])
    for name in schema.required:
        # Where null is a value, as in OpenAI's strict tool lists, it says what absence says.
        if name not in call.arguments and not schema.accepts(name, None):
            yield ("tool",), f"{call.tool} needs the parameter {name!r}, which arguments lacks"
    for name, accepted in call.arguments.items():
        at: Place = ("arguments", name)
        if schema.unknown({name: None}):
            allowed = ", ".join(schema.parameters) or "none"
            yield at, f"{call.tool} has no parameter {name!r}; allowed: {allowed}"
            continue
        values = accepted if isinstance(accepted, list) else [accepted]
        if not values:
            yield at, f"{name}: no accepted value; give at least one"
        for position, value in enumerate(values):
            where = (*at, position) if isinstance(accepted, list) else at
            for text in _value_problems(value, schema, name):
                yield where, f"{name}: {text}"


def _value_problems(value: Any, schema: ParameterSchema, name: str) -> Iterator[str]:
    if value is None:
        if name in schema.required and not schema.accepts(name, None):
            yield "null means that it may be absent, but the parameter is required"
    elif isinstance(value, dict) and "lookup" in value:
        yield from _lookup_problems(value)
    elif (broken := schema.broken_rule(name, written(value))) is not None:
        due = schema.parameters.get(name, {})
        allowed = {key: due[key] for key in ("type", "enum", broken) if key in due} or due
        yield f"{shown(value)} is not accepted by the tool; allowed: {shown(allowed)}"


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


def _unknown_tool(name: str, tools: Iterable[str]) -> str:
    return f"unknown tool {name!r}; allowed: {', '.join(tools)}"
