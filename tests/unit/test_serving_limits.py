"""What a server refuses: in OpenAI's form, with a reason, and never with a stack trace."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from served import ScriptedLive, site
from test_serving import TIME, WEATHER

from matinee.apps.serving import running
from matinee.engines.base import Failure, TooLong

USER = {"role": "user", "content": "你好"}
CALLED: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    ],
}
ANSWER = {"role": "tool", "tool_call_id": "a", "content": "1"}


def hello(request: Any) -> str:
    return "你好！"


def post(address: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers.setdefault("content-type", "application/json")
    return httpx.post(f"{address}/v1/chat/completions", content=content, headers=headers)


def chat(*messages: Any, **options: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": list(messages or [USER])} | options


def with_parameters(parameters: Any) -> dict[str, Any]:
    return chat(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])


MALFORMED: dict[str, tuple[Any, str | None]] = {
    "no JSON": (b"{oops", None),
    "no text": (b"\xff\xfe", None),
    "a list": ([], None),
    "nothing": (b"", None),
    "nested without end": (b'{"model":' + b"[" * 100_000, None),
    "no model": ({"messages": [USER]}, "model"),
    "no messages": ({"model": "tiny"}, "messages"),
    "empty messages": ({"model": "tiny", "messages": []}, "messages"),
    "messages of another type": ({"model": "tiny", "messages": "hi"}, "messages"),
    "an unknown role": (chat({"role": "wizard", "content": ""}), "messages.0.role"),
    "a picture": (
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        "messages.0.content",
    ),
    "an unknown parameter": (chat(wonder=1), "wonder"),
    "JSON and tools at once": (
        chat(response_format={"type": "json_object"}, tools=[TIME]),
        "response_format",
    ),
    "several answers": (chat(n=2), "n"),
    "too hot": (chat(temperature=2.1), "temperature"),
    "not a number": (b'{"model":"tiny","messages":[{"role":"user"}],"temperature":NaN}', None),
    "no tokens": (chat(max_tokens=0), "max_tokens"),
    "more tokens than allowed": (chat(max_tokens=5000), "max_tokens"),
    "a huge seed": (chat(seed=2**70), "seed"),
    "too many stops": (chat(stop=list("abcde")), "stop"),
    "a tool without a name": (chat(tools=[{"type": "function", "function": {}}]), None),
    "a tool with a strange name": (
        chat(tools=[{"type": "function", "function": {"name": "a b"}}]),
        "tools.0.function.name",
    ),
    "a tool of another kind": (chat(tools=[{"type": "custom", "name": "x"}]), "tools.0.type"),
    "the same tool twice": (chat(tools=[TIME, TIME]), "tools"),
    "properties that are no object": (
        with_parameters({"properties": [1]}),
        "tools.0.function.parameters",
    ),
    "required that is no list": (
        with_parameters({"properties": {"a": {}}, "required": 5}),
        "tools.0.function.parameters",
    ),
    "a property that is no schema": (
        with_parameters({"properties": {"a": 1}}),
        "tools.0.function.parameters",
    ),
    "an enum that is no list": (
        with_parameters({"properties": {"a": {"enum": 1}}}),
        "tools.0.function.parameters",
    ),
    "a choice without tools": (chat(tool_choice="required"), "tool_choice"),
    "a choice that is not listed": (
        chat(tools=[TIME], tool_choice={"type": "function", "function": {"name": "other"}}),
        "tool_choice",
    ),
    "a choice that does not exist": (chat(tools=[TIME], tool_choice="maybe"), "tool_choice"),
    "a late system message": (chat(USER, {"role": "system", "content": "x"}), "messages.1"),
    "only a system message": (chat({"role": "system", "content": "x"}), "messages.1"),
    "an assistant first": (chat({"role": "assistant", "content": "x"}), "messages.0"),
    "an assistant last": (chat(USER, {"role": "assistant", "content": "x"}), "messages.1"),
    "an assistant who says nothing": (chat(USER, {"role": "assistant"}, USER), "messages.1"),
    "a result without a call": (chat(USER, ANSWER), "messages.1"),
    "a call without a result": (chat(USER, CALLED, USER), "messages.1"),
    "a result of another call": (
        chat(USER, CALLED, ANSWER | {"tool_call_id": "b"}),
        "messages.1",
    ),
}


@pytest.fixture(scope="module")
def here() -> Any:
    with site(ScriptedLive(hello)) as here:
        yield here


@pytest.mark.parametrize(("body", "parameter"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_told_what_is_wrong_and_where(
    here: Any, body: Any, parameter: str | None
) -> None:
    response = post(here.address, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) > 10
    assert "Traceback" not in response.text
    if parameter is not None:
        assert error["param"] == parameter
    assert here.served.under_way == 0


def test_a_sound_request_is_answered_all_the_same(here: Any) -> None:
    assert post(here.address, chat(USER, CALLED, ANSWER)).status_code == 200


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        {},
        {"type": "object", "properties": None, "required": None},
        {"properties": {"a": True, "b": {"type": ["string", "null"], "pattern": "\\p{Han}(?=x)"}}},
    ],
)
def test_unusual_parameters_that_say_what_they_mean_are_taken(here: Any, parameters: Any) -> None:
    assert post(here.address, with_parameters(parameters)).status_code == 200


def test_the_place_within_a_schema_is_named(here: Any) -> None:
    response = post(here.address, with_parameters({"properties": {"a": {"type": "text"}}}))
    assert "$.properties.a.type: 'text' is not valid" in response.json()["error"]["message"]


def test_a_request_that_the_model_cannot_be_given_is_the_clients_to_mend() -> None:
    unfit = Failure("The schema has a look-ahead.", of_request=True)
    with (
        site(ScriptedLive(lambda request: unfit)) as strict,
        pytest.raises(openai.BadRequestError, match="look-ahead"),
    ):
        strict.ask()


def test_an_unknown_model_is_not_found(here: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no model"):
        here.client.chat.completions.create(model="other", messages=[USER])
    with pytest.raises(openai.NotFoundError):
        here.client.models.retrieve("other")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/completions", 404), ("GET", "/", 404)],
)
def test_other_paths_and_methods_answer_in_the_same_form(
    here: Any, method: str, path: str, status: int
) -> None:
    response = httpx.request(method, here.address + path)
    assert response.status_code == status
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:8000"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]:1", "origin": "http://127.0.0.1:7860"}, 200),
    ],
)
def test_only_hosts_that_were_told_are_answered(
    here: Any, headers: dict[str, str], status: int
) -> None:
    assert post(here.address, chat(), **headers).status_code == status
    assert httpx.get(f"{here.address}/health", headers=headers).status_code == status


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        b"Content-Type: application/json\r\n\r\n{",
    ],
    ids=["nothing", "half a header", "half a body"],
)
def test_a_request_that_does_not_arrive_is_given_up(begun: bytes) -> None:
    with site(ScriptedLive(hello), sending=0.2) as hasty, connection(hasty) as client:
        client.sendall(begun)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert b"408" in answer if begun.endswith(b"{") else answer == b""


def test_idle_connections_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "most_connections", lambda: 4)
    with site(ScriptedLive(hello)) as crowded, contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connection(crowded))
        assert post(crowded.address, chat()).status_code == 200


@contextlib.contextmanager
def connection(to: Any) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(to.address.rpartition(":")[2]))) as client:
        client.settimeout(30)
        yield client


def test_a_page_of_another_origin_cannot_ask_unseen(here: Any) -> None:
    """Browsers send text/plain across origins without asking the server first."""
    response = post(here.address, chat(), **{"content-type": "text/plain"})
    assert response.status_code == 415
    allowed = httpx.options(
        f"{here.address}/v1/chat/completions",
        headers={"origin": "http://evil.example", "access-control-request-method": "POST"},
    )
    assert "access-control-allow-origin" not in allowed.headers


def test_without_the_key_nothing_is_told() -> None:
    engine = ScriptedLive(hello)
    with site(engine, key="secret-1") as locked:
        assert locked.ask().choices[0].message.content == "你好！"
        for key in ("", "Bearer wrong", "secret", "Bearer secret-1x", "Bearer sécret"):
            for path in ("models", "chat/completions"):
                response = httpx.request(
                    "GET" if path == "models" else "POST",
                    f"{locked.address}/v1/{path}",
                    headers={"authorization": key.encode()},
                )
                assert response.status_code == 401
                assert response.json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{locked.address}/health").json() == {"status": "ok"}
    assert len(engine.requests) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_may_not_be_larger_than_allowed(announced: bool) -> None:
    body = json.dumps(chat({"role": "user", "content": "a" * 3000})).encode()

    def parts() -> Any:
        yield body[:1000]
        yield body[1000:]

    with site(ScriptedLive(hello), body=2000) as small:
        response = httpx.post(
            f"{small.address}/v1/chat/completions",
            content=body if announced else parts(),
            headers={"content-type": "application/json"},
        )
    assert response.status_code == 413
    assert "2000 bytes" in response.json()["error"]["message"]


def test_a_conversation_that_is_too_long_is_told_so() -> None:
    with site(ScriptedLive(lambda request: TooLong(9000, 8191))) as small:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match="9000 tokens long; 8191 fit") as told:
                small.ask(stream=stream)
            assert told.value.code == "context_length_exceeded"


def test_a_fault_of_the_model_is_ours() -> None:
    with (
        site(ScriptedLive(lambda request: Failure("The model failed."))) as faulty,
        pytest.raises(openai.InternalServerError, match=r"The model failed\."),
    ):
        faulty.ask()


def test_an_answer_that_takes_too_long_is_ended() -> None:
    engine = ScriptedLive(hello)
    engine.hold.clear()
    with site(engine, seconds=0.2) as slow:
        with pytest.raises(openai.InternalServerError, match=r"longer than 0\.2 s") as told:
            slow.ask()
        assert told.value.status_code == 504
        assert told.value.response.headers["x-should-retry"] == "false"
        with pytest.raises(openai.APIError, match=r"longer than 0\.2 s"):
            list(slow.ask(stream=True))
        # The client has the last word of the stream before the server has put everything away.
        requests_left = 200
        while slow.served.under_way and requests_left:
            slow.client.models.list()
            requests_left -= 1
        assert [ticket.cancelled for ticket in engine.tickets] == [True, True]
        assert slow.served.under_way == 0
        engine.hold.set()


def test_who_comes_when_all_places_are_taken_is_sent_away_and_may_come_again() -> None:
    engine = ScriptedLive(hello)
    engine.hold.clear()
    with site(engine, open=1) as busy:
        stream = iter(busy.ask(stream=True))
        next(stream)
        with pytest.raises(openai.RateLimitError) as told:
            busy.ask()
        assert told.value.response.headers["retry-after"] == "1"
        engine.hold.set()
        list(stream)
        assert busy.ask().choices[0].message.content == "你好！"


@pytest.mark.parametrize("stream", [False, True])
def test_work_ends_when_the_client_hangs_up(stream: bool) -> None:
    engine = ScriptedLive(hello)
    engine.hold.clear()
    with site(engine) as left:
        with pytest.raises(openai.APITimeoutError):  # noqa: PT012 (the stream must be read)
            answer = left.client.with_options(timeout=2).chat.completions.create(
                model="tiny", messages=[USER], stream=stream
            )
            list(answer)
        # The next request shares the server's loop with the one that was left.
        engine.hold.set()
        left.ask()
        deadline = 200
        while not engine.tickets[0].cancelled and deadline:
            left.client.models.list()
            deadline -= 1
        assert engine.tickets[0].cancelled
        assert left.served.under_way == 0


def test_a_fault_of_the_server_shows_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("matinee.apps.serving.app.ask", broken)
    with site(ScriptedLive(hello)) as faulty:
        response = post(faulty.address, chat())
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret detail" not in response.text


def test_tools_are_not_lost_on_the_way(here: Any) -> None:
    before = len(here.served.engine.requests)
    post(here.address, chat(tools=[WEATHER, TIME]))
    tools = here.served.engine.requests[before].tools
    assert [tool["function"]["name"] for tool in tools] == ["get_weather", "get_time"]


def test_what_the_server_wrote_is_taken_back() -> None:
    """A demanded call that was cut off, one without arguments, and an empty answer."""
    script = iter(['<tool_call>\n{"name": "get_time", "arguments": {"zone": "Asia', "", "你好！"])
    with site(ScriptedLive(lambda request: next(script))) as here:
        cut = here.ask(tools=[TIME], tool_choice="required").choices[0].message
        assert cut.tool_calls[0].function.arguments == '{"zone": "Asia'
        answer = {"role": "tool", "tool_call_id": cut.tool_calls[0].id, "content": "?"}
        told = [USER, cut, answer]
        empty = here.ask(messages=told, tools=[TIME]).choices[0].message
        assert here.ask(messages=[*told, empty, USER], tools=[TIME]).choices[0].message.content
        shown = here.served.engine.requests[-1].messages
    assert shown[1]["tool_calls"][0]["function"]["arguments"] == '{"zone": "Asia'


@pytest.mark.parametrize(
    ("written", "shown"), [("", {}), ("{}", {}), ("[]", "[]"), ('{"a": 1}', {"a": 1})]
)
def test_arguments_stay_what_they_are(written: str, shown: Any) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": written}}
    with site(ScriptedLive(hello)) as here:
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        assert post(here.address, chat(USER, said, ANSWER)).status_code == 200
        (request,) = here.served.engine.requests
    assert request.messages[1]["tool_calls"][0]["function"]["arguments"] == shown


def test_calls_with_one_id_get_their_results_in_order() -> None:
    calls = [{**CALLED["tool_calls"][0]} for _ in range(2)]
    results = [ANSWER | {"content": text} for text in ("first", "second")]
    with site(ScriptedLive(hello)) as here:
        said = {"role": "assistant", "tool_calls": calls}
        assert post(here.address, chat(USER, said, *results)).status_code == 200
        (request,) = here.served.engine.requests
    assert [m["content"] for m in request.messages[2:]] == ["first", "second"]
