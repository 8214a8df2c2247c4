"""The tools that models are tested on, simulated: no network, no state beyond the case."""

from matinee.simulation.api import SimulatedApi, Simulation
from matinee.simulation.lookups import lookup
from matinee.simulation.recorded import FixtureSimulation, RecordedAnswer
from matinee.simulation.world import world

__all__ = [
    "FixtureSimulation",
    "RecordedAnswer",
    "SimulatedApi",
    "Simulation",
    "lookup",
    "world",
]
