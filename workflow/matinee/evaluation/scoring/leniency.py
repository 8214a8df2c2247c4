"""Stored texts parsed again, and the lenient verdict beside the strict one; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matinee.evaluation.scoring.matching import LookUp
from matinee.evaluation.scoring.verdicts import score_suite
from matinee.evaluation.simulation import lookup
from matinee.messages.parsing import CallForm, parse
from matinee.messages.scenarios import Suite
from matinee.messages.transcripts import Transcript, Verdict


def reparse(
    transcript: Transcript,
    form: CallForm,
    lenient: bool = False,
    tools: Sequence[dict[str, Any]] = (),
) -> Transcript:
    """The transcript with every step's text parsed anew, in the form that the run noted.

    `form`: for runs that noted none. `tools`: those of the case.

    Observations and messages stay as they were in the run: a call that only the new parse finds
    has none, and is judged by its arguments alone.
    """
    form = transcript.form or form
    steps = tuple(
        step.model_copy(update={"parse": parse(form, step.text, lenient=lenient, tools=tools)})
        for step in transcript.steps
    )
    return transcript.model_copy(update={"steps": steps})


def score_both_ways(
    suite: Suite, transcripts: Sequence[Transcript], form: CallForm, look_up: LookUp = lookup
) -> list[Verdict]:
    """Strict verdicts with the metric `lenient_success`; in the order of the transcripts.

    It is true where the case succeeds by the lenient parse alone. Nothing is run again: a repaired
    call has no result from which a chain could go on, and one that the model then wrote rightly is
    not counted twice. It is the least that a forgiving parser would have made of the run.
    """
    strict = score_suite(suite, transcripts, look_up)
    tools = {case.id: suite.tools_of(case) for case in suite.scenarios}
    repaired = [reparse(one, form, lenient=True, tools=tools[one.case]) for one in transcripts]
    lenient = score_suite(suite, repaired, look_up)
    return [
        one.model_copy(update={"metrics": one.metrics | {"lenient_success": other.success}})
        for one, other in zip(strict, lenient, strict=True)
    ]
