"""OpenAPI documents: what becomes a tool, and what is sent, refused and read when it is called."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from matinee.apps.agent.openapi_tools import OpenApiTools
from matinee.evaluation.openapi import ImportedTools, import_openapi
from matinee.runtime.errors import UserError

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "仓库", "version": "1"},
    "servers": [{"url": "http://HOST/v1"}],
    "paths": {
        "/items/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
            "get": {
                "operationId": "getItem",
                "summary": "查一件商品",
                "parameters": [
                    {"$ref": "#/components/parameters/full"},
                    {"name": "tags", "in": "query", "schema": {"type": "array"}},
                ],
            },
        },
        "/items": {
            "post": {
                "operationId": "addItem",
                "description": "加一件商品",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Item"}}
                    },
                },
            }
        },
        "/slow": {"get": {"operationId": "slow"}},
        "/large": {"get": {"operationId": "large"}},
        "/away": {"get": {"operationId": "away"}},
        "/broken": {"get": {"operationId": "broken"}},
        "/text": {"get": {}},
    },
    "components": {
        "parameters": {
            "full": {
                "name": "full",
                "in": "query",
                "description": "是否全部",
                "schema": {"type": "boolean"},
            }
        },
        "schemas": {
            "Item": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "note": {"type": "string", "nullable": True},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
                },
            }
        },
    },
}


@dataclass
class Service:
    """What a service was asked, and where it is."""

    host: str
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.seen.append((self.command, self.path, dict(self.headers), body))
            if self.path.endswith("/slow"):
                found.held.wait(60)
            status = {"away": 302, "broken": 500}.get(self.path.rpartition("/")[2], 200)
            large = self.path.endswith("/large")
            text = "x" * 5000 if large else "文字" if "text" in self.path else '{"ok": true}'
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://elsewhere.invalid/")
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Service(f"127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    found.held.set()
    server.shutdown()


def imported(folder: Path, host: str, document: Any = DOCUMENT) -> ImportedTools:
    path = folder / "api.json"
    path.write_text(json.dumps(document).replace("HOST", host), encoding="utf-8")
    return import_openapi(path)


def source(folder: Path, service: Service, **options: Any) -> OpenApiTools:
    found = imported(folder, service.host)
    names = [tool["name"] for tool in found.tools]
    return OpenApiTools(found, **{"allow": names, "server": f"http://{service.host}/v1", **options})


# --- what may be called ---


def test_only_allowed_operations_are_shown_and_called(tmp_path: Path, service: Service) -> None:
    tools = source(tmp_path, service, allow=["getItem"])
    assert [tool.name for tool in tools.tools] == ["getItem"]
    assert tools.call("addItem", '{"name": "a"}').error == "unknown_tool"
    assert service.seen == []


def test_an_operation_that_is_not_there_is_refused_before_any_call(
    tmp_path: Path, service: Service
) -> None:
    with pytest.raises(UserError, match="'no'"):
        source(tmp_path, service, allow=["no"])


# --- what is sent ---


def test_arguments_go_where_the_document_says(tmp_path: Path, service: Service) -> None:
    tools = source(tmp_path, service, headers={"X-Key": "secret"})
    seen = tools.call("getItem", '{"id": "a/b?c", "full": true, "tags": ["x", "y"]}')
    assert json.loads(seen.content)["result"] == {"ok": True}
    method, path, headers, _ = service.seen[0]
    assert (method, path) == ("GET", "/v1/items/a%2Fb%3Fc?full=true&tags=x&tags=y")
    assert headers["X-Key"] == "secret"
    tools.call("addItem", '{"name": "桌子", "note": null}')
    assert json.loads(service.seen[1][3]) == {"name": "桌子", "note": None}


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("getItem", "{}", "missing_parameter"),
        ("getItem", '{"id": 3}', "wrong_type"),
        ("getItem", '{"id": "a", "more": 1}', "unknown_parameter"),
        ("getItem", '{"id": ".."}', "out_of_range"),
        ("addItem", '{"note": "a"}', "missing_parameter"),
        ("getItem", "nonsense", "bad_arguments"),
    ],
)
def test_wrong_arguments_are_not_sent(
    tmp_path: Path, service: Service, name: str, arguments: str, error: str
) -> None:
    assert source(tmp_path, service).call(name, arguments).error == error
    assert service.seen == []


@pytest.mark.parametrize(
    ("path", "arguments", "sent"),
    [
        ("/items:batchGet", "{}", "/v1/items:batchGet"),
        ("/{id}:cancel", '{"id": "a:b"}', "/v1/a%3Ab:cancel"),
        ("/items/{id}", '{"id": [1, "x,y", true]}', "/v1/items/1,x%2Cy,true"),
        ("/items/{id}", '{"id": [".", "."]}', "/v1/items/.,."),
    ],
)
def test_a_path_is_added_to_the_server_as_it_stands(
    tmp_path: Path, service: Service, path: str, arguments: str, sent: str
) -> None:
    inputs = [{"name": "id", "in": "path", "required": True, "schema": {}}]
    operation = {"operationId": "one", "parameters": inputs if "{id}" in path else []}
    found = imported(tmp_path, service.host, DOCUMENT | {"paths": {path: {"get": operation}}})
    OpenApiTools(found, allow=["one"], server=f"http://{service.host}/v1").call("one", arguments)
    assert [seen[1] for seen in service.seen] == [sent]


@pytest.mark.parametrize("value", ["[]", '[".."]', '[""]'])
def test_a_list_that_would_lead_elsewhere_is_not_sent(
    tmp_path: Path, service: Service, value: str
) -> None:
    inputs = [{"name": "id", "in": "path", "required": True, "schema": {"type": "array"}}]
    paths = {"/items/{id}": {"get": {"operationId": "one", "parameters": inputs}}}
    found = imported(tmp_path, service.host, DOCUMENT | {"paths": paths})
    tools = OpenApiTools(found, allow=["one"], server=f"http://{service.host}/v1")
    assert tools.call("one", f'{{"id": {value}}}').error == "out_of_range"
    assert service.seen == []


@pytest.mark.parametrize(
    ("media", "sent"),
    [
        ("application/x-www-form-urlencoded", b"name=%E6%A1%8C%E5%AD%90&parts=1&parts=2"),
        ("multipart/form-data", b'name="name"\r\n\r\n' + "桌子".encode()),
        ("application/vnd.shop+json", '{"name":"桌子","parts":[1,2]}'.encode()),
    ],
)
def test_a_body_is_sent_in_the_documents_media_type(
    tmp_path: Path, service: Service, media: str, sent: bytes
) -> None:
    fields = {"name": {"type": "string"}, "parts": {"type": "array"}}
    content = {media: {"schema": {"type": "object", "properties": fields}}}
    added = {"post": {"operationId": "add", "requestBody": {"content": content}}}
    found = imported(tmp_path, service.host, DOCUMENT | {"paths": {"/a": added}})
    tools = OpenApiTools(found, allow=["add"], server=f"http://{service.host}/v1")
    tools.call("add", '{"name": "桌子", "parts": [1, 2]}')
    assert sent in service.seen[0][3]
    assert service.seen[0][2]["Content-Type"].startswith(media.replace("vnd.shop+", ""))


def test_a_body_that_is_no_object_is_sent_whole(tmp_path: Path, service: Service) -> None:
    content = {"application/json": {"schema": {"type": "array", "items": {"type": "integer"}}}}
    added = {"post": {"operationId": "add", "requestBody": {"content": content}}}
    found = imported(tmp_path, service.host, DOCUMENT | {"paths": {"/a": added}})
    OpenApiTools(found, allow=["add"], server=f"http://{service.host}/v1").call(
        "add", '{"body": [1, 2]}'
    )
    assert json.loads(service.seen[0][3]) == [1, 2]


# --- what is read ---


@pytest.mark.parametrize(
    ("name", "error"),
    [("away", "redirect"), ("broken", "server_error"), ("large", "too_large"), ("slow", "timeout")],
)
def test_what_goes_wrong_becomes_an_observation(
    tmp_path: Path, service: Service, name: str, error: str
) -> None:
    tools = source(tmp_path, service, timeout=2, longest_answer=1000)
    assert tools.call(name, "{}").error == error


def test_an_answer_that_is_no_json_is_text(tmp_path: Path, service: Service) -> None:
    seen = source(tmp_path, service).call("get_text", "{}")
    assert json.loads(seen.content)["result"] == "文字"


def test_a_service_that_is_not_there_is_an_observation(tmp_path: Path) -> None:
    found = imported(tmp_path, "127.0.0.1:9")
    tools = OpenApiTools(found, allow=["get_text"], server="http://127.0.0.1:9", timeout=5)
    assert tools.call("get_text", "{}").error == "server_error"
