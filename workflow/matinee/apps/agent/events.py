"""What an agent tells whoever watches it, in the order in which it happens."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from matinee.apps.agent.memories import Judgement, MemoryEntry
from matinee.apps.agent.subtasks import Subtask
from matinee.messages.conversations import ToolCall
from matinee.messages.transcripts import Observation

PlannerName = Literal["direct", "react", "plan", "sop"]
Purpose = Literal["plan", "act", "answer"]


@dataclass(frozen=True)
class MemoryHit:
    """An earlier answer to the same question, and whether it may be used again."""

    entry: MemoryEntry
    judgement: Judgement


@dataclass(frozen=True)
class PlanMade:
    """The subtasks that the agent set out to do.

    `planner`: who made them; `procedure`: the title of the written procedure that is followed, or
    empty; `note`: why the plan is simpler than was asked for, or empty.
    """

    planner: PlannerName
    subtasks: tuple[Subtask, ...]
    procedure: str = ""
    note: str = ""


@dataclass(frozen=True)
class SubtaskChanged:
    """A subtask has a new status."""

    subtask: Subtask


@dataclass(frozen=True)
class ModelWrote:
    """One model output. `text` is raw, calls included; `content` is what stands around the calls.

    `error`: why the output's calls could not be read, or None. `no_room`: nothing was written,
    because the prompt fills the model's context.
    """

    purpose: Purpose
    text: str
    content: str
    error: str | None
    no_room: bool
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True)
class CallMade:
    """A tool is about to be called. `number` counts the task's calls from 1."""

    number: int
    subtask: int
    call: ToolCall


@dataclass(frozen=True)
class CallObserved:
    """What the tool returned to the call of the same `number`."""

    number: int
    subtask: int
    call: ToolCall
    observation: Observation
    seconds: float


@dataclass(frozen=True)
class Reflected:
    """The agent looked at a failed subtask. `again`: it tries another way, else it gives up."""

    subtask: Subtask
    again: bool
    reason: str


@dataclass(frozen=True)
class Kept:
    """The answer was stored in long-term memory."""

    entry: MemoryEntry


@dataclass(frozen=True)
class Answered:
    """The end of every task. Nothing follows it.

    `complete`: every subtask that counts is done. `missing`: what was not found, one entry per
    failed subtask. `sources`: tools that contributed. `reused`: the answer came from memory.
    `steps`: model outputs; `calls`: tool calls; tokens and seconds are sums over them.
    """

    text: str
    complete: bool
    missing: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    reused: bool = False
    steps: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


Event: TypeAlias = (
    MemoryHit
    | PlanMade
    | SubtaskChanged
    | ModelWrote
    | CallMade
    | CallObserved
    | Reflected
    | Kept
    | Answered
)


def as_json(event: Event) -> dict[str, Any]:
    """The event as JSON can hold it; `event` names its kind."""
    values: dict[str, Any] = {"event": type(event).__name__}
    for field in dataclasses.fields(event):
        values[field.name] = _plain(getattr(event, field.name))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Observation):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)
