"""The door of the simulation: every call gets an observation, whatever the model wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from matinee.evaluation.simulation.answers import (
    ApiProblem,
    Refusal,
    answer,
    echo,
    encodable,
    refusal,
)
from matinee.evaluation.simulation.arguments import Parameters
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import ScenarioError

Answer = Callable[[str, dict[str, Any]], Any]


@lru_cache(maxsize=512)  # every case has its own simulation of the same tools
def _parameters(tool: Tool) -> Parameters:
    return Parameters(tool)


class Simulation(Protocol):
    """Tools that can be called. One object serves one run of one case."""

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; `arguments` is JSON text. Never raises on model input."""
        ...


class SimulatedApi:
    """A list of tools, checked alike and answered by one function.

    `answer` gets a tool's name and its checked arguments, and returns what JSON can hold or
    raises Refusal. Each fault strikes at the nth call of its tool, well-formed or not, before
    anything else happens. Raises ScenarioError for a fault of an unlisted tool, a tool listed
    twice or a schema that cannot be used.
    """

    def __init__(self, tools: Sequence[Tool], answer: Answer, faults: Sequence[Fault] = ()) -> None:
        self.tools = tuple(tools)
        self._parameters = {tool.name: _parameters(tool) for tool in tools}
        if len(self._parameters) != len(tools):
            raise ScenarioError("Two tools have the same name. Rename one or take it out.")
        for fault in faults:
            if fault.tool not in self._parameters:
                listed = ", ".join(self._parameters)
                raise ScenarioError(
                    f"A fault names the tool {fault.tool!r}, which is not listed. Listed: {listed}."
                )
        self._answer = answer
        self._faults = {(fault.tool, fault.nth): ApiProblem[fault.kind] for fault in faults}
        self._calls: Counter[str] = Counter()

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; see `Simulation`."""
        try:
            return answer(name, self._result(name, arguments))
        except Refusal as refused:
            return refusal(encodable(name), refused)

    def _result(self, name: str, arguments: str) -> Any:
        parameters = self._parameters.get(name)
        if parameters is None:
            raise Refusal(ApiProblem.unknown_tool, echo(name))
        self._calls[name] += 1
        fault = self._faults.get((name, self._calls[name]))
        if fault is not None:
            raise Refusal(fault)
        return self._answer(name, parameters.read(arguments))
