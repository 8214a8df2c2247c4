"""Matinee: fine-tune a model to call tools, and measure whether it worked."""

__version__ = "0.1.0"
