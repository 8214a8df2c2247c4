"""A conversation: its turns, what happened in each, and the next one on a model."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from matinee.apps.agent.driving import Stopped, watch
from matinee.apps.agent.events import (
    AgentLimits,
    Answered,
    CallObserved,
    Event,
    ModelWrote,
    Task,
)
from matinee.apps.agent.loop import Agent
from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.agent.planning import Planner
from matinee.apps.chatting.tools import ChatTools
from matinee.engines.base import LiveEngine, Written
from matinee.messages.conversations import Message
from matinee.messages.parsing import CallForm
from matinee.runtime.errors import UserError

State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Speaker:
    """A model to talk to: its name, its engine, and how it writes calls."""

    name: str
    engine: LiveEngine
    form: CallForm


@dataclass(frozen=True)
class Manner:
    """How the agent works: who plans, and whether it reflects and remembers."""

    planner: Planner = field(default_factory=Planner)
    reflection: bool = True
    memory: LongTermMemory | None = None
    limits: AgentLimits = field(default_factory=AgentLimits)


@dataclass
class ChatTurn:
    """A question and what happened since.

    `words`: the output that the model is writing, which came in `pieces` pieces, about one a token,
    of at most `limit`.
    """

    question: str
    events: list[Event] = field(default_factory=list)
    words: str = ""
    pieces: int = 0
    limit: int = 0
    state: State = "running"
    problem: str = ""

    @property
    def answer(self) -> Answered | None:
        """The end of the turn; None where it has none."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Answered) else None

    def messages(self) -> list[Message]:
        """The turn as later ones remember it: question, calls with their results, answer."""
        said = [Message("user", self.question)]
        for wrote, observed in self._rounds():
            if observed:
                calls = tuple(seen.call for seen in observed)
                said.append(Message("assistant", wrote, calls))
                said += [
                    Message("tool", seen.observation.content, name=seen.call.name)
                    for seen in observed
                ]
        if self.answer is not None:
            said.append(Message("assistant", self.answer.text))
        return said

    def _rounds(self) -> Iterator[tuple[str, list[CallObserved]]]:
        """Each model output's text with the calls that followed from it."""
        text, observed = "", list[CallObserved]()
        for event in self.events:
            if isinstance(event, ModelWrote):
                yield text, observed
                text, observed = event.parse.content, []
            elif isinstance(event, CallObserved):
                observed.append(event)
        yield text, observed

    def rounds(self) -> list[list[CallObserved]]:
        """The calls of each model output that made any."""
        return [observed for _, observed in self._rounds() if observed]


@dataclass
class Chat:
    """What one person and one model said to each other."""

    speaker: Speaker
    user: str = "local"
    turns: list[ChatTurn] = field(default_factory=list)
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def history(self) -> tuple[Message, ...]:
        """The ended turns; those without an answer are left out."""
        return tuple(
            message for turn in self.turns if turn.answer is not None for message in turn.messages()
        )

    def ask(
        self, question: str, tools: ChatTools, manner: Manner, stop: threading.Event
    ) -> Iterator[ChatTurn]:
        """The new turn, again and again as it grows; its `state` tells how it ended."""
        task = Task(
            question,
            self.user,
            self.history,
            tools.today,
            datetime.datetime.now(datetime.UTC),
            self.key,
        )
        turn = ChatTurn(question, limit=manner.limits.max_new_tokens)
        self.turns.append(turn)
        yield turn
        agent = Agent(
            tools,
            manner.planner,
            form=self.speaker.form,
            memory=manner.memory,
            reflection=manner.reflection,
            limits=manner.limits,
        )
        try:
            for event in watch(self.speaker.engine, agent.play(task), stop):
                _take(turn, event)
                yield turn
            turn.state = "done"
        except Stopped:
            turn.state = "stopped"
        except UserError as error:
            turn.state, turn.problem = "failed", str(error)
        yield turn


def _take(turn: ChatTurn, event: Event | Written) -> None:
    if isinstance(event, Written):
        turn.words += event.text
        turn.pieces += 1
        return
    turn.events.append(event)
    if isinstance(event, ModelWrote):
        turn.words, turn.pieces = "", 0
