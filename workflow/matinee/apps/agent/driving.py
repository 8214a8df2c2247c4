"""Connects tasks with an engine: many tasks in one batch, or one whose words are watched."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeVar

from matinee.apps.agent.events import Event
from matinee.apps.agent.thinking import Play
from matinee.engines.base import Completion, Engine, Failure, LiveEngine, Request, TooLong, Written
from matinee.engines.base import Event as Heard
from matinee.runtime.errors import EngineError

Result = TypeVar("Result")
# How often a waiting conversation looks whether it is to stop.
_GLANCE = 0.1


def serve(
    engine: Engine, plays: Mapping[str, Play[Result]], on_event: Callable[[str, Event], object]
) -> dict[str, Result]:
    """Plays all tasks in one run of the engine; their results by key.

    The key of a play is the key of its requests. `on_event` gets each event with its play's key.
    Raises EngineError where the engine leaves a play without an end.
    """
    results: dict[str, Result] = {}

    def advance(key: str, completion: Completion | None) -> Request | None:
        """Up to the play's next request."""
        play = plays[key]
        try:
            told = play.send(completion)
            while not isinstance(told, Request):
                on_event(key, told)
                told = next(play)
        except StopIteration as ended:
            results[key] = ended.value
            return None
        return told

    opening = [request for key in plays if (request := advance(key, None)) is not None]
    if opening:
        engine.serve(opening, lambda request, completion: advance(request.key, completion))
    left = [key for key in plays if key not in results]
    if left:
        raise EngineError(
            f"The engine ended with {len(left)} of {len(plays)} tasks unfinished, such as "
            f"{left[0]}. Run it again; the log says what the engine did last."
        )
    return results


class Stopped(Exception):
    """Whoever asked does not want the answer any more."""


def watch(engine: LiveEngine, play: Play[Any], stop: threading.Event) -> Iterator[Event | Written]:
    """The events of a task as they happen, and between them the words of the model.

    Raises Stopped soon after `stop` is set, and EngineError where the model gives no answer.
    """
    completion: Completion | None = None
    while True:
        try:
            told = play.send(completion)
        except StopIteration:
            return
        completion = None
        if isinstance(told, Request):
            completion = yield from _completed(engine, told, stop)
        else:
            yield told
        if stop.is_set():
            raise Stopped


def _completed(
    engine: LiveEngine, request: Request, stop: threading.Event
) -> Generator[Written, None, Completion]:
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    ticket = engine.submit(request, heard.put)
    try:
        while True:
            if stop.is_set():
                raise Stopped
            try:
                event = heard.get(timeout=_GLANCE)
            except queue.Empty:
                continue
            if isinstance(event, Written):
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
