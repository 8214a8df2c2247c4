"""Where an agent's tools come from: functions, simulations, MCP servers, several at once."""

from __future__ import annotations

import datetime
import json
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from agents import answered

from matinee.apps.agent import mcp_tools
from matinee.apps.agent.mcp_tools import connect_mcp
from matinee.apps.agent.tools import Toolbox
from matinee.evaluation.simulation import world
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.messages.conversations import Tool
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import ScenarioError, UserError

TODAY = datetime.date(2024, 1, 25)


class OneTool:
    """A source with one tool, which answers 7."""

    def __init__(self, name: str) -> None:
        self.tools = (Tool(name, "七", '{"type": "object", "properties": {}}'),)

    def call(self, name: str, arguments: str) -> Observation:
        return answered(name, 7)


def result_of(source: Any, name: str, arguments: str) -> Any:
    return json.loads(source.call(name, arguments).content)["result"]


# --- several sources ---


def test_a_box_calls_the_source_that_owns_the_tool() -> None:
    box = Toolbox([world(TODAY), OneTool("convert")])
    assert [tool.name for tool in box.tools][-1] == "convert"
    assert len(box.tools) == len(eleven_tools()) + 1
    assert result_of(box, "convert", "{}") == 7
    assert result_of(box, "get_environment_air_pm", '{"city": "苏州"}')[0]["city"] == "苏州市"
    assert box.call("nothing", "{}").error == "unknown_tool"


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="convert"):
        Toolbox([OneTool("convert"), OneTool("convert")])


# --- MCP, with a real server out of a package ---

mcp = pytest.mark.skipif(
    not all(map(__import__("importlib.util").util.find_spec, ("mcp", "mcp_server_time"))),
    reason="the extra mcp is not installed",
)
TIME_SERVER = f"{shlex.quote(sys.executable)} -m mcp_server_time --local-timezone UTC"


@mcp
def test_the_tools_of_a_server_over_stdio() -> None:
    with connect_mcp(TIME_SERVER) as source:
        assert {tool.name for tool in source.tools} == {"get_current_time", "convert_time"}
        assert "timezone" in source.tools[0].schema["properties"]
        converted = result_of(
            source,
            "convert_time",
            '{"source_timezone": "Asia/Shanghai", "time": "12:00", "target_timezone": "UTC"}',
        )
        assert converted["target"]["datetime"].endswith("04:00:00+00:00")


@mcp
@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("get_current_time", '{"timezone": "Mars/Olympus"}', "tool_error"),
        ("get_current_time", "{}", "missing_parameter"),
        ("get_current_time", '{"timezone": 8}', "wrong_type"),
        ("get_current_time", '{"timezone": "UTC", "city": "苏州"}', "unknown_parameter"),
        ("get_current_time", "[", "bad_arguments"),
        ("get_current_time", "[1]", "bad_arguments"),
        ("convert_time", "{}", "unknown_tool"),
    ],
)
def test_what_a_server_refuses_becomes_an_observation(
    name: str, arguments: str, error: str
) -> None:
    with connect_mcp(TIME_SERVER, allow=["get_current_time"]) as source:
        assert [tool.name for tool in source.tools] == ["get_current_time"]
        assert source.call(name, arguments).error == error


@mcp
def test_wrong_arguments_do_not_reach_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with connect_mcp(TIME_SERVER) as source:
        monkeypatch.setattr(source, "_portal", None)
        assert source.call("get_current_time", '{"timezone": 8}').error == "wrong_type"


@mcp
def test_an_answer_over_the_limit_is_not_read() -> None:
    with connect_mcp(TIME_SERVER, longest_answer=10) as source:
        seen = source.call("get_current_time", '{"timezone": "UTC"}')
        assert seen.error == "too_large"


@mcp
def test_an_allowed_tool_that_the_server_lacks_is_named() -> None:
    with pytest.raises(UserError, match="no tool 'fly'"), connect_mcp(TIME_SERVER, allow=["fly"]):
        pass


@mcp
@pytest.mark.parametrize("server", ["no-such-command-anywhere", "http://127.0.0.1:9/mcp"], ids=str)
def test_a_server_that_is_not_there_is_named(server: Any) -> None:
    with pytest.raises(UserError, match="cannot be used"), connect_mcp(server, timeout=5):
        pass


class Pages:
    """A client of a server whose list has the given pages, the last for ever."""

    def __init__(self, *pages: list[dict[str, Any]], ends: bool) -> None:
        self.pages, self.ends, self.asked = pages, ends, 0

    async def list_tools(self, cursor: str | None) -> Any:
        self.asked += 1
        page = self.pages[min(self.asked, len(self.pages)) - 1]
        last = self.ends and self.asked >= len(self.pages)
        tools = [SimpleNamespace(description="", **tool) for tool in page]
        return SimpleNamespace(tools=tools, next_cursor=None if last else "more")


def test_a_list_without_an_end_is_given_up() -> None:
    import anyio

    pages = Pages([{"name": "a", "input_schema": {}}], ends=False)
    with pytest.raises(ValueError, match="does not end"):
        anyio.run(mcp_tools._all_tools, pages, 5)
    assert pages.asked <= 100


def test_one_tool_that_cannot_be_used_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    good = Tool("good", "", '{"type": "object", "properties": {}}')
    bad = Tool("bad", "", '{"type": "object", "properties": {"a": {"type": "strin"}}}')
    assert list(mcp_tools._usable("server", [bad, good, good], None)) == [good]
    assert "bad" in capsys.readouterr().err
    with pytest.raises(ScenarioError, match="bad"):
        mcp_tools._usable("server", [bad, good], ["bad"])


@pytest.fixture
def slow_server() -> Iterator[str]:
    """The address of a server over HTTP, with one tool that answers and one that waits."""
    import anyio
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("test")

    @server.tool()
    def double(number: int) -> int:
        """双倍"""
        return 2 * number

    @server.tool()
    async def wait() -> str:
        """一直等"""
        await anyio.sleep_forever()
        return ""

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(server.streamable_http_app(), port=port, log_level="error")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    started = threading.Event()
    startup = running.startup

    async def announce(*arguments: Any, **named: Any) -> None:
        await startup(*arguments, **named)
        started.set()

    running.startup = announce  # type: ignore[method-assign]
    thread.start()
    assert started.wait(60)
    yield f"http://127.0.0.1:{port}/mcp"
    running.should_exit = True
    running.force_exit = True
    thread.join(60)


@mcp
def test_the_tools_of_a_server_over_http_and_one_that_never_answers(slow_server: str) -> None:
    with connect_mcp(slow_server, timeout=10) as source:
        assert source.call("double", '{"number": 21}').content.count("42") == 1
        source._timeout = 0.2
        assert source.call("wait", "{}").error == "timeout"
        assert source.call("double", '{"number": 21}').error is None
