"""The lenient verdict beside the strict one: how much is lost to the format alone."""

from __future__ import annotations

from collections.abc import Sequence

from matinee.evaluation.scoring.matching import LookUp
from matinee.evaluation.scoring.reparsing import reparse
from matinee.evaluation.scoring.verdicts import score_suite
from matinee.evaluation.simulation import lookup
from matinee.messages.parsing import CallForm
from matinee.messages.scenarios import Suite
from matinee.messages.transcripts import Transcript, Verdict


def score_both_ways(
    suite: Suite, transcripts: Sequence[Transcript], form: CallForm, look_up: LookUp = lookup
) -> list[Verdict]:
    """Strict verdicts with the metric `lenient_success`; in the order of the transcripts.

    It is true where the case succeeds when usual slips of the format are repaired, or succeeds
    anyway: a model that was told of a slip and mended it is not blamed for having made the call
    twice. Nothing is run again, so that a repaired call has no result from which a chain could go
    on: it is the least that a forgiving parser would have made of the run.
    """
    strict = score_suite(suite, transcripts, look_up)
    tools = {case.id: case.tools or suite.tools for case in suite.scenarios}
    repaired = [reparse(one, form, lenient=True, tools=tools[one.case]) for one in transcripts]
    lenient = score_suite(suite, repaired, look_up)
    return [_beside(one, other) for one, other in zip(strict, lenient, strict=True)]


def _beside(strict: Verdict, lenient: Verdict) -> Verdict:
    success = strict.success or lenient.success
    return strict.model_copy(update={"metrics": strict.metrics | {"lenient_success": success}})
