"""What happened against what was accepted: one verdict per transcript, with its error class."""

from matinee.scoring.reparsing import reparse
from matinee.scoring.verdicts import score, score_suite

__all__ = ["reparse", "score", "score_suite"]
