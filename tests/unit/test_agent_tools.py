"""Where an agent's tools come from: functions, simulations, MCP servers, several at once."""

from __future__ import annotations

import datetime
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from matinee.apps.agent import Toolbox, write_tools
from matinee.apps.agent.mcp_tools import McpCommand, connect_mcp
from matinee.apps.agent.python_tools import PythonTools
from matinee.apps.agent.simulated_tools import SimulatedTools
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.messages.conversations import Tool
from matinee.runtime.errors import UserError

TODAY = datetime.date(2024, 1, 25)


def convert(amount: float, currency: Literal["USD", "EUR"], note: str | None = None) -> float:
    """把外币换算成人民币。

    Args:
        amount: 金额
        currency: 币种
        note: 备注
    """
    if amount < 0:
        raise ValueError("金额不能为负")
    return amount * 7


def no_description(city: str) -> str:
    return city


def no_hint(city) -> str:  # type: ignore[no-untyped-def]
    """城市。

    Args:
        city: 城市
    """
    return str(city)


def result_of(source: Any, name: str, arguments: str) -> Any:
    return json.loads(source.call(name, arguments).content)["result"]


# --- Python functions ---


def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    tool = PythonTools([convert]).tools[0]
    assert (tool.name, tool.description) == ("convert", "把外币换算成人民币。")
    assert tool.schema == {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "description": "金额"},
            "currency": {"type": "string", "enum": ["USD", "EUR"], "description": "币种"},
            "note": {"type": ["string", "null"], "description": "备注"},
        },
        "required": ["amount", "currency"],
    }


def test_a_function_is_called_with_checked_arguments() -> None:
    tools = PythonTools([convert])
    assert result_of(tools, "convert", '{"amount": 2, "currency": "USD"}') == 14
    assert result_of(tools, "convert", '{"amount": 2, "currency": "USD", "note": null}') == 14


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ('{"amount": 2}', "missing_parameter"),
        ('{"amount": "two", "currency": "USD"}', "wrong_type"),
        ('{"amount": 2, "currency": "CNY"}', "out_of_range"),
        ('{"amount": 2, "currency": "USD", "tip": 1}', "unknown_parameter"),
        ("not json", "bad_arguments"),
        ('{"amount": -2, "currency": "USD"}', "tool_error"),
    ],
)
def test_what_is_wrong_with_a_call_becomes_an_observation(arguments: str, error: str) -> None:
    assert PythonTools([convert]).call("convert", arguments).error == error


def test_a_function_that_returns_what_json_cannot_hold_fails_its_call() -> None:
    def today() -> Any:
        """今天。"""
        return {1, 2}

    assert PythonTools([today]).call("today", "{}").error == "tool_error"


@pytest.mark.parametrize("function", [no_description, no_hint])
def test_a_function_that_says_too_little_is_refused(function: Any) -> None:
    with pytest.raises(UserError, match="cannot be a tool"):
        PythonTools([function])


# --- several sources, and tools.json ---


def test_a_box_calls_the_source_that_owns_the_tool() -> None:
    box = Toolbox([SimulatedTools.world(TODAY), PythonTools([convert])])
    assert [tool.name for tool in box.tools][-1] == "convert"
    assert len(box.tools) == len(eleven_tools()) + 1
    assert result_of(box, "convert", '{"amount": 1, "currency": "EUR"}') == 7
    assert result_of(box, "get_environment_air_pm", '{"city": "苏州"}')[0]["city"] == "苏州市"
    assert box.call("nothing", "{}").error == "unknown_tool"


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="convert"):
        Toolbox([PythonTools([convert]), PythonTools([convert])])


def test_the_tool_list_can_be_written_for_training_and_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    source = PythonTools([convert])
    write_tools(source, path)
    listed = json.loads(path.read_text(encoding="utf-8"))
    assert tuple(Tool.from_openai(tool) for tool in listed) == source.tools


# --- MCP, with a real server out of a package ---

mcp = pytest.mark.skipif(
    not all(map(__import__("importlib.util").util.find_spec, ("mcp", "mcp_server_time"))),
    reason="the extra mcp is not installed",
)
TIME_SERVER = McpCommand(sys.executable, ("-m", "mcp_server_time", "--local-timezone", "UTC"))


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
@pytest.mark.parametrize(
    "server", [McpCommand("no-such-command-anywhere"), "http://127.0.0.1:9/mcp"], ids=str
)
def test_a_server_that_is_not_there_is_named(server: Any) -> None:
    with pytest.raises(UserError, match="cannot be used"), connect_mcp(server, timeout=5):
        pass


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
