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

from matinee.agent.openapi_operations import Operation, read_operations
from matinee.agent.openapi_tools import OpenApiTools
from matinee.errors import UserError

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


TWICE = {"operationId": "x"}


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


def operations(folder: Path, host: str, document: Any = DOCUMENT) -> tuple[Operation, ...]:
    path = folder / "api.json"
    path.write_text(json.dumps(document).replace("HOST", host), encoding="utf-8")
    return read_operations(path)


def source(folder: Path, service: Service, **options: Any) -> OpenApiTools:
    found = operations(folder, service.host)
    return OpenApiTools(
        found,
        **{"allow": [one.tool.name for one in found], "hosts": [service.host], **options},
    )


# --- the document ---


def test_operations_become_tools_with_their_parameters(tmp_path: Path) -> None:
    found = {one.tool.name: one for one in operations(tmp_path, "example.com")}
    assert list(found) == [
        "getItem", "addItem", "slow", "large", "away", "broken", "get_text",
    ]  # fmt: skip
    item = found["getItem"]
    assert item.tool.description == "查一件商品"
    assert item.address == "http://example.com/v1/items/{id}"
    assert item.places == {"id": "path", "full": "query", "tags": "query"}
    assert item.tool.schema["required"] == ["id"]
    assert item.tool.schema["properties"]["full"] == {"type": "boolean", "description": "是否全部"}


def test_references_are_written_out_and_a_schema_within_itself_ends(tmp_path: Path) -> None:
    added = next(one for one in operations(tmp_path, "h") if one.tool.name == "addItem")
    schema = added.tool.schema
    assert schema["required"] == ["name"]
    assert schema["properties"]["note"] == {"type": ["string", "null"]}
    assert schema["properties"]["parts"]["items"]["properties"]["name"] == {"type": "string"}
    assert "$ref" not in added.tool.parameters


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"swagger": "2.0"}, "not an OpenAPI 3 document"),
        ([1], "not an OpenAPI 3 document"),
        ({"openapi": "3.1.0", "paths": {}}, "no server"),
        (DOCUMENT | {"servers": [{"url": "/v1"}]}, "no server"),
        (DOCUMENT | {"components": {}}, "leads nowhere"),
        (DOCUMENT | {"paths": {"/a": {"get": 3}}}, "not as OpenAPI has it"),
        (DOCUMENT | {"paths": {"/a": {"get": {"parameters": [{"$ref": "b.json"}]}}}}, "another"),
        (
            DOCUMENT | {"paths": {"/a": {"get": TWICE, "put": TWICE}}},
            "two operations",
        ),
    ],
)
def test_a_document_that_cannot_be_used_is_refused(
    tmp_path: Path, document: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        operations(tmp_path, "h", document)


# --- what may be called ---


def test_only_allowed_operations_are_shown_and_called(tmp_path: Path, service: Service) -> None:
    tools = source(tmp_path, service, allow=["getItem"])
    assert [tool.name for tool in tools.tools] == ["getItem"]
    assert tools.call("addItem", '{"name": "a"}').error == "unknown_tool"
    assert service.seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hosts": ["example.com"]}, "allowed hosts"), ({"allow": ["no"]}, "'no'")],
)
def test_other_hosts_and_operations_are_refused_before_any_call(
    tmp_path: Path, service: Service, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        source(tmp_path, service, **options)


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
    found = operations(tmp_path, "127.0.0.1:9")
    tools = OpenApiTools(found, allow=["get_text"], hosts=["127.0.0.1:9"], timeout=5)
    assert tools.call("get_text", "{}").error == "server_error"
