"""Connects tasks with an engine: many tasks in one batch, or one task as a stream of events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from matinee.apps.agent.events import Event
from matinee.apps.agent.thinking import Play
from matinee.engines.base import Completion, Engine, Request
from matinee.runtime.errors import EngineError

Result = TypeVar("Result")


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


class _Stopped(Exception):
    """The watcher has left."""


def stream(engine: Engine, key: str, play: Play[Any]) -> Iterator[Event]:
    """The events of one play while the engine works on it in a thread.

    The whole task is one run of the engine, so that it keeps the conversation's cache between
    outputs. Closing the iterator ends the task at its next event.
    """
    told: queue.Queue[Event | BaseException | None] = queue.Queue()
    left = threading.Event()

    def tell(_key: str, event: Event) -> None:
        if left.is_set():
            raise _Stopped
        told.put(event)

    def work() -> None:
        try:
            serve(engine, {key: play}, tell)
            told.put(None)
        except _Stopped:
            told.put(None)
        except BaseException as error:  # noqa: BLE001 (raised again where the events are read)
            told.put(error)

    threading.Thread(target=work, name=f"agent {key}", daemon=True).start()
    try:
        while (event := told.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        left.set()
