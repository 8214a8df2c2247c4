"""BFCL v4's single-turn questions as a suite: read from the benchmark's own wheel."""

from matinee.evaluation.bfcl.reading import load_bfcl

__all__ = ["load_bfcl"]
