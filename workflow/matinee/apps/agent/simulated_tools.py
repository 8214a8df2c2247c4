"""The simulated tools as a source: the eleven of the test, or any list with its simulation."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from matinee.evaluation.simulation import Simulation, world
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault
from matinee.messages.transcripts import Observation


class SimulatedTools:
    """A simulation with the tools that it answers to."""

    def __init__(self, tools: Sequence[Tool], simulation: Simulation) -> None:
        self._tools = tuple(tools)
        self._simulation = simulation

    @classmethod
    def world(cls, today: datetime.date, faults: Sequence[Fault] = ()) -> SimulatedTools:
        """The eleven tools as they answer on the day `today`."""
        return cls(eleven_tools(), world(today, faults))

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model is told."""
        return self._tools

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call."""
        return self._simulation.call(name, arguments)
