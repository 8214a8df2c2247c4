"""Test cases: what the user says, which calls are accepted, what must be asked or left alone."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from matinee.runtime.strict import Strict

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
    "invalid_values",
    "forced_questions",
]

# Of BFCL v4: the single-turn questions that come with accepted answers, or with none to be made.
BfclCategory = Literal[
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
]

FaultKind = Literal["timeout", "rate_limit", "server_error", "empty"]


class Lookup(Strict):
    """A value that only another tool can supply, found in the simulation by name."""

    lookup: Literal["province_id", "city_id", "airport_code"]
    name: str


class Null(Strict):
    """The accepted value `null`, which in a list of accepted values means absence."""

    null: Literal[True] = True


class Fields(Strict):
    """An accepted object: the accepted values of each key; `null` among them: may be absent."""

    fields: dict[str, list[Any]]


class Verbatim(Strict):
    """A value that must be written so, whatever else means the same."""

    as_written: str


class GoldCall(Strict):
    """One accepted call.

    `arguments` maps each parameter to its accepted values: a scalar (one value), a list (any of
    them; `null` in the list means "may be absent") or a `Lookup`; where values are compared
    plainly, also `Fields` and `Null`. A parameter that is not named may only be absent or equal
    its default. `after` lists positions of calls of the same turn that must have returned before;
    calls that are not ordered may come in any order. `early`: may also be made before what the
    turn asks for.
    """

    tool: str
    arguments: dict[str, Any] = Field(default={})
    after: tuple[int, ...] = ()
    optional: bool = False
    early: bool = False


class Slot(Strict):
    """What the scripted user answers when asked for a parameter.

    `asked_by`: a question that holds one of these strings asks for the slot; for a slot of
    `Turn.invalid` a reply that holds one says what is wrong with the value.
    `answer`: null when the user does not know or will not say.
    """

    asked_by: tuple[str, ...]
    answer: str | None = None


class Turn(Strict):
    """One user message and what is accepted in reply to it.

    `ask`: slots that the model must ask for before it calls anything; the scripted user then
    answers from `slots`, and `calls` become due. `calls` empty means that no tool may be called in
    this turn. `alternatives`: other lists of calls that are as right as `calls`.
    `invalid`: slots to which the user gave a value that no tool takes. The model must say so
    before any call is carried out (one that its tool refuses is not); where the slot has an
    answer, `calls` are due after it.
    `ask_after`: slots that the reply which ends the turn must ask for, because a tool's result
    left them open; the next turn answers. Any other question is an error (asked needlessly).
    `must_say`, `mention`: each entry is a list of strings of which the final reply must hold one;
    the former is part of the verdict, the latter is scored beside it.
    """

    user: str
    calls: tuple[GoldCall, ...] = ()
    alternatives: tuple[tuple[GoldCall, ...], ...] = ()
    ask: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    ask_after: tuple[str, ...] = ()
    slots: dict[str, Slot] = Field(default={})
    must_say: tuple[tuple[str, ...], ...] = ()
    mention: tuple[tuple[str, ...], ...] = ()

    @property
    def idle(self) -> bool:
        """Nothing is due: whoever neither calls nor asks is right."""
        due = (self.ask, self.invalid, self.ask_after, self.must_say)
        return not any(due) and any(all(call.optional for call in calls) for calls in self.ways)

    @property
    def ways(self) -> tuple[tuple[GoldCall, ...], ...]:
        """Every accepted list of calls."""
        return (self.calls, *self.alternatives)


class Fault(Strict):
    """An error that the simulation injects at the `nth` call (from 1) of a tool in the case."""

    tool: str
    nth: Annotated[int, Field(ge=1)] = 1
    kind: FaultKind


class Said(Strict):
    """A message that stands before the first turn."""

    role: Literal["system", "user", "assistant"]
    content: str


class Scenario(Strict):
    """One test case. Cases that vary one situation share a `family` (statistics cluster by it).

    `tools`: the case's own tools; empty where those of the suite are meant.
    """

    id: str
    category: str
    family: str
    difficulty: Annotated[int, Field(ge=1, le=3)] = 1
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)]
    faults: tuple[Fault, ...] = ()
    note: str = ""
    opening: tuple[Said, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()


class Title(Strict):
    """A name in both languages of the report."""

    en: str
    zh: str


class Suite(Strict):
    """Scenarios with their tools and the date that the simulation and the model take for today.

    `today`: None where the model is told no date. `single_output`: the calls of the first output
    are judged as they stand; no tool is executed and nothing can be mended. `values`: whether an
    argument must mean what was accepted, or be written as it was (`plain_values.py`). `kinds`: how
    values of a tool's parameters are compared where their schema does not say it; for a list, its
    elements (see `values.py`). `defaults`: what the absence
    of a tool's parameter means where its schema does not say it. `categories`: the suite's own.
    """

    id: str
    today: str | None
    tools: tuple[dict[str, Any], ...]
    scenarios: tuple[Scenario, ...]
    single_output: bool = False
    values: Literal["meaning", "plain"] = "meaning"
    kinds: dict[str, dict[str, str]] = Field(default={})
    defaults: dict[str, dict[str, Any]] = Field(default={})
    categories: dict[str, Title] = Field(default={})

    def tools_of(self, scenario: Scenario) -> tuple[dict[str, Any], ...]:
        """The tools that a case is played with."""
        return scenario.tools or self.tools

    def all_tools(self) -> list[dict[str, Any]]:
        """The tools of the suite and of all its cases, each once."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        for tool in (*self.tools, *(tool for case in self.scenarios for tool in case.tools)):
            key = json.dumps(tool, sort_keys=True)
            if key not in seen:
                seen.add(key)
                found.append(tool)
        return found
