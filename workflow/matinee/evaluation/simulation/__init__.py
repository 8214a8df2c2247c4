"""The tools that models are tested on, simulated: no network, no state beyond the case."""

from matinee.evaluation.simulation.api import SimulatedApi, Simulation
from matinee.evaluation.simulation.recorded import FixtureSimulation, RecordedAnswer
from matinee.evaluation.simulation.world import lookup, world

__all__ = [
    "FixtureSimulation",
    "RecordedAnswer",
    "SimulatedApi",
    "Simulation",
    "lookup",
    "world",
]
