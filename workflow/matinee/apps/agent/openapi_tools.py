"""Operations of an OpenAPI document as tools: only those allowed, within time and size."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from matinee.evaluation.openapi import ImportedTools, Operation
from matinee.evaluation.openapi.sending import path_part, query
from matinee.evaluation.openapi.sending import text as plain_text
from matinee.evaluation.simulation import SimulatedApi
from matinee.evaluation.simulation.api import ApiProblem, Refusal
from matinee.messages.conversations import Tool
from matinee.runtime.errors import UserError

if TYPE_CHECKING:
    import httpx

_LONGEST_MESSAGE = 300


class OpenApiTools(SimulatedApi):
    """Calls the operations of a document over HTTP; arguments are checked before anything is sent.

    `server`: the address of the service; no other is reached, and redirects are not followed.
    `allow`: names of the operations that may be called; nothing else is shown or called.
    `timeout`: seconds for a whole call. `longest_answer`: bytes that are read. `headers`: sent with
    each call, for keys; the model never sees them. Raises UserError for an operation that is not
    there.
    """

    def __init__(
        self,
        document: ImportedTools,
        *,
        allow: Collection[str],
        server: str,
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
        self._operations = {name: known[name] for name in known if name in allow}
        tools = [Tool.from_openai(one.tool) for one in self._operations.values()]
        super().__init__(tools, self._send)
        self._server = server.rstrip("/")
        self._timeout = timeout
        self._longest_answer = longest_answer
        self._headers = dict(headers or {})

    def _send(self, name: str, values: dict[str, Any]) -> Any:
        import httpx

        operation = self._operations[name]
        deadline = time.monotonic() + self._timeout
        asked = {n: how for n, how in operation.spellings.items() if operation.places[n] == "query"}
        try:
            with (
                httpx.Client(timeout=self._timeout, trust_env=False) as client,
                client.stream(
                    operation.method.upper(),
                    self._address(operation, values),
                    params=httpx.QueryParams(tuple(query(asked, values))),
                    headers=self._headers,
                    **_body(operation, values),
                ) as response,
            ):
                return self._decoded(response, deadline)
        except httpx.TimeoutException:
            raise self._late() from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refusal(ApiProblem.server_error, type(error).__name__) from error

    def _address(self, operation: Operation, values: dict[str, Any]) -> str:
        """The address with its path parameters, each kept within its own part of the path."""
        path = operation.path.lstrip("/")
        for name, value in values.items():
            if operation.places[name] == "path":
                text = path_part(name, value, operation.spellings[name])
                if text in ("", ".", ".."):
                    raise Refusal(ApiProblem.out_of_range, f"{name}不能是“{text}”")
                path = path.replace("{" + name + "}", text)
        # Not urljoin: it takes what stands before a colon (items:batchGet) for a scheme.
        return f"{self._server}/{path}"

    def _decoded(self, response: httpx.Response, deadline: float) -> Any:
        """The answer's JSON, or its text."""
        if response.is_redirect:
            raise Refusal(ApiProblem.redirect)
        read = bytearray()
        for part in response.iter_bytes():
            read += part
            if len(read) > self._longest_answer:
                raise Refusal(ApiProblem.too_large, f"{self._longest_answer}字节")
            if time.monotonic() > deadline:
                raise self._late()
        text = read.decode("utf-8", "replace")
        if response.is_error:
            said = " ".join(text.split())[:_LONGEST_MESSAGE]
            raise Refusal(ApiProblem.server_error, f"HTTP {response.status_code}：{said}")
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _late(self) -> Refusal:
        return Refusal(ApiProblem.timeout, f"{self._timeout:g}秒")


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
    listed = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    return {"data": {name: list(map(plain_text, parts)) for name, parts in listed.items()}}
