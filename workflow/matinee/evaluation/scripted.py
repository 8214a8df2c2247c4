"""Engines without a model: one that knows the answers, one that always writes the same; the floor.

The floor is what a suite gives away: the verdicts on two agents that understand nothing. One never
calls and never asks. The other asks one and the same question, which names everything that the
suite ever wants to be asked for. What they get right says nothing for a model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from matinee.engines.base import Completion, Reply, Request
from matinee.evaluation.gold import as_lookup, as_verbatim, is_null, levels, written
from matinee.evaluation.playing import Play, case_of, run_suite
from matinee.evaluation.scoring import score_suite
from matinee.evaluation.simulation import lookup
from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.forms import NATIVE
from matinee.messages.parsing import CallForm, write_calls
from matinee.messages.scenarios import GoldCall, Scenario, Suite, Turn
from matinee.messages.transcripts import Verdict

_Messages = tuple[dict[str, Any], ...]

NULL_ANSWER = "好的，我知道了。"
_DONE = "好的，已经处理完了。"
NEVER_CALLS, CONSTANT_QUESTION = "never_calls", "constant_question"
FLOOR = (NEVER_CALLS, CONSTANT_QUESTION)


class ConstantEngine:
    """Writes the same text whatever it is given; by default neither a call nor a question."""

    form = "hermes"

    def __init__(self, text: str = NULL_ANSWER) -> None:
        self._text = text

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Plays the conversations one after the other; see `Engine`."""
        for request in requests:
            following: Request | None = request
            while following is not None:
                following = reply(following, _completion(self._text))


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
        play = Play(name, "hermes", max_steps=8, max_new_tokens=512)
        verdicts += score_suite(suite, run_suite(suite, ConstantEngine(text), play))
    return verdicts


class GoldEngine:
    """Answers every scenario of a suite rightly, as raw text in the given form.

    It asks for all missing slots at once, makes independent calls in one output and dependent
    ones in the order of the scenario (which lists the repetition after an injected fault as a
    call of its own), and mentions in its reply what is to be mentioned.
    """

    def __init__(
        self, suite: Suite, form: CallForm, look_up: Callable[[str, str], str] = lookup
    ) -> None:
        self._suite = suite
        self._scenarios = {scenario.id: scenario for scenario in suite.scenarios}
        # Nothing reads a model's own template here, so any form serves.
        self.form = "hermes" if form == NATIVE else form
        self._look_up = look_up

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Plays the conversations one after the other; see `Engine`."""
        for request in requests:
            outputs = self._outputs(self._scenarios[case_of(request.key)])
            next(outputs)  # up to where it waits for the messages
            following: Request | None = request
            while following is not None:
                following = reply(following, _completion(outputs.send(following.messages)))

    def _outputs(self, scenario: Scenario) -> Generator[str, _Messages, None]:
        """Is sent the messages so far, and yields the next output."""
        tools = {tool["name"]: tool for tool in self._suite.tools_of(scenario)}
        messages = yield ""
        for turn in scenario.turns:
            said = [f"这个值不行：{_word(turn, name)}。" for name in turn.invalid]
            if turn.ask:
                said.append(_question(turn, turn.ask))
            if said:
                messages = yield "".join(said)
            groups = levels(turn.calls)
            # Optional calls that no required one waits for: made only where a value is unknown.
            made = {position for group in groups for position in group}
            spare = [call for position, call in enumerate(turn.calls) if position not in made]
            for group in groups:
                calls = [self._call(turn.calls[position], tools) for position in group]
                while spare and not self._known(turn, group, messages):
                    messages = yield write_calls(self.form, [self._call(spare.pop(0), tools)])
                messages = yield write_calls(self.form, calls)
            if not turn.invalid or turn.calls:
                words = [words[0] for words in (*turn.must_say, *turn.mention)]
                told = "结果是：" + "，".join(words) + "。" if words else _DONE
                messages = yield told + (_question(turn, turn.ask_after) if turn.ask_after else "")

    def _known(self, turn: Turn, group: tuple[int, ...], messages: _Messages) -> bool:
        """Whether what the group's calls must look up was already said."""
        said = [message["content"] for message in messages]
        lookups = [
            self._value(_first(accepted))
            for position in group
            for accepted in turn.calls[position].arguments.values()
            if as_lookup(_first(accepted)) is not None
        ]
        return all(any(value in content for content in said) for value in lookups)

    def _call(self, gold: GoldCall, tools: dict[str, dict[str, Any]]) -> ToolCall:
        required = tools[gold.tool]["parameters"].get("required", [])
        accepted = {**dict.fromkeys(required), **gold.arguments}
        first = {name: _first(options) for name, options in accepted.items()}
        present = {
            name: self._value(option)
            for name, option in first.items()
            if option is not None or name in required
        }
        return ToolCall(gold.tool, canonical_json(present))

    def _value(self, option: Any) -> Any:
        if (wanted := as_lookup(option)) is not None:
            return self._look_up(wanted.lookup, wanted.name)
        if self._suite.values == "plain":
            return written(option)
        verbatim = as_verbatim(option)
        return None if is_null(option) else option if verbatim is None else verbatim


def _first(accepted: Any) -> Any:
    """The first accepted value; None where only absence is accepted."""
    options = accepted if isinstance(accepted, list) else [accepted]
    return next((option for option in options if option is not None), None)


def _question(turn: Turn, slots: Sequence[str]) -> str:
    return f"请问{'和'.join(_word(turn, name) for name in slots)}是什么？"


def _word(turn: Turn, slot: str) -> str:
    return turn.slots[slot].asked_by[0]


def _completion(text: str) -> Completion:
    return Completion(text, prompt_tokens=0, completion_tokens=0, finish="stop", seconds=0.0)
