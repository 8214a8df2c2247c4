"""Every sentence that scoring and parsing can write is said in Chinese on the Chinese page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from matinee.report.details import in_chinese

PACKAGE = Path(__file__).parents[2] / "workflow" / "matinee"
SOURCES = (
    *(
        "evaluation/scoring/turns.py",
        "evaluation/scoring/matching.py",
        "evaluation/scoring/schemas.py",
    ),
    *("messages/parsing.py", "messages/repairing.py"),
)
MAKERS = {"Fault", "FormProblem", "ArgumentProblem", "_Broken", "RepairError"}
HAN = re.compile(r"[\u4e00-\u9fff]")


# What the variable `told`, a sentence's beginning, holds in each source.
TOLD = {
    "evaluation/scoring/turns.py": "called it before asking for it",
    "evaluation/scoring/matching.py": "it: it=1",
}


def _text(node: ast.expr, source: str) -> str | None:
    """A string as it would be written, each of its variables as the word `it`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            else:
                name = ast.unparse(part)
                parts.append(TOLD[source] if name == "{told}" else _word(name))
        return "".join(parts)
    return None


def _word(name: str) -> str:
    if "wanted" in name and "turn" not in name:
        return "it was never called as accepted"
    return "7" if "MAXIMUM" in name or "LIMIT" in name else "steps" if name == "{limit}" else "it"


def _sentences() -> Iterator[str]:
    for source in SOURCES:
        tree = ast.parse((PACKAGE / source).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS:
                texts = [text for argument in node.args if (text := _text(argument, source))]
                yield from (text for text in texts if " " in text)


@pytest.mark.parametrize("sentence", sorted(set(_sentences())))
def test_every_sentence_of_the_source_has_a_translation(sentence: str) -> None:
    assert HAN.search(in_chinese(sentence)), f"add it to report/details.yaml: {sentence}"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "turn 2: get_weather: city='上海市浦东' was returned by no earlier call",
            "第 2 轮：get_weather：city='上海市浦东' 并非由此前任何调用返回",
        ),
        (
            "call 1, character 12: not JSON: Expecting ',' delimiter",
            "第 1 个调用，第 12 个字符：不是 JSON：此处应为逗号",
        ),
        (
            "asked back although all was known; query_news was never called as accepted",
            "信息已经齐全却仍然追问；query_news 始终没有按要求调用",
        ),
        (
            "called 'a' before asking for city, date: there is no tool 'a'",
            "尚未询问 city, date 就调用了 'a'：没有 'a' 这个工具",
        ),
        ("get_weather lacks the required city", "get_weather 缺少必需的 city"),
        (
            "get_weather: cityid='1'; accepted: 'city_id of 杭州'",
            "get_weather：cityid='1'；应为：杭州 的 city_id",
        ),
    ],
)
def test_what_a_sentence_is_about_stays_as_it_is(english: str, chinese: str) -> None:
    assert in_chinese(english) == chinese


def test_a_sentence_that_nobody_translated_stays_english() -> None:
    assert in_chinese("quite another thing") == "quite another thing"
