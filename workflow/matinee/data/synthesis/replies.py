"""What tools and the assistant say after a call: envelopes, answers, errors."""

from __future__ import annotations

import re
from typing import Any

from matinee.config.synthesis import Language
from matinee.data.synthesis.catalogue import CatalogueTool, Parameter
from matinee.data.synthesis.values import join_words
from matinee.data.synthesis.wording import fill

# Rows of a list that an answer reads out.
MOST_NAMED = 3


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
    count, more = len(names), len(names) > MOST_NAMED
    if language == "zh":
        return f"共有{count}个：{'、'.join(names[:MOST_NAMED])}{'等' if more else ''}。"
    listed = join_words(names[:MOST_NAMED], "en")
    return f"There are {count}, such as {listed}." if more else f"There are {count}: {listed}."


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
