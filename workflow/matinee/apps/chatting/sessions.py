"""Who talks to which model: one session per visitor, with one conversation per model."""

from __future__ import annotations

import contextlib
import datetime
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from matinee.apps.agent.events import PlannerName
from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.agent.planning import Planner, Procedure
from matinee.apps.agent.tools import ToolSource
from matinee.apps.chatting.conversation import Chat, Manner, Speaker
from matinee.apps.chatting.tools import ChatTools, listed_tools
from matinee.apps.chatting.wording import Language
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault, Scenario, Suite
from matinee.runtime.errors import UserError

# Conversations of visitors who left without saying so are dropped beyond so many.
MOST_SESSIONS = 200
# Seconds in which what happens is gathered, so that a page is not drawn for every token.
PACE = 0.1


@dataclass
class Session:
    """What one visitor has said, and the scenario and tools that it is about."""

    conversations: list[Chat]
    language: Language = "en"
    tools: ChatTools | None = None
    scenario: Scenario | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    busy: bool = False

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The errors that the loaded scenario injects."""
        return self.scenario.faults if self.scenario is not None else ()

    @property
    def next_question(self) -> str:
        """The scenario's message that has not been sent yet; empty where there is none."""
        said = len(self.conversations[0].turns)
        turns = self.scenario.turns if self.scenario is not None else ()
        return turns[said].user if said < len(turns) else ""


@dataclass(frozen=True)
class Asking:
    """A question, the tool list as it was edited, and how it is to be answered."""

    question: str
    tools: str
    planner: PlannerName = "react"
    reflection: bool = True
    remember: bool = True
    compare: bool = False


class Desk:
    """All sessions, the models that they talk to, and what they have in common.

    `sources`: real tools, offered beside those of the edited list.
    """

    def __init__(
        self,
        speakers: Sequence[Speaker],
        suite: Suite,
        store: LongTermMemory,
        procedures: Sequence[Procedure] = (),
        sources: Sequence[ToolSource] = (),
    ) -> None:
        self.speakers = tuple(speakers)
        self.suite = suite
        self.today = datetime.date.fromisoformat(suite.today or str(datetime.date.today()))
        self.procedures = tuple(procedures)
        self.sources = tuple(sources)
        self.tool_list = listed_tools([Tool.from_openai(tool) for tool in suite.tools])
        self._store = store
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def session(self, key: str) -> Session:
        """The session of a visitor; a new one where there is none."""
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = Session(self._conversations(key))
            self._sessions.move_to_end(key)
            old = list(self._sessions)[:-MOST_SESSIONS]
        for gone in old:
            self.leave(gone)
        return self._sessions[key]

    def begin_again(self, key: str, scenario: str | None = None) -> Session:
        """The visitor's session with nothing said. Raises UserError for an unknown scenario."""
        found = next((one for one in self.suite.scenarios if one.id == scenario), None)
        if scenario and found is None:
            raise UserError(f"There is no scenario {scenario!r} in the suite {self.suite.id}.")
        session = self.session(key)
        session.stop.set()
        session.stop = threading.Event()
        session.conversations = self._conversations(key)
        session.scenario = found
        session.tools = None
        return session

    def leave(self, key: str) -> None:
        """Ends a visitor's answers and forgets what was said and remembered."""
        with self._lock:
            session = self._sessions.pop(key, None)
        if session is not None:
            session.stop.set()
            for conversation in session.conversations:
                self._store.forget_all(conversation.user)

    def read_tools(self, text: str, faults: Sequence[Fault] = ()) -> ChatTools:
        """The edited tool list with the real tools. Raises UserError for what cannot be used."""
        return ChatTools(text, self.today, faults, self.sources)

    def ask(self, session: Session, asking: Asking) -> Iterator[None]:
        """Asks the first model, or all of them at once; yields soon after something was added.

        Raises UserError where the tool list cannot be used; nothing is asked then.
        """
        session.tools = self.read_tools(asking.tools, session.faults)
        manner = Manner(
            Planner(asking.planner, self.procedures),
            asking.reflection,
            self._store if asking.remember else None,
        )
        session.stop = threading.Event()
        news: queue.SimpleQueue[bool] = queue.SimpleQueue()

        def converse(conversation: Chat, tools: ChatTools) -> None:
            try:
                for _ in conversation.ask(asking.question, tools, manner, session.stop):
                    news.put(True)
            finally:
                news.put(False)

        asked = session.conversations if asking.compare else session.conversations[:1]
        # Each model has its own world: an injected fault strikes in both.
        worlds = [self.read_tools(asking.tools, session.faults) for _ in asked]
        threads = [
            threading.Thread(target=converse, args=pair, daemon=True)
            for pair in zip(asked, worlds, strict=True)
        ]
        try:
            for thread in threads:
                thread.start()
            left = len(threads)
            while left:
                left -= not news.get()
                until = time.monotonic() + PACE
                while left and (rest := until - time.monotonic()) > 0:
                    with contextlib.suppress(queue.Empty):
                        left -= not news.get(timeout=rest)
                yield
        finally:
            session.stop.set()
            for thread in threads:
                thread.join()

    def _conversations(self, key: str) -> list[Chat]:
        # The place first: a key is free text, and no two may meet in one name.
        return [Chat(speaker, user=f"{place} {key}") for place, speaker in enumerate(self.speakers)]
