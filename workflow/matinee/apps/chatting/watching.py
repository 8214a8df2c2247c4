"""One task on a live engine: its events, and the model's words while it writes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any

from matinee.apps.agent import Event as AgentEvent
from matinee.apps.agent.thinking import Play
from matinee.engines.base import Completion, Request
from matinee.engines.live import Event, Failure, LiveEngine, TooLong, Words
from matinee.runtime.errors import EngineError

# How often a waiting conversation looks whether it is to stop.
_GLANCE = 0.1


class Stopped(Exception):
    """Whoever asked does not want the answer any more."""


def watch(
    engine: LiveEngine, play: Play[Any], stop: threading.Event
) -> Iterator[AgentEvent | Words]:
    """The events of a task as they happen, and between them the words of the model.

    Raises Stopped soon after `stop` is set, and EngineError where the model gives no answer.
    """
    completion: Completion | None = None
    while True:
        try:
            told = play.send(completion)
            while not isinstance(told, Request):
                yield told
                _check(stop)
                told = next(play)
        except StopIteration:
            return
        completion = yield from _completed(engine, told, stop)


def _completed(
    engine: LiveEngine, request: Request, stop: threading.Event
) -> Generator[Words, None, Completion]:
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    ticket = engine.submit(request, heard.put)
    try:
        while True:
            event = _next(heard, stop)
            if isinstance(event, Words):
                yield event
            elif isinstance(event, Completion):
                return event
            elif isinstance(event, TooLong):
                raise EngineError(
                    f"The conversation has become too long: {event.tokens} tokens, and "
                    f"{event.limit} fit. Begin a new one, or shorten the tool list."
                )
            elif isinstance(event, Failure):
                raise EngineError(event.reason)
    finally:
        ticket.cancel()


def _next(heard: queue.SimpleQueue[Event], stop: threading.Event) -> Event:
    while True:
        _check(stop)
        try:
            return heard.get(timeout=_GLANCE)
        except queue.Empty:
            continue


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped
