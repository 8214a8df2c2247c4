"""One task under way: its conversation, its budget of steps, and one model output at a time.

The loop is written as generators. They yield events for whoever watches and requests for the
engine, and are sent the completion of each request; so one loop serves one task at a time as well
as many tasks in one batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from matinee.apps.agent.events import (
    AgentLimits,
    CallMade,
    CallObserved,
    Event,
    ModelWrote,
    Purpose,
    Task,
    Usage,
)
from matinee.apps.agent.tools import ToolSource
from matinee.engines.base import Completion, Request, without_room
from matinee.messages.conversations import Message, Tool, ToolCall, canonical_json
from matinee.messages.parsing import CallForm, parse, printable
from matinee.messages.transcripts import Observation

Result = TypeVar("Result")
Play: TypeAlias = Generator[Event | Request, Completion | None, Result]


@dataclass
class AgentRun:
    """The state of one task. `reserved`: steps kept back for the writing of the answer."""

    task: Task
    source: ToolSource
    limits: AgentLimits
    form: CallForm
    context: ShortTermMemory
    reserved: int = 0
    usage: Usage = field(default_factory=Usage)
    sources: list[str] = field(default_factory=list)

    def say(self, message: Message) -> None:
        """Adds to what the model reads."""
        self.context.say(message)

    def steps_left(self, purpose: Purpose) -> int:
        """Model outputs that may still be asked for."""
        reserved = 0 if purpose == "answer" else self.reserved
        return self.limits.max_steps - reserved - self.usage.steps

    def think(self, purpose: Purpose, tools: Sequence[Tool]) -> Play[ModelWrote | None]:
        """The model's next output; None where the steps are used up."""
        if self.steps_left(purpose) < 1:
            return None
        request = Request(
            self.task.key,
            tuple(message.as_openai() for message in self.context.shown()),
            tuple(tool.as_openai() for tool in tools),
            self.limits.max_new_tokens,
        )
        completion = yield request
        if completion is None:
            raise RuntimeError("a request was answered with nothing; send it a Completion")
        self.usage.steps += 1
        self.usage.prompt_tokens += completion.prompt_tokens
        self.usage.completion_tokens += completion.completion_tokens
        self.usage.seconds += completion.seconds
        text = printable(completion.text)
        no_room = without_room(text, completion.completion_tokens, completion.finish)
        cut_off = completion.finish == "length"
        wrote = ModelWrote(purpose, text, parse(self.form, text), cut_off, no_room)
        yield wrote
        return wrote

    def call(self, subtask: int, call: ToolCall) -> Play[Observation]:
        """Makes one call; the model reads what it returned."""
        self.usage.calls += 1
        number = self.usage.calls
        yield CallMade(number, subtask, call)
        began = time.perf_counter()
        observation = self.source.call(call.name, call.arguments)
        seconds = time.perf_counter() - began
        self.usage.seconds += seconds
        if observation.error is None and call.name not in self.sources:
            self.sources.append(call.name)
        yield CallObserved(number, subtask, call, observation, seconds)
        self.observe(observation)
        return observation

    def observe(self, observation: Observation) -> None:
        """Shows the model an observation, shortened where it is long."""
        text, limit = observation.content, self.limits.max_observation
        if len(text) > limit:
            text = f"{text[:limit]}……（共{len(text)}字，以下省略）"
        self.say(Message("tool", text, name=observation.tool or None))


OMITTED = "（较早的结果，已省略）"
# What a template adds around a message.
_TOKENS_PER_MESSAGE = 8
_WORD = re.compile(r"[A-Za-z]+|\d|\S")


def estimate_tokens(text: str) -> int:
    """Tokens of a text where no tokenizer is at hand: words and single characters.

    It counts too many rather than too few: common tokenizers join Chinese characters to words.
    """
    return sum(1 + len(word) // 6 for word in _WORD.findall(text))


class ShortTermMemory:
    """The messages of one task.

    `opening` holds the system message and earlier turns. What the model is shown is cut in this
    order until it fits: the oldest turns of the opening, then old tool results of the task itself
    (each becomes one short note). The system message, the question and the latest round stay.
    """

    def __init__(self, opening: Sequence[Message], tools: Sequence[Tool], budget: int) -> None:
        self._system = [message for message in opening if message.role == "system"]
        self._history = [message for message in opening if message.role != "system"]
        self._said: list[Message] = []
        listed = (estimate_tokens(canonical_json(tool.as_openai())) for tool in tools)
        self._room = budget - sum(listed)

    def say(self, message: Message) -> None:
        """Adds a message to the task's conversation."""
        self._said.append(message)

    def shown(self) -> tuple[Message, ...]:
        """The messages that the model reads next."""
        history, said = list(self._history), list(self._said)
        while history and self._size([*self._system, *history, *said]) > self._room:
            history = _without_first_turn(history)
        for position in self._old_results():
            if self._size([*self._system, *history, *said]) <= self._room:
                break
            said[position] = replace(said[position], content=OMITTED)
        return (*self._system, *history, *said)

    def _old_results(self) -> list[int]:
        """Positions of tool results, oldest first, without those of the latest round."""
        latest = max(
            (n for n, message in enumerate(self._said) if message.role == "assistant"), default=0
        )
        return [n for n, message in enumerate(self._said[:latest]) if message.role == "tool"]

    def _size(self, messages: Sequence[Message]) -> int:
        texts = (
            message.content + "".join(call.name + call.arguments for call in message.tool_calls)
            for message in messages
        )
        return sum(estimate_tokens(text) + _TOKENS_PER_MESSAGE for text in texts)


def _without_first_turn(history: Sequence[Message]) -> list[Message]:
    """The history from its second user message on."""
    starts = [n for n, message in enumerate(history) if message.role == "user" and n > 0]
    return list(history[starts[0] :]) if starts else []
