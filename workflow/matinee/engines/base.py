"""The one interface of all engines: requests in, answers out, whole or as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from matinee.engines.sampling import GREEDY, Sampling


@dataclass(frozen=True)
class Request:
    """One chat completion to make.

    `key` names the conversation: a later request with the same key continues it, so that an
    engine may keep its cache. `messages` and `tools` are in OpenAI's form. `must_call`: names of
    tools of which the answer must begin to call one. `stop`: texts that end the answer and are
    not part of it. `schema`: a JSON Schema that the answer must fit, or empty. Engines over
    HTTP use none of the three.
    """

    key: str
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    max_new_tokens: int
    sampling: Sampling = GREEDY
    must_call: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    schema: str = ""


@dataclass(frozen=True)
class Completion:
    """The raw text that the model wrote, special end tokens removed, and what it cost.

    `cached_tokens`: how many of the prompt's tokens had been computed before.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length"]
    seconds: float
    cached_tokens: int = 0


def without_room(text: str, completion_tokens: int, finish: str) -> bool:
    """Whether nothing was written because the prompt fills the model's context.

    Whatever else ends an answer does so after one token at least, or as a stop.
    """
    # The text too: an endpoint may leave its tokens uncounted.
    return finish == "length" and not completion_tokens and not text


Reply = Callable[[Request, Completion], Request | None]


class Engine(Protocol):
    """Answers requests; may work on many at a time and finish them in any order."""

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Answers each request and hands the completion to `reply`.

        Where `reply` returns a further request (the next step of the same conversation), the
        engine answers that too. Returns when nothing is left.
        """
        ...


@dataclass(frozen=True)
class Written:
    """Text that was added to the answer."""

    text: str


@dataclass(frozen=True)
class TooLong:
    """The prompt does not fit: its tokens, and how many fit."""

    tokens: int
    limit: int


@dataclass(frozen=True)
class Failure:
    """No answer will come; `reason` is a sentence for whoever asked.

    `of_request`: the request is at fault and would fail again, not the model. `cause`: the error.
    """

    reason: str
    of_request: bool = False
    cause: Exception | None = None


# An answer is any number of Written and then one of the others.
Event = Written | Completion | TooLong | Failure
Listener = Callable[[Event], None]


@dataclass
class Ticket:
    """An answer under way; `cancelled`: nobody waits for it any more."""

    cancelled: bool = False

    def cancel(self) -> None:
        """Stops the work; the listener hears nothing more after the step that is running."""
        self.cancelled = True


class LiveEngine(Protocol):
    """Answers one request at a time from the caller's view, many at once from its own."""

    def submit(self, request: Request, listener: Listener) -> Ticket:
        """Begins an answer. `listener` is called from another thread and must return at once."""
        ...

    def close(self) -> None:
        """Ends the work; whoever still waits gets a Failure."""
        ...
