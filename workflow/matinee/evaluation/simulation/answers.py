"""The envelope in which a simulated tool answers, and the ways in which it can refuse."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from matinee.messages.transcripts import Observation

_LONGEST_ECHO = 60


class ApiProblem(Enum):
    """Why a call got no answer: the error code, and the usual message."""

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

    @property
    def code(self) -> int:
        """The `error_code` of the envelope."""
        return self.value[0]

    @property
    def message(self) -> str:
        """The message where nothing more exact is known."""
        return self.value[1]


class Refusal(Exception):
    """A call that a tool does not answer; becomes an error observation."""

    def __init__(self, problem: ApiProblem, detail: str | None = None) -> None:
        self.problem = problem
        self.reason = f"{problem.message}：{detail}" if detail else problem.message
        super().__init__(self.reason)


def answer(tool: str, result: Any) -> Observation:
    """The observation of a call that went well."""
    body = {"reason": "查询成功", "result": result, "error_code": 0}
    return Observation(tool=tool, content=json.dumps(body, ensure_ascii=False))


def refusal(tool: str, refused: Refusal) -> Observation:
    """The observation of a call that was refused; `error` names the problem."""
    empty: list[Any] | None = [] if refused.problem is ApiProblem.empty else None
    body = {
        "reason": refused.reason,
        "result": empty,
        "error_code": refused.problem.code,
    }
    content = json.dumps(body, ensure_ascii=False)
    return Observation(tool=tool, content=content, error=refused.problem.name)


def encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def echo(value: object) -> str:
    """A model's value as it may appear in a message: short and encodable."""
    text = encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"
