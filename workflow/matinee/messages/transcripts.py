"""The record of a subject's run over one case: everything said, everything called, raw."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from matinee.runtime.strict import Strict


class Detail(Strict):
    """What a verdict or a parser says, as facts: a sentence's key and what it is about (another
    one, too). The words, in either language, are in `details.yaml`.
    """

    key: str
    values: dict[str, str | int | Detail] = Field(default={})


class ParsedCall(Strict):
    """A call as parsed from model text; `arguments` is JSON text."""

    name: str
    arguments: str


def _as_detail(told: Any) -> Any:
    # Transcripts of earlier versions hold the English sentence.
    return Detail(key="as_told", values={"text": told}) if isinstance(told, str) else told


class Parse(Strict):
    """What a parser made of one model output: calls, the remaining text, or an error.

    `error`: None, or where the text broke and why. `reasoning`: what the model thought before its
    answer.
    """

    content: str
    reasoning: str = ""
    calls: tuple[ParsedCall, ...] = ()
    error: Annotated[Detail | None, BeforeValidator(_as_detail)] = None


class Observation(Strict):
    """What a tool returned for one call. `content` is the JSON text that the model reads."""

    tool: str
    content: str
    error: str | None = None


class Step(Strict):
    """One model output within a turn, and what followed from it."""

    turn: int
    text: str
    parse: Parse
    observations: tuple[Observation, ...] = ()
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length"]
    seconds: float
    reply: str | None = None  # what the scripted user answered, where the model asked back


class Transcript(Strict):
    """One case, one repeat. `stop`: why the loop ended (done, step_limit, token_limit, cycle).

    `form`: how calls were to be written; empty for runs that noted none.
    """

    case: str
    subject: str
    suite: str
    repeat: int = 0
    form: str = ""
    messages: tuple[dict[str, Any], ...]
    steps: tuple[Step, ...]
    stop: Literal["done", "step_limit", "token_limit", "cycle"]


# Of the faults of a reply, the first that fits: `call_in_other_form` (a call, but not in the form
# that is asked for), `echo` (the prompt or a tool's text again), `garbage` (noise, or the same over
# and over), `empty`, `cut_off` (the token limit came first).
ErrorClass = Literal[
    "no_call",
    "call_in_other_form",
    "echo",
    "garbage",
    "empty",
    "cut_off",
    "unneeded_call",
    "wrong_tool",
    "unknown_tool",
    "unparsable",
    "schema_violation",
    "missing_argument",
    "extra_argument",
    "wrong_value",
    "invented_value",
    "wrong_order",
    "repeated_call",
    "missing_call",
    "step_limit",
    "asked_needlessly",
    "asked_wrong_thing",
    "gave_up",
    "unsaid",
]


class Verdict(Strict):
    """What one transcript is worth. `error` is the first fault, `detail` what it is about."""

    case: str
    subject: str
    suite: str
    category: str
    family: str
    repeat: int = 0
    success: bool
    error: ErrorClass | None
    detail: Detail
    metrics: dict[str, float | int | bool | None]
