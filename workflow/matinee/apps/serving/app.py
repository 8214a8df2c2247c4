"""The web application: paths, the key, the limits, and events of the engine as HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from matinee.apps.serving.answering import Pieces, completion_message
from matinee.apps.serving.prompting import Asked, ask
from matinee.apps.serving.wire import ApiError, read_body
from matinee.engines.base import Completion, Event, Failure, LiveEngine, Ticket, TooLong, Written
from matinee.messages.conversations import canonical_json
from matinee.messages.parsing import CallForm

if TYPE_CHECKING:
    from pydantic import BaseModel

Result = TypeVar("Result")
_GONE = 499  # nginx's number for a client that went away; nobody reads it


@dataclass(frozen=True)
class ServerLimits:
    """`body`: bytes of a request. `answer`: tokens written. `seconds`: for one answer.

    `open`: answers under way and waiting, in all; further requests are turned away. `sending`:
    seconds in which a request must have arrived.
    """

    body: int = 2**20
    answer: int = 1024
    seconds: float = 300.0
    open: int = 64
    sending: float = 20.0


@dataclass
class Served:
    """A model on offer: its name, how it writes calls, and who may ask.

    `hosts`: names by which it may be reached beside addresses and this machine's own.
    """

    name: str
    engine: LiveEngine
    form: CallForm
    limits: ServerLimits = ServerLimits()
    key: str = ""
    hosts: frozenset[str] = frozenset()
    created: int = field(default_factory=lambda: int(time.time()))
    under_way: int = 0


def create_app(served: Served) -> Starlette:
    """The application. The engine is closed when the server ends."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(served.engine.close)

    async def health(request: Request) -> Response:
        _refuse_strangers(served, request)
        return JSONResponse({"status": "ok"})

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(served)]})

    async def model(request: Request) -> Response:
        _check_name(served, request.path_params["name"])
        return JSONResponse(_model(served))

    async def completions(request: Request) -> Response:
        return await _complete(served, request)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", _guarded(served, models)),
            Route("/v1/models/{name:path}", _guarded(served, model)),
            Route("/v1/chat/completions", _guarded(served, completions), methods=["POST"]),
        ],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            Exception: _our_fault,
        },
        lifespan=lifespan,
    )


Endpoint = Callable[[Request], Awaitable[Response]]


def _guarded(served: Served, endpoint: Endpoint) -> Endpoint:
    """The endpoint for those who have the key."""

    async def checked(request: Request) -> Response:
        _refuse_strangers(served, request)
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if served.key and not hmac.compare_digest(given.encode(), served.key.encode()):
            raise ApiError(401, "The key is missing or wrong.", code="invalid_api_key")
        return await endpoint(request)

    return checked


def _refuse_strangers(served: Served, request: Request) -> None:
    """Only names that were told: a web page may make its own name mean 127.0.0.1.

    An address as a name is no danger, since nobody can make it mean another machine.
    """
    for header in ("host", "origin"):
        said = request.headers.get(header)
        if said is None:
            continue
        name = (urlsplit(said if header == "origin" else f"//{said}").hostname or said).lower()
        with contextlib.suppress(ValueError):
            ip_address(name)
            continue
        if name not in served.hosts | {"localhost"}:
            raise ApiError(
                403, f"This server does not answer to {name!r}; name it with --allow-host."
            )


async def _complete(served: Served, request: Request) -> Response:
    """One chat completion, whole or as a stream."""
    # In a thread: checking a large tool list's schemas takes long enough to hold others up.
    body = await asyncio.to_thread(read_body, await _body(request, served.limits))
    _check_name(served, body.model)
    asked = ask(body, served.form, served.limits.answer)
    answer = _Answer(served, asked)
    try:
        first = await _unless_gone(request, answer.next())
        if asked.stream:
            return _EventStream(answer, Pieces(served.name, asked), first)
        done = await _unless_gone(request, answer.last(first))
    except BaseException:
        answer.close()
        raise
    answer.close()
    return _json(completion_message(served.name, asked, done))


