"""What an agent is given: a task, and the bounds within which it must end."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from matinee.messages.conversations import Message


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
