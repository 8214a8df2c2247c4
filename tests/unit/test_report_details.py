"""What a verdict can hold and what a parser can say has words in both languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from matinee.messages.transcripts import Detail
from matinee.report.words import SENTENCES, in_chinese, said

PACKAGE = Path(__file__).parents[2] / "workflow" / "matinee"
HAN = re.compile(r"[\u4e00-\u9fff]")
TABLE = yaml.safe_load(SENTENCES.read_text(encoding="utf-8"))["verdicts"]


def calls(files: Iterator[Path], makers: set[str]) -> Iterator[ast.Call]:
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in makers:
                yield node


def keys() -> Iterator[str]:
    sources = (PACKAGE / "evaluation" / "scoring").glob("*.py")
    for call in calls(sources, {"blame", "_told"}):
        yield from (
            node.value
            for argument in call.args[1:2]
            for node in ast.walk(argument)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )


def test_the_table_holds_the_keys_that_scoring_uses_and_no_others() -> None:
    assert {*keys(), "as_accepted", "turn"} == set(TABLE)


@pytest.mark.parametrize("key", TABLE)
def test_both_languages_name_the_same_facts(key: str) -> None:
    english, chinese = (set(re.findall(r"{(\w+)}", TABLE[key][code])) for code in ("en", "zh"))
    assert english == chinese


def test_a_fact_within_a_fact_is_said_in_the_same_language() -> None:
    inner = Detail(key="never_called", values={"tool": "query_news"})
    outer = Detail(key="turn", values={"number": 2, "detail": inner})
    assert said(outer) == "turn 2: query_news was never called as accepted"
    assert said(outer, "zh") == "第 2 轮：query_news 始终没有按要求调用"


def test_a_model_that_writes_braces_is_quoted_as_it_is() -> None:
    told = Detail(key="echo", values={"text": "{tool} {0}"})
    assert said(told, "zh") == "重复了提示：{tool} {0}"


def test_what_a_parser_said_is_translated_within_a_verdict() -> None:
    told = Detail(key="unparsable", values={"said": "not JSON: Extra data"})
    assert said(told, "zh") == "不是 JSON：JSON 之后还有多余内容"


def _text(node: ast.expr) -> str | None:
    """A string as it would be written, each of its variables as the word `it`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value)
            if isinstance(part, ast.Constant)
            else ("7" if re.search("MAXIMUM|LIMIT", ast.unparse(part)) else "it")
            for part in node.values
        ]
        return "".join(parts)
    return None


def _sentences() -> Iterator[str]:
    sources = [*(PACKAGE / "messages").glob("*.py"), *(PACKAGE / "messages" / "forms").glob("*.py")]
    for call in calls(iter(sources), {"Broken", "RepairError"}):
        yield from (text for one in call.args if (text := _text(one)) and " " in text)


@pytest.mark.parametrize("sentence", sorted(set(_sentences())))
def test_every_sentence_of_a_parser_has_a_translation(sentence: str) -> None:
    assert HAN.search(in_chinese(sentence)), f"add it to report/details.yaml: {sentence}"


def test_what_a_sentence_is_about_stays_as_it_is() -> None:
    english = "call 1, character 12: not JSON: Expecting ',' delimiter"
    assert in_chinese(english) == "第 1 个调用，第 12 个字符：不是 JSON：此处应为逗号"
    assert in_chinese("quite another thing") == "quite another thing"
