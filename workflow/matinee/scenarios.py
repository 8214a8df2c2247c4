"""Test cases: what the user says, which calls are accepted, what must be asked or left alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Category = Literal[
    "single_tool",
    "optional_parameters",
    "coded_values",
    "similar_tools",
    "parallel_calls",
    "chain_two",
    "chain_three",
    "missing_answered",
    "missing_unanswered",
    "complete_request",
    "no_tool",
    "change_of_mind",
    "error_recovery",
]

FaultKind = Literal["timeout", "rate_limit", "server_error", "empty"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lookup(_Strict):
    """A value that only another tool can supply, found in the simulation by name."""

    lookup: Literal["province_id", "city_id", "airport_code"]
    name: str


class GoldCall(_Strict):
    """One accepted call.

    `arguments` maps each parameter to its accepted values: a scalar (one value), a list (any of
    them; `null` in the list means "may be absent"), or a `Lookup`. A parameter that is not named
    may only be absent or equal its default. `after` lists positions of calls of the same turn
    that must have returned before; calls that are not ordered may come in any order.
    """

    tool: str
    arguments: dict[str, Any] = {}
    after: tuple[int, ...] = ()
    optional: bool = False


class Slot(_Strict):
    """What the scripted user answers when asked for a parameter.

    `asked_by`: a question that holds one of these strings asks for the slot.
    `answer`: null when the user does not know or will not say.
    """

    asked_by: tuple[str, ...]
    answer: str | None


class Turn(_Strict):
    """One user message and what is accepted in reply to it.

    `ask`: slots that the model must ask for before it calls anything; the scripted user then
    answers from `slots`, and `calls` become due. With `ask` empty, asking back is an error
    (asked needlessly). `calls` empty means that no tool may be called in this turn.
    `mention`: each entry is a list of strings of which the final reply must hold one; it is
    scored beside the verdict, not in it.
    """

    user: str
    calls: tuple[GoldCall, ...] = ()
    ask: tuple[str, ...] = ()
    slots: dict[str, Slot] = {}
    mention: tuple[tuple[str, ...], ...] = ()


class Fault(_Strict):
    """An error that the simulation injects at the `nth` call (from 1) of a tool in the case."""

    tool: str
    nth: Annotated[int, Field(ge=1)] = 1
    kind: FaultKind


class Scenario(_Strict):
    """One test case. Cases that vary one situation share a `family` (statistics cluster by it)."""

    id: str
    category: Category
    family: str
    difficulty: Annotated[int, Field(ge=1, le=3)] = 1
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)]
    faults: tuple[Fault, ...] = ()
    note: str = ""


class Suite(_Strict):
    """Scenarios with their tools and the date that the simulation and the model take for today."""

    id: str
    today: str
    tools: tuple[dict[str, Any], ...]
    scenarios: tuple[Scenario, ...]
