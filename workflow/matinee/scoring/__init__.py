"""What happened against what was accepted: one verdict per transcript, with its error class."""

from matinee.scoring.aggregates import aggregate, seconds_per_case
from matinee.scoring.leniency import score_both_ways
from matinee.scoring.reparsing import reparse
from matinee.scoring.verdicts import score, score_suite

__all__ = [
    "aggregate",
    "reparse",
    "score",
    "score_both_ways",
    "score_suite",
    "seconds_per_case",
]
