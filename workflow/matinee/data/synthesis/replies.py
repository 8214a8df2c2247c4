"""What tools and the assistant say after a call: envelopes, answers, errors."""

from __future__ import annotations

import random
import re
from typing import Any

from matinee.config.synthesis import Language
from matinee.data.synthesis.catalogue import CatalogueTool, Parameter
from matinee.data.synthesis.values import join_words
from matinee.data.synthesis.wording import fill


def wrapped(data: Any, envelope: str) -> Any:
    """The answer as an interface sends it: bare, or with a status beside it."""
    if isinstance(data, dict) and "error" in data:
        return data
    if envelope == "code":
        return {"code": 0, "data": data}
    if envelope == "result":
        return {"reason": "success", "result": data}
    return data


def reply(tool: CatalogueTool, data: Any, words: dict[str, str], language: Language) -> str:
    """The answer in words, from the observation and the user's own words."""
    rows = data if isinstance(data, list) else [data]
    if tool.reply is not None:
        return fill(tool.reply[language], {**words, **_texts(rows[0], language)})
    names = [str(row[tool.rows.name]) for row in rows] if tool.rows else []
    if language == "zh":
        return f"共有{len(names)}个：{'、'.join(names)}。"
    return f"There are {len(names)}: {join_words(names, 'en')}."


def _texts(row: dict[str, Any], language: Language) -> dict[str, str]:
    comma = "、" if language == "zh" else ", "
    return {
        key: comma.join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in row.items()
    }


def plain_label(parameter: Parameter, language: Language) -> str:
    """The label as one says it to a user: without 'ID' or 'number' where it names a thing."""
    label = parameter.label[language]
    if not parameter.source_tool:
        return label
    return re.sub(r"\s*(ID|编号|编码|代码|id|code)$", "", label)


_TRANSIENT_ZH = (
    {"error": "请求超时，请重试"},
    {"error": "服务繁忙，请稍后重试"},
    {"error": "网络异常"},
    {"error": "timeout"},
)
_TRANSIENT_EN = ({"error": "timeout"}, {"error": "service busy, try again"}, {"error": "502"})
_LASTING_ZH = (
    ({"error": "没有查询到数据"}, "抱歉，没有查到相关数据，请您核对后再试。"),
    ({"error": "无记录"}, "没有查到记录，您看看信息是不是有误？"),
    ({"error": "权限不足"}, "抱歉，接口提示权限不足，这次没能完成。"),
    ({"error": "今日调用次数已用完"}, "抱歉，今天的查询次数已经用完了，请明天再试。"),
    ({"error": "系统维护中"}, "系统正在维护，暂时查不了，请稍后再试。"),
)
_LASTING_EN = (
    ({"error": "no data"}, "I found no data for that. Please check the details."),
    ({"error": "permission denied"}, "Sorry, the service refused access, so I could not do it."),
    ({"error": "quota exceeded"}, "Sorry, today's quota is used up. Please try again tomorrow."),
)


def transient(rng: random.Random, language: Language) -> dict[str, str]:
    """An error that a second try may mend."""
    return rng.choice(_TRANSIENT_ZH if language == "zh" else _TRANSIENT_EN)


def lasting(rng: random.Random, language: Language) -> tuple[dict[str, str], str]:
    """An error that a second try does not mend, with the honest answer."""
    return rng.choice(_LASTING_ZH if language == "zh" else _LASTING_EN)
