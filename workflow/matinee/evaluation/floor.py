"""What a suite gives away: the verdicts on two agents that understand nothing.

One never calls and never asks. The other asks one and the same question, which names everything
that the suite ever wants to be asked for. What they get right says nothing for a model.
"""

from __future__ import annotations

from collections.abc import Iterable

from matinee.engines.base import Completion, Reply, Request
from matinee.evaluation.playing import run_suite
from matinee.evaluation.scoring import score_suite
from matinee.evaluation.scripted import NULL_ANSWER
from matinee.messages.scenarios import Suite
from matinee.messages.transcripts import Verdict

NEVER_CALLS, CONSTANT_QUESTION = "never_calls", "constant_question"
FLOOR = (NEVER_CALLS, CONSTANT_QUESTION)
STEPS, TOKENS = 8, 512


class ConstantEngine:
    """Writes the same text whatever it is given."""

    def __init__(self, text: str) -> None:
        self._answer = Completion(text, 0, len(text), "stop", 0.0)

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Plays the conversations one after the other; see `Engine`."""
        for request in requests:
            following: Request | None = request
            while following is not None:
                following = reply(following, self._answer)


def constant_question(suite: Suite) -> str:
    """A question for every slot of the suite at once."""
    words = dict.fromkeys(
        slot.asked_by[0]
        for scenario in suite.scenarios
        for turn in scenario.turns
        for slot in turn.slots.values()
    )
    return f"请问{'、'.join(words) or '具体要求'}是什么？"


def play_floor(suite: Suite) -> list[Verdict]:
    """Verdicts on both agents, each as a subject of that name. No tool is ever executed."""
    verdicts = []
    for name, text in zip(FLOOR, (NULL_ANSWER, constant_question(suite)), strict=True):
        transcripts = run_suite(
            suite,
            ConstantEngine(text),
            subject=name,
            form="hermes",
            max_steps=STEPS,
            max_new_tokens=TOKENS,
        )
        verdicts += score_suite(suite, transcripts)
    return verdicts
