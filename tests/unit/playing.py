"""Cases played with given model outputs over the real tools: what tests of the loop start from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from matinee.engines.base import Completion, Reply, Request
from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import score
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.documents import open_document
from matinee.messages.parsing import CallForm, write_calls
from matinee.messages.scenarios import Fault, GoldCall, Scenario, Slot, Suite, Turn
from matinee.messages.transcripts import Transcript, Verdict
from matinee.runtime.places import RESOURCES

TODAY = "2024-01-25"
HEAD = open_document(RESOURCES / "scenarios" / "suite.yaml").value
DECLARED: dict[str, Any] = {key: HEAD[key] for key in ("kinds", "defaults")}
DONE = "好的，查到了。"


@cache
def tools() -> tuple[dict[str, Any], ...]:
    """The eleven tools, bare."""
    return tuple(
        {"name": tool.name, "description": tool.description, "parameters": tool.schema}
        for tool in eleven_tools()
    )


class ListEngine:
    """Plays the given outputs in order; a pair (text, "length") is an output that was cut off."""

    def __init__(self, outputs: Sequence[str | tuple[str, str]]) -> None:
        self.outputs = list(outputs)
        self.requests: list[Request] = []

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        for request in requests:
            following: Request | None = request
            while following is not None:
                self.requests.append(following)
                output = self.outputs.pop(0)
                text, finish = output if isinstance(output, tuple) else (output, "stop")
                cut = finish == "length"
                following = reply(
                    following, Completion(text, 10, len(text), "length" if cut else "stop", 0.5)
                )


def call(tool: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(tool, canonical_json(arguments))


def says(*calls: ToolCall, form: CallForm = "hermes") -> str:
    return write_calls(form, calls)


def gold(
    tool: str, /, *, after: Sequence[int] = (), optional: bool = False, **arguments: Any
) -> GoldCall:
    return GoldCall(tool=tool, arguments=arguments, after=tuple(after), optional=optional)


def turn(
    *calls: GoldCall,
    user: str = "请查一下。",
    ask: dict[str, str | None] | None = None,
    mention: Sequence[Sequence[str]] = (),
) -> Turn:
    """`ask`: slot and the user's answer; a question that names the slot asks for it."""
    slots = {name: Slot(asked_by=(name,), answer=said) for name, said in (ask or {}).items()}
    mentioned = tuple(tuple(words) for words in mention)
    return Turn(user=user, calls=calls, ask=tuple(slots), slots=slots, mention=mentioned)


def scenario(*turns: Turn, faults: Sequence[Fault] = (), name: str = "case") -> Scenario:
    return Scenario(id=name, category="single_tool", family="f", turns=turns, faults=tuple(faults))


def suite(*scenarios: Scenario) -> Suite:
    return Suite(id="inline", today=TODAY, tools=tools(), scenarios=scenarios, **DECLARED)


def play(
    case: Scenario,
    *outputs: str | tuple[str, str],
    form: CallForm = "hermes",
    max_steps: int = 6,
) -> Transcript:
    (transcript,) = run_suite(
        suite(case),
        ListEngine(outputs),
        Play(subject="test", form=form, max_steps=max_steps, max_new_tokens=100),
    )
    return transcript


def judged(case: Scenario, *outputs: str | tuple[str, str], max_steps: int = 6) -> Verdict:
    return score(case, play(case, *outputs, max_steps=max_steps), tools(), declared=suite())
