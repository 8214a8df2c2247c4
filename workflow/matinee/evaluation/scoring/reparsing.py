"""Parsing stored texts again, with another form or leniency, without running anything."""

from __future__ import annotations

from matinee.messages.parsing import CallForm, parse
from matinee.messages.transcripts import Transcript


def reparse(transcript: Transcript, form: CallForm, lenient: bool = False) -> Transcript:
    """The transcript with every step's text parsed anew.

    Observations and messages stay as they were in the run: a call that only the new parse finds
    has none, and is judged by its arguments alone.
    """
    steps = tuple(
        step.model_copy(update={"parse": parse(form, step.text, lenient=lenient)})
        for step in transcript.steps
    )
    return transcript.model_copy(update={"steps": steps})
