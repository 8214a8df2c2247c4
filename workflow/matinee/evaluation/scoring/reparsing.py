"""Parsing stored texts again, with another form or leniency, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matinee.messages.parsing import CallForm, parse
from matinee.messages.transcripts import Transcript


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
