"""Operations of an OpenAPI document as tools: only those allowed, within time and size."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from matinee.apps.agent.tools import refused
from matinee.evaluation.openapi import ImportedTools, Operation
from matinee.evaluation.openapi.sending import path_part, query
from matinee.evaluation.openapi.sending import text as plain_text
from matinee.evaluation.simulation.answers import Refusal, answer, refusal
from matinee.evaluation.simulation.arguments import Parameters
from matinee.messages.conversations import Tool
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import UserError

if TYPE_CHECKING:
    import httpx

_LONGEST_MESSAGE = 300


class _Denied(Exception):
    """A call that is not made, or not read to its end; becomes an observation."""

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(reason)
        self.error = error


class OpenApiTools:
    """Calls the operations of a document over HTTP.

    `server`: the address to use instead of the document's first. `allow`: names of the operations
    that may be called; nothing else is shown or called. `hosts`: names of the hosts that may be
    reached, with the port where it is not the usual one. Redirects are not followed, since they
    could lead elsewhere. `timeout`: seconds for a whole call. `longest_answer`: bytes that are
    read. `headers`: sent with each call, for keys; the model never sees them. Raises UserError for
    an operation that is not there, and for a host that is not allowed or not known.
    """

    def __init__(
        self,
        document: ImportedTools,
        *,
        allow: Collection[str],
        hosts: Collection[str],
        server: str | None = None,
        timeout: float = 15.0,
        longest_answer: int = 200_000,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        known = {str(one.tool["name"]): one for one in document.operations}
        missing = sorted(set(allow) - known.keys())
        if missing:
            raise UserError(
                f"The document has no operation {missing[0]!r}. It has: {', '.join(known)}."
            )
        self._server = server or document.server
        _refuse_other_hosts(self._server, hosts)
        self._operations = {name: known[name] for name in known if name in allow}
        self.tools = tuple(Tool.from_openai(one.tool) for one in self._operations.values())
        self._parameters = {tool.name: Parameters(tool) for tool in self.tools}
        self._timeout = timeout
        self._longest_answer = longest_answer
        self._headers = dict(headers or {})

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; arguments are checked before anything is sent."""
        import httpx

        operation = self._operations.get(name)
        if operation is None:
            return refused(name, "unknown_tool", f"没有名为{name[:60]}的工具")
        try:
            values = self._parameters[name].read(arguments)
            return answer(name, self._send(operation, values))
        except Refusal as refused_arguments:
            return refusal(name, refused_arguments)
        except _Denied as denied:
            return refused(name, denied.error, str(denied), code=10020)
        except httpx.TimeoutException:
            return refused(name, "timeout", f"请求超时（{self._timeout:g}秒）", code=10021)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = type(error).__name__
            return refused(name, "server_error", f"无法连接服务（{said}）", code=10020)

    def _send(self, operation: Operation, values: dict[str, Any]) -> Any:
        import httpx

        deadline = time.monotonic() + self._timeout
        asked = {n: how for n, how in operation.spellings.items() if operation.places[n] == "query"}
        with (
            httpx.Client(timeout=self._timeout, follow_redirects=False, trust_env=False) as client,
            client.stream(
                operation.method.upper(),
                self._address(operation, values),
                params=httpx.QueryParams(tuple(query(asked, values))),
                headers=self._headers,
                **_body(operation, values),
            ) as response,
        ):
            return self._decoded(response, deadline)

    def _address(self, operation: Operation, values: dict[str, Any]) -> str:
        """The address with its path parameters, each kept within its own part of the path."""
        path = operation.path.lstrip("/")
        for name, value in values.items():
            if operation.places[name] == "path":
                text = path_part(name, value, operation.spellings[name])
                if text in ("", ".", ".."):
                    raise _Denied("out_of_range", f"{name}不能是“{text}”")
                path = path.replace("{" + name + "}", text)
        # Not urljoin: it takes what stands before a colon (items:batchGet) for a scheme.
        return f"{self._server.rstrip('/')}/{path}"

    def _decoded(self, response: httpx.Response, deadline: float) -> Any:
        """The answer's JSON, or its text."""
        if response.is_redirect:
            raise _Denied("redirect", "服务要求转到别的地址，没有跟随")
        read = bytearray()
        for part in response.iter_bytes():
            read += part
            if len(read) > self._longest_answer:
                raise _Denied("too_large", f"结果超过{self._longest_answer}字节，没有读完")
            if time.monotonic() > deadline:
                raise _Denied("timeout", f"请求超时（{self._timeout:g}秒）")
        text = read.decode("utf-8", "replace")
        if response.is_error:
            said = " ".join(text.split())[:_LONGEST_MESSAGE]
            raise _Denied("server_error", f"服务返回HTTP {response.status_code}：{said}")
        try:
            return json.loads(text)
        except ValueError:
            return text


def _refuse_other_hosts(server: str, hosts: Collection[str]) -> None:
    if not server:
        raise UserError("The document names no server with a full address; give one (`server`).")
    host = urlsplit(server).netloc.rpartition("@")[2]
    if host not in hosts:
        raise UserError(
            f"The document's server is {host}, which is not among the allowed hosts "
            f"({', '.join(hosts) or 'none'}). Add it if you trust it."
        )


def _body(operation: Operation, values: dict[str, Any]) -> dict[str, Any]:
    """The request's body as httpx takes it; nothing where no argument goes there."""
    fields = {name: value for name, value in values.items() if operation.places[name] == "body"}
    if not fields:
        return {}
    if "json" in operation.body:
        return {"json": fields[operation.whole_body] if operation.whole_body else fields}
    given = {name: value for name, value in fields.items() if value is not None}
    if operation.body.startswith("multipart/"):
        return {"files": {name: (None, plain_text(value)) for name, value in given.items()}}
    return {
        "data": {
            name: [plain_text(part) for part in value]
            if isinstance(value, list)
            else plain_text(value)
            for name, value in given.items()
        }
    }
