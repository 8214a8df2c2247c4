"""What an agent is given, and what it tells whoever watches it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from matinee.messages.conversations import Message, ToolCall
from matinee.messages.transcripts import Observation, Parse

PlannerName = Literal["direct", "react", "plan", "sop"]
Purpose = Literal["plan", "act", "answer"]
Status = Literal["waiting", "running", "done", "failed", "skipped"]


@dataclass(frozen=True)
class Task:
    """One question of one user.

    `history`: earlier turns of the same conversation, without a system message. `today`: the day
    that the model takes for today. `now`: the time of asking; ages in memory count from it.
    `key`: names the conversation at the engine; tasks that run at the same time need different
    ones.
    """

    question: str
    user: str = "local"
    history: tuple[Message, ...] = ()
    today: datetime.date = field(default_factory=datetime.date.today)
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    key: str = "agent"


@dataclass(frozen=True)
class AgentLimits:
    """Bounds of one task.

    `max_steps`: model outputs in all. `max_rounds`: rounds of calls in one attempt at a subtask.
    `max_attempts`: attempts at a subtask, where reflection is on. `max_subtasks`: parts of a plan.
    `max_new_tokens`: per output. `max_observation`: characters of a tool's answer that the model
    reads. `context_tokens`: what the model is shown at most, tools included.
    """

    max_steps: int = 16
    max_rounds: int = 6
    max_attempts: int = 2
    max_subtasks: int = 6
    max_new_tokens: int = 256
    max_observation: int = 2000
    context_tokens: int = 8192

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


@dataclass(frozen=True)
class Subtask:
    """One part of a task.

    `number`: from 1, in the order of the plan. `goal`: what the model is told to do. `tool`: only
    a successful call of this tool makes the subtask done; None leaves the choice to the model.
    `optional`: its failure leaves the task complete. `after`: numbers of subtasks that must be
    done before; where one is not, this one is skipped. `attempts`: how often it was tried.
    `result`: what it found; `reason`: why it failed or was skipped.
    """

    number: int
    goal: str
    tool: str | None = None
    optional: bool = False
    after: tuple[int, ...] = ()
    status: Status = "waiting"
    attempts: int = 0
    result: str = ""
    reason: str = ""

    def becomes(self, status: Status, *, result: str = "", reason: str = "") -> Subtask:
        """The subtask in its next status."""
        attempts = self.attempts + (status == "running")
        return replace(self, status=status, attempts=attempts, result=result, reason=reason)


@dataclass(frozen=True)
class MemoryEntry:
    """An answer that was kept. `asked_on`: the day that the question's 昨天 counts from.

    `sources`: the tools that the answer rests on. `kept_at` has a time zone.
    """

    id: int
    question: str
    answer: str
    sources: tuple[str, ...]
    kept_at: datetime.datetime
    asked_on: datetime.date


@dataclass(frozen=True)
class Judgement:
    """Whether an entry may be used again.

    `rule`: the name of the rule that decided. `age`: since it was kept. `reason`: the rule in one
    sentence.
    """

    usable: bool
    rule: str
    age: datetime.timedelta
    reason: str


@dataclass(frozen=True)
class MemoryHit:
    """An earlier answer to the same question. `text`: the answer with its age, sources and rule."""

    entry: MemoryEntry
    judgement: Judgement
    text: str


@dataclass(frozen=True)
class PlanMade:
    """The subtasks that the agent sets out to do.

    `rounds`: rounds of calls in one attempt at a subtask. `procedure`: the title of the written
    procedure that is followed, or empty; a step with a tool is then shown that tool only. `note`:
    why the plan is simpler than was asked for, or empty.
    """

    subtasks: tuple[Subtask, ...]
    rounds: int
    procedure: str = ""
    note: str = ""

    @property
    def whole(self) -> bool:
        """Whether the only subtask is the question itself."""
        return len(self.subtasks) == 1 and self.subtasks[0].tool is None


@dataclass(frozen=True)
class SubtaskChanged:
    """A subtask has a new status."""

    subtask: Subtask


@dataclass(frozen=True)
class ModelWrote:
    """One model output. `text` is raw, calls included; `parse`: what was read of it.

    `no_room`: nothing was written, because the prompt fills the model's context.
    """

    purpose: Purpose
    text: str
    parse: Parse
    cut_off: bool
    no_room: bool


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


@dataclass
class Usage:
    """What a task has cost: model outputs (`steps`), tool calls, and sums over them."""

    steps: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Answered:
    """The end of every task. Nothing follows it.

    `complete`: every subtask that counts is done. `missing`: what was not found, one entry per
    failed subtask. `sources`: tools that contributed. `reused`: the answer came from memory.
    """

    text: str
    complete: bool
    missing: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    reused: bool = False
    usage: Usage = field(default_factory=Usage)


Event: TypeAlias = (
    MemoryHit | PlanMade | SubtaskChanged | ModelWrote | CallMade | CallObserved | Reflected
    | Kept | Answered
)  # fmt: skip
