"""A server on loopback for tests, and an engine that says what it is told to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from matinee.engines.base import Completion, Event, Listener, Request, Ticket, Written
from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.parsing import CallForm, write_calls

PATIENCE = 60
AIR = ToolCall("get_environment_air_pm", canonical_json({"city": "上海"}))


def assistant(request: Request) -> str:
    """Looks up Shanghai's air when asked for it, a province's cities in two steps, or chats."""
    last = request.messages[-1]
    results = [m for m in request.messages if m["role"] == "tool"]
    question = next(m["content"] for m in reversed(request.messages) if m["role"] == "user")
    if "空气" in question and last["role"] == "user":
        return write_calls("hermes", [AIR], "我来查一下。")
    if "城市" in question and last["role"] == "user":
        return write_calls("hermes", [ToolCall("get_province_list")])
    if "城市" in question and len(results) == 1:
        provinces = json.loads(results[0]["content"])["result"]
        first = str(
            provinces[0]["id"] if "id" in provinces[0] else next(iter(provinces[0].values()))
        )
        return write_calls(
            "hermes", [ToolCall("get_cities_list", canonical_json({"province_id": first}))]
        )
    return "上海的空气很好。" if results else "你好！"


class ScriptedLive:
    """Answers with the texts that `script` gives for a request, a few characters at a time.

    A script may return an event instead of a text. `hold`: answers wait until it is set.
    """

    def __init__(self, script: Callable[[Request], str | Event], piece: int = 3) -> None:
        self.script = script
        self.piece = piece
        self.requests: list[Request] = []
        self.tickets: list[Ticket] = []
        self.hold = threading.Event()
        self.hold.set()
        self.closed = False

    def submit(self, request: Request, listener: Listener) -> Ticket:
        ticket = Ticket()
        self.requests.append(request)
        self.tickets.append(ticket)
        threading.Thread(target=self._answer, args=(request, listener), daemon=True).start()
        return ticket

    def _answer(self, request: Request, listener: Listener) -> None:
        said = self.script(request)
        if not isinstance(said, str):
            listener(said)
            return
        for start in range(0, len(said), self.piece):
            listener(Written(said[start : start + self.piece]))
            self.hold.wait(PATIENCE)
        self.hold.wait(PATIENCE)
        cut = len(said) >= request.max_new_tokens * 4
        finish = "length" if cut else "stop"
        listener(Completion(said, 7, len(said), finish, 0.1, cached_tokens=2))  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True


@dataclass
class Site:
    """A running server: its address, what it serves, and real clients for it."""

    address: str
    served: Any
    key: str = "none"

    @cached_property
    def client(self) -> Any:
        from openai import OpenAI

        return OpenAI(
            base_url=f"{self.address}/v1", api_key=self.key, max_retries=0, timeout=10 * PATIENCE
        )

    def connected(self) -> Site:
        """The same server through another client."""
        return Site(self.address, self.served, self.key)

    def ask(self, content: str = "你好", **options: Any) -> Any:
        """One chat completion through the real client."""
        messages = options.pop("messages", [{"role": "user", "content": content}])
        return self.client.chat.completions.create(model="tiny", messages=messages, **options)


@contextmanager
def site(engine: Any, *, form: CallForm = "hermes", key: str = "", **limits: Any) -> Iterator[Site]:
    """A server on a free port of the loopback interface, until the test has ended."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs: pip install -r requirements-serve.txt")
    from matinee.apps.serving.app import Served, ServerLimits, create_app
    from matinee.apps.serving.running import web_settings

    served = Served("tiny", engine, form, ServerLimits(**limits), key)
    listening = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(web_settings(create_app(served), served.limits, "critical"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", served, key or "none")
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
