"""What happened against what was accepted: one verdict per transcript, with its error class."""

from matinee.evaluation.scoring.metrics import aggregate, seconds_per_case
from matinee.evaluation.scoring.verdicts import reparse, score, score_both_ways, score_suite

__all__ = [
    "aggregate",
    "reparse",
    "score",
    "score_both_ways",
    "score_suite",
    "seconds_per_case",
]
