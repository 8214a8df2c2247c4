"""What a verdict can hold and what a parser can say has words in both languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from matinee.messages.details import SENTENCES, said
from matinee.messages.forms.base import JSON_PROBLEMS
from matinee.messages.parsing import parse
from matinee.messages.transcripts import Detail, Parse

PACKAGE = Path(__file__).parents[2] / "workflow" / "matinee"
LOADED = yaml.safe_load(SENTENCES.read_text(encoding="utf-8"))
TABLE = LOADED["verdicts"] | LOADED["parsing"]


def calls(files: Iterator[Path], makers: set[str]) -> Iterator[ast.Call]:
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in makers:
                yield node


def keys(folders: list[str], makers: set[str], place: int) -> Iterator[str]:
    sources = (file for folder in folders for file in (PACKAGE / folder).glob("*.py"))
    for call in calls(sources, makers):
        yield from (
            node.value
            for argument in call.args[place : place + 1]
            for node in ast.walk(argument)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )


def test_the_table_holds_the_keys_that_scoring_uses_and_no_others() -> None:
    used = keys(["evaluation/scoring"], {"blame", "_told"}, 1)
    assert {*used, "as_accepted", "turn"} == set(LOADED["verdicts"])


def test_the_table_holds_the_keys_that_parsers_use_and_no_others() -> None:
    rooms = ["messages", "messages/forms"]
    used = {*keys(rooms, {"Broken"}, 1), *keys(rooms, {"RepairError", "NotStrict"}, 0)}
    used |= {*keys(rooms, {"reading.expect", "reading.until", "self._reading.expect"}, 2)}
    used -= {key for key in used if " " in key or not key.isidentifier()}
    used |= {*JSON_PROBLEMS.values(), "in_call", "as_told", "json_too_much"}
    assert used == set(LOADED["parsing"])


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


def test_where_and_why_a_text_broke_is_said_within_a_verdict() -> None:
    broken = parse("hermes", '<tool_call>{"name": "a" 1}</tool_call>').error
    assert broken is not None
    told = Detail(key="unparsable", values={"said": broken})
    assert said(told, "zh") == "第 1 个调用，第 25 个字符：不是 JSON：此处应为逗号"


def test_the_sentence_of_an_earlier_transcript_is_kept() -> None:
    earlier = Parse.model_validate({"content": "", "error": "call 1: whatever"})
    assert earlier.error is not None
    assert said(earlier.error, "zh") == "call 1: whatever"
