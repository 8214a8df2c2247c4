"""The tools of an MCP server, over stdio or HTTP, through the protocol's own client."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from matinee.evaluation.simulation import SimulatedApi
from matinee.evaluation.simulation.api import ApiProblem, Parameters, Refusal
from matinee.messages.conversations import Tool, canonical_json
from matinee.runtime import progress
from matinee.runtime.errors import ScenarioError, UserError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

_LONGEST_MESSAGE = 500
# A server that always names a next page must come to an end; so must one with endless tools.
_MOST_PAGES, _MOST_TOOLS = 50, 1000


class McpTools(SimulatedApi):
    """Tools of a server that is connected; see `connect_mcp`.

    Arguments are checked before anything is sent. A tool's own error, a refusal by the server,
    silence for longer than the time-out and an answer over the limit become observations.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        client: Any,
        tools: Sequence[Tool],
        timeout: float,
        longest_answer: int,
    ) -> None:
        super().__init__(tools, self._ask)
        self._portal = portal
        self._client = client
        self._timeout = timeout
        self._longest_answer = longest_answer

    def _ask(self, name: str, values: dict[str, Any]) -> Any:
        from mcp.shared.exceptions import MCPError

        try:
            result = self._portal.call(self._sent, name, values)
        except TimeoutError:
            raise Refusal(ApiProblem.timeout, f"{self._timeout:g}秒") from None
        except (MCPError, OSError, RuntimeError, ValueError) as error:
            raise Refusal(ApiProblem.server_error, str(error)[:_LONGEST_MESSAGE]) from error
        said = "\n".join(map(_text, result.content))
        if result.is_error:
            raise Refusal(ApiProblem.tool_error, said[:_LONGEST_MESSAGE])
        value = said if result.structured_content is None else result.structured_content
        if len(canonical_json(value)) > self._longest_answer:
            raise Refusal(ApiProblem.too_large, f"{self._longest_answer}字")
        return value

    async def _sent(self, name: str, values: dict[str, Any]) -> Any:
        import anyio

        with anyio.fail_after(self._timeout):
            return await self._client.call_tool(name, values)


@contextlib.contextmanager
def connect_mcp(
    server: str,
    *,
    allow: Collection[str] | None = None,
    timeout: float = 30.0,
    longest_answer: int = 20_000,
) -> Iterator[McpTools]:
    """Connects to a server, by address (streamable HTTP) or by command line (stdio), for a `with`.

    A command gets few variables (PATH, HOME and the like), so that no key reaches it.
    `allow`: names of the tools that may be called; None: all that the server lists. `timeout`:
    seconds per call, for connecting and for the list. `longest_answer`: characters. Raises
    UserError where the client is not installed, the server cannot be reached, its list does not
    end, or it does not list an allowed tool or gives one a schema that cannot be used; other such
    tools are left out.
    """
    try:
        from anyio.from_thread import start_blocking_portal
        from mcp import Client, StdioServerParameters
    except ImportError:
        raise UserError(
            "Tools of an MCP server need the protocol's client. Install it: "
            'pip install "mcp>=2.3".'
        ) from None
    target: Any = server
    if not server.startswith(("http://", "https://")):
        command, *arguments = shlex.split(server) or [""]
        target = StdioServerParameters(command=command, args=arguments)
    with contextlib.ExitStack() as stack:
        try:
            portal = stack.enter_context(start_blocking_portal())
            connection = portal.wrap_async_context_manager(
                Client(target, read_timeout_seconds=timeout)
            )
            client = connection.__enter__()
            # What the caller raises must not pass through the client, which would wrap it.
            stack.callback(connection.__exit__, None, None, None)
            listed = portal.call(_all_tools, client, timeout)
        except Exception as error:
            raise UserError(
                f"The MCP server {server} cannot be used ({_reason(error)}). "
                "Check its address or command, and that it is up."
            ) from error
        yield McpTools(portal, client, _usable(server, listed, allow), timeout, longest_answer)


async def _all_tools(client: Any, timeout: float) -> list[Tool]:
    import anyio

    tools: list[Tool] = []
    cursor: str | None = None
    with anyio.fail_after(timeout):
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += [
                Tool(tool.name, tool.description or "", canonical_json(tool.input_schema))
                for tool in page.tools
            ]
            cursor = page.next_cursor
            if not cursor:
                return tools
            if len(tools) > _MOST_TOOLS:
                break
    raise ValueError(f"its tool list does not end: {len(tools)} tools, and a next page")


def _usable(server: str, listed: Sequence[Tool], allow: Collection[str] | None) -> list[Tool]:
    """The allowed tools. One that cannot be used is left out and told, unless it was asked for."""
    names = [tool.name for tool in listed]
    missing = sorted(set(allow or ()) - set(names))
    if missing:
        raise UserError(
            f"The MCP server {server} has no tool {missing[0]!r}. It has: "
            f"{', '.join(names) or 'none'}."
        )
    usable: dict[str, Tool] = {}
    for tool in listed:
        if allow is not None and tool.name not in allow:
            continue
        try:
            if tool.name in usable:
                raise ScenarioError(f"{tool.name}: listed twice")
            Parameters(tool)
            usable[tool.name] = tool
        except ScenarioError as error:
            if allow is not None:
                raise
            progress.say(f"! {server}: a tool is left out: {error}")
    return list(usable.values())


def _text(block: Any) -> str:
    """A block of an answer as text; what is no text is named by its kind."""
    text = getattr(block, "text", None)
    return text if isinstance(text, str) else f"[{getattr(block, 'type', 'content')}]"


def _reason(error: BaseException) -> str:
    """The first cause in a group of exceptions, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_MESSAGE]
