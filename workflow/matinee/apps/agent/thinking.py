"""One task under way: its conversation, its budget of steps, and one model output at a time.

The loop is written as generators. They yield events for whoever watches and requests for the
engine, and are sent the completion of each request; so one loop serves one task at a time as well
as many tasks in one batch.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from matinee.apps.agent.context import ShortTermMemory
from matinee.apps.agent.events import CallMade, CallObserved, Event, ModelWrote, Purpose
from matinee.apps.agent.task import AgentLimits, Task
from matinee.apps.agent.tools import ToolSource
from matinee.engines.base import Completion, Request, without_room
from matinee.messages.conversations import Message, Tool, ToolCall
from matinee.messages.parsing import CallForm, parse, printable
from matinee.messages.transcripts import Observation, Parse

Result = TypeVar("Result")
Play: TypeAlias = Generator[Event | Request, Completion | None, Result]


@dataclass(frozen=True)
class Thought:
    """One model output: what was parsed of it, its raw text, and whether it was cut off."""

    parse: Parse
    text: str
    cut_off: bool


@dataclass
class Usage:
    """What a task has cost so far; see `Answered`."""

    steps: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass
class Run:
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

    def think(self, purpose: Purpose, tools: Sequence[Tool]) -> Play[Thought | None]:
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
        return (yield from self._take(purpose, completion))

    def _take(self, purpose: Purpose, completion: Completion) -> Play[Thought]:
        self.usage.steps += 1
        self.usage.prompt_tokens += completion.prompt_tokens
        self.usage.completion_tokens += completion.completion_tokens
        self.usage.seconds += completion.seconds
        text = printable(completion.text)
        parsed = parse(self.form, text)
        yield ModelWrote(
            purpose,
            text,
            parsed.content,
            parsed.error,
            without_room(text, completion.completion_tokens, completion.finish),
            completion.prompt_tokens,
            completion.completion_tokens,
            completion.seconds,
        )
        return Thought(parsed, text, completion.finish == "length")

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
        shown = shortened(observation.content, self.limits.max_observation)
        self.say(Message("tool", shown, name=observation.tool or None))


def shortened(text: str, limit: int) -> str:
    """The beginning of a long text, and how much of it was left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}……（共{len(text)}字，以下省略）"


def with_calls(parsed: Parse) -> tuple[Message, tuple[ToolCall, ...]]:
    """The assistant message of an output with calls, and the calls."""
    calls = tuple(ToolCall(call.name, call.arguments) for call in parsed.calls)
    return Message("assistant", parsed.content, calls), calls