class _Answer:
    """An answer under way: the engine's events, within the time that it may take."""

    def __init__(self, served: Served, asked: Asked) -> None:
        if served.under_way >= served.limits.open:
            raise ApiError(
                429,
                f"{served.under_way} answers are under way or waiting. Try again in a moment.",
                code="too_many_requests",
                retry=True,
            )
        self._served = served
        self._until = asyncio.get_running_loop().time() + served.limits.seconds
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._open = True
        served.under_way += 1
        self._ticket = self._submit(asked)

    def _submit(self, asked: Asked) -> Ticket:
        loop = asyncio.get_running_loop()

        def hear(event: Event) -> None:
            # The loop is closed where the server has stopped before its engine.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._events.put_nowait, event)

        return self._served.engine.submit(asked.request, hear)

    async def next(self) -> Written | Completion:
        """The next event. Raises ApiError where no answer comes."""
        try:
            async with asyncio.timeout_at(self._until):
                event = await self._events.get()
        except TimeoutError:
            raise ApiError(
                504,
                f"The answer took longer than {self._served.limits.seconds:g} s. Ask for fewer "
                "tokens.",
                code="timeout",
            ) from None
        if isinstance(event, TooLong):
            raise ApiError(
                400,
                f"The messages and tools are {event.tokens} tokens long; {event.limit} fit.",
                code="context_length_exceeded",
                parameter="messages",
            )
        if isinstance(event, Failure):
            raise ApiError(400 if event.of_request else 500, event.reason)
        return event

    async def last(self, event: Written | Completion) -> Completion:
        """The whole answer."""
        while isinstance(event, Written):
            event = await self.next()
        return event

    def close(self) -> None:
        """Ends the work, if it still goes on."""
        if self._open:
            self._open = False
            self._ticket.cancel()
            self._served.under_way -= 1


class _EventStream(StreamingResponse):
    """The answer as server-sent events; the work ends when the client hangs up."""

    def __init__(self, answer: _Answer, pieces: Pieces, first: Written | Completion) -> None:
        super().__init__(_events(answer, pieces, first), media_type="text/event-stream")
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()


async def _events(
    answer: _Answer, pieces: Pieces, event: Written | Completion
) -> AsyncIterator[bytes]:
    """The events of one answer. An error that comes late is an event as well."""
    try:
        yield _event(pieces.begin())
        while isinstance(event, Written):
            for chunk in pieces.add(event.text):
                yield _event(chunk)
            event = await answer.next()
        for chunk in pieces.end(event):
            yield _event(chunk)
        yield b"data: [DONE]\n\n"
    except ApiError as error:
        yield f"data: {canonical_json(error.body())}\n\n".encode()


async def _unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """The result of the work, which ends when the client hangs up."""

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(hung_up())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(_GONE, "The client went away.")
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _body(request: Request, limits: ServerLimits) -> bytes:
    """The body of a JSON request. Raises ApiError that is too large or comes too slowly."""
    limit = limits.body
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Also keeps web pages of other origins out: browsers ask before they send this type.
        raise ApiError(415, "The Content-Type must be application/json.")
    too_large = ApiError(413, f"The body is larger than {limit} bytes.")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    parts = bytearray()
    try:
        async with asyncio.timeout(limits.sending):
            async for part in request.stream():
                parts += part
                if len(parts) > limit:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, f"The body did not arrive in {limits.sending:g} s.") from None
    except ClientDisconnect:
        raise ApiError(_GONE, "The client went away.") from None
    return bytes(parts)


def _check_name(served: Served, name: str) -> None:
    if name != served.name:
        raise ApiError(
            404,
            f"There is no model {name!r}; this server has {served.name!r}.",
            code="model_not_found",
            parameter="model",
        )


def _model(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "matinee",
    }


def _event(chunk: BaseModel) -> bytes:
    return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n".encode()


def _json(message: BaseModel) -> Response:
    return Response(message.model_dump_json(exclude_unset=True), media_type="application/json")


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, error.headers())


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    wrong = ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}.")
    return JSONResponse(wrong.body(), wrong.status, {**(error.headers or {}), **wrong.headers()})


async def _our_fault(request: Request, error: Exception) -> Response:
    """Anything else; the traceback goes to the log, never to the client."""
    fault = ApiError(500, "The server failed on this request; its log says why.")
    return JSONResponse(fault.body(), fault.status, fault.headers())
