"""An agent with given model outputs and given tool results: what tests of the loop start from."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from matinee.apps.agent.driving import serve
from matinee.apps.agent.events import AgentLimits, Answered, Event, Task
from matinee.apps.agent.loop import Agent
from matinee.apps.agent.planning import Planner
from matinee.apps.agent.tools import refused
from matinee.engines.base import Completion, Reply, Request
from matinee.messages.conversations import Tool, ToolCall, canonical_json
from matinee.messages.parsing import write_calls
from matinee.messages.transcripts import Observation

TODAY = datetime.date(2024, 1, 25)
NOW = datetime.datetime(2024, 1, 25, 9, tzinfo=datetime.UTC)
QUESTION = "苏州2023年5月1日的天气怎么样？"
Kind = TypeVar("Kind")


def answered(tool: str, result: object) -> Observation:
    """What a tool returns when all goes well."""
    body = {"reason": "查询成功", "result": result, "error_code": 0}
    return Observation(tool=tool, content=canonical_json(body))


def calls(*names: str, **arguments: Any) -> str:
    """A model output that calls these tools, all with the same arguments."""
    text = canonical_json(arguments)
    return write_calls("hermes", [ToolCall(name, text) for name in names])


@dataclass
class Outputs:
    """An engine that writes the given texts in order, then the last one for ever."""

    texts: Sequence[str | Completion]
    requests: list[Request] = field(default_factory=list)

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        for request in requests:
            following: Request | None = request
            while following is not None:
                text = self.texts[min(len(self.requests), len(self.texts) - 1)]
                self.requests.append(following)
                whole = (
                    text if isinstance(text, Completion) else Completion(text, 7, 3, "stop", 0.5)
                )
                following = reply(following, whole)


@dataclass
class Tools:
    """Tools `good`, `bad` and `other`. Each call takes the tool's next result, the last for ever.

    True: it answers; False: it fails.
    """

    results: dict[str, list[bool]] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)

    @property
    def tools(self) -> tuple[Tool, ...]:
        schema = canonical_json({"type": "object", "properties": {}})
        return tuple(Tool(name, f"工具{name}", schema) for name in ("good", "bad", "other"))

    def call(self, name: str, arguments: str) -> Observation:
        listed = self.results.get(name, [name != "bad"])
        position = min(self.called.count(name), len(listed) - 1)
        self.called.append(name)
        if listed[position]:
            return answered(name, {"value": len(self.called)})
        return refused(name, "server_error", f"{name}坏了")


def run(
    texts: Sequence[str | Completion],
    *,
    planner: Planner | None = None,
    tools: Tools | None = None,
    question: str = QUESTION,
    limits: AgentLimits | None = None,
    **parts: Any,
) -> tuple[list[Event], Outputs]:
    """All events of one task, and the engine that was asked."""
    engine = Outputs(texts)
    agent = Agent(
        tools if tools is not None else Tools(),
        planner,
        limits=limits,
        **parts,
    )
    events: list[Event] = []
    task = Task(question, today=TODAY, now=NOW)
    serve(engine, {task.key: agent.play(task)}, lambda key, event: events.append(event))
    return events, engine


def answer(events: Sequence[Event]) -> Answered:
    """The answer, which must be the last event."""
    last = events[-1]
    assert isinstance(last, Answered)
    return last


def of_kind(events: Sequence[Event], kind: type[Kind]) -> list[Kind]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]
