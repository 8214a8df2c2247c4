"""The door of the simulation: a call is checked against its tool's schema, and always answered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol

import jsonschema

from matinee.messages.conversations import Tool
from matinee.messages.json_schemas import ParameterSchema, UnusableSchema
from matinee.messages.scenarios import Fault
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import ScenarioError

_LONGEST_ECHO = 60
_LONGEST_INTEGER = 40
_TYPES = {
    **{"string": "字符串", "integer": "整数", "number": "数字", "boolean": "布尔值"},
    **{"array": "数组", "object": "对象", "null": "null"},
}


class ApiProblem(Enum):
    """Why a call got no answer: the `error_code` of the envelope, and the usual message."""

    unknown_tool = (10001, "接口不存在")
    bad_arguments = (10002, "请求参数不是合法的JSON对象")
    missing_parameter = (10003, "缺少必填参数")
    unknown_parameter = (10004, "不支持的参数")
    wrong_type = (10005, "参数类型错误")
    out_of_range = (10006, "参数取值错误")
    not_found = (20001, "查询不到相关信息")
    no_record = (20002, "暂无记录")
    empty = (0, "暂无数据")
    rate_limit = (10012, "请求过于频繁，请稍后再试")
    server_error = (10020, "服务内部错误，请稍后再试")
    timeout = (10021, "请求超时，请稍后再试")
    # Of real services only.
    tool_error = (10022, "工具出错")
    too_large = (10023, "结果太大，没有读完，请缩小查询范围")
    redirect = (10024, "服务要求转到别的地址，没有跟随")

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message


class Refusal(Exception):
    """A call that a tool does not answer; becomes an error observation."""

    def __init__(self, problem: ApiProblem, detail: str | None = None) -> None:
        self.problem = problem
        self.reason = f"{problem.message}：{detail}" if detail else problem.message
        super().__init__(self.reason)


def refusal(tool: str, refused: Refusal) -> Observation:
    """The observation of a call that was refused; `error` names the problem."""
    problem = refused.problem
    empty: list[Any] | None = [] if problem is ApiProblem.empty else None
    return _observation(tool, refused.reason, empty, problem.code, problem.name)


def _observation(
    tool: str, reason: str, result: Any, code: int = 0, error: str | None = None
) -> Observation:
    body = {"reason": reason, "result": result, "error_code": code}
    return Observation(tool=tool, content=json.dumps(body, ensure_ascii=False), error=error)


def _encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def echo(value: object) -> str:
    """A model's value as it may appear in a message: short and encodable."""
    text = _encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"


class Parameters:
    """The parameters of one tool. Raises ScenarioError where their schema cannot be used."""

    def __init__(self, tool: Tool) -> None:
        try:
            self._schema = ParameterSchema(tool.schema)
        except UnusableSchema as error:
            raise ScenarioError(f"Tool {tool.name}: its parameters are {error}.") from error

    def read(self, arguments: str) -> dict[str, Any]:
        """The decoded and checked arguments. Raises Refusal, and nothing else, on any text."""
        values = _decode(arguments)
        if missing := self._schema.missing(values):
            raise Refusal(ApiProblem.missing_parameter, "、".join(missing))
        if unknown := self._schema.unknown(values):
            raise Refusal(ApiProblem.unknown_parameter, "、".join(map(echo, unknown)))
        for error in self._schema.errors(values):
            raise _as_refusal(error)
        return {name: self._whole(name, value) for name, value in values.items()}

    def _whole(self, name: str, value: Any) -> Any:
        # JSON Schema counts 5.0 as an integer; the tools' functions expect int.
        due = self._schema.parameters.get(name)
        is_integer = isinstance(due, dict) and due.get("type") == "integer"
        return int(value) if is_integer and isinstance(value, float) else value


def _decode(arguments: str) -> dict[str, Any]:
    try:
        values = json.loads(arguments, parse_int=_bounded)
        json.dumps(values, allow_nan=False)  # neither NaN nor 1e999 is a number of JSON
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Refusal(ApiProblem.bad_arguments)
    return values


def _bounded(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError("an integer too long to be meant")
    return int(text)


def _as_refusal(error: jsonschema.ValidationError) -> Refusal:
    where = echo(".".join(map(str, error.absolute_path)) or "arguments")
    due: Any = error.validator_value
    if error.validator == "type":
        names = [_TYPES[name] for name in (due if isinstance(due, list) else [due])]
        return Refusal(ApiProblem.wrong_type, f"{where}应为{'或'.join(names)}")
    if error.validator == "enum":
        return Refusal(ApiProblem.out_of_range, f"{where}只能是{'、'.join(map(echo, due))}之一")
    if error.validator == "required":
        return Refusal(ApiProblem.missing_parameter, f"{where}的内容不完整")
    return Refusal(ApiProblem.out_of_range, f"{where}不符合要求（{error.validator}={echo(due)}）")


class Simulation(Protocol):
    """Tools that can be called. One object serves one run of one case."""

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; `arguments` is JSON text. Never raises on model input."""
        ...


_parameters = lru_cache(maxsize=512)(Parameters)  # every case has a simulation of the same tools


class SimulatedApi:
    """A list of tools, checked alike and answered by one function.

    `answer` gets a tool's name and its checked arguments, and returns what JSON can hold or
    raises Refusal. Each fault strikes at the nth call of its tool, well-formed or not, before
    anything else happens. Raises ScenarioError for a fault of an unlisted tool, a tool listed
    twice or a schema that cannot be used.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        answer: Callable[[str, dict[str, Any]], Any],
        faults: Sequence[Fault] = (),
    ) -> None:
        self.tools = tuple(tools)
        self._parameters = {tool.name: _parameters(tool) for tool in tools}
        if len(self._parameters) != len(tools):
            raise ScenarioError("Two tools have the same name. Rename one or take it out.")
        for fault in faults:
            if fault.tool not in self._parameters:
                listed = ", ".join(self._parameters)
                raise ScenarioError(
                    f"A fault names the tool {fault.tool!r}, which is not listed. Listed: {listed}."
                )
        self._answer = answer
        self._faults = {(fault.tool, fault.nth): ApiProblem[fault.kind] for fault in faults}
        self._calls: Counter[str] = Counter()

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; see `Simulation`."""
        try:
            return _observation(name, "查询成功", self._result(name, arguments))
        except Refusal as refused:
            return refusal(_encodable(name), refused)

    def _result(self, name: str, arguments: str) -> Any:
        parameters = self._parameters.get(name)
        if parameters is None:
            raise Refusal(ApiProblem.unknown_tool, echo(name))
        self._calls[name] += 1
        fault = self._faults.get((name, self._calls[name]))
        if fault is not None:
            raise Refusal(fault)
        return self._answer(name, parameters.read(arguments))
