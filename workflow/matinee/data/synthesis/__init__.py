"""Makes tool-calling conversations from a catalogue of tools."""

from matinee.config.synthesis import SynthesisSettings
from matinee.data.synthesis.catalogue import Catalogue, load_catalogue
from matinee.data.synthesis.generator import generate
from matinee.data.synthesis.simulator import World

__all__ = ["Catalogue", "SynthesisSettings", "World", "generate", "load_catalogue"]
