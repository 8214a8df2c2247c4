"""Leakage: every planted kind is found, and what merely resembles is not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from matinee.config.parameters import CheckLeakage
from matinee.data.leakage import LeakReport, find_leaks, normal_name
from matinee.messages.conversations import Conversation, Message, Tool, write_conversations
from matinee.messages.scenarios import Scenario, Suite, Turn
from matinee.runtime.errors import DataError
from matinee.stages.data import check_leakage


def tool(name: str, description: str, *parameters: str) -> Tool:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return Tool(name, description, json.dumps({"type": "object", "properties": properties}))


def row(*questions: str, tools: Sequence[Tool] = (), identifier: str = "row-1") -> Conversation:
    messages = []
    for question in questions:
        messages += [Message("user", question), Message("assistant", "好的。")]
    return Conversation(identifier, tuple(messages), tuple(tools), source="set")


TESTED = tool(
    "get_history_weather", "查询某个城市过去某一天的天气", "city_id", "weather_date", "unit"
)
SMALL = tool("get_air", "查询某个城市当前的空气质量", "city")
QUESTIONS = (
    "北京2023年5月1日的天气怎么样？",
    "Which flights from Shanghai are delayed today?",
    "你好",
)
SUITE = Suite(
    id="zh",
    today="2024-01-25",
    tools=(TESTED.as_openai(), SMALL.as_openai()["function"]),
    scenarios=tuple(
        Scenario(id=f"case-{n}", category="single_tool", family="f", turns=(Turn(user=text),))
        for n, text in enumerate(QUESTIONS)
    ),
)


def found(report: LeakReport) -> list[tuple[str, str, str]]:
    return [(leak.kind, leak.exactness, leak.test_item) for leak in report.leaks]


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (tool("get_history_weather", "Other"), ("tool_name", "exact")),
        (tool("getHistoryWeather", "Other"), ("tool_name", "exact")),
        (tool("weather_history_get", "Other"), ("tool_name", "exact")),
        (tool("get_history_weathers", "Other"), ("tool_name", "near")),
        (tool("x", "查询某个城市过去某一天的天气。"), ("tool_description", "exact")),
        (tool("x", "查询某座城市过去某一天的天气"), ("tool_description", "near")),
        (tool("x", "Other", "unit", "weather_date", "cityId"), ("tool_parameters", "exact")),
        (
            tool("x", "Other", "unit", "weather_date", "city_id", "language"),
            ("tool_parameters", "near"),
        ),
    ],
)
def test_a_planted_tool_is_found(planted: Tool, expected: tuple[str, str]) -> None:
    report = find_leaks([row("Something else entirely", tools=[planted])], SUITE)
    assert found(report) == [(*expected, "get_history_weather")]
    assert not report.clean


@pytest.mark.parametrize(
    "other",
    [
        tool("get_weather", "Weather at a place, now", "place", "day"),
        tool("history", "查询火车票的价格", "city_id"),
        tool("get_current_exchange_rate", "汇率换算", "weather_date", "amount", "currency"),
        tool("one_parameter", "Anything", "city"),
    ],
)
def test_another_tool_is_not(other: Tool) -> None:
    assert find_leaks([row("Something else entirely", tools=[other])], SUITE).clean


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("北京2023年5月1日的天气怎么样？", ("question", "exact", "case-0")),
        ("北京 2023年5月1日的天气怎么样", ("question", "exact", "case-0")),
        ("请问北京2023年5月1日的天气怎么样？", ("question", "near", "case-0")),
        ("上海2023年5月1日的天气怎么样？", ("question", "near", "case-0")),
        ("which flights from Shanghai are DELAYED today", ("question", "exact", "case-1")),
        ("Which flights from Beijing are delayed today?", ("question", "near", "case-1")),
        (
            "I read your question twice before I came to this one, so here it is, word for word "
            "as it was: which flights from Shanghai are delayed today? Thank you very much.",
            ("question", "exact", "case-1"),
        ),
    ],
)
def test_a_planted_question_is_found(question: str, expected: tuple[str, str, str]) -> None:
    assert found(find_leaks([row("Something else entirely", question)], SUITE)) == [expected]


@pytest.mark.parametrize(
    "question",
    [
        "我想知道去年劳动节那天首都下没下雨。",
        "Tell me about late departures at Pudong.",
        "你好",
    ],
)
def test_a_paraphrase_or_a_greeting_is_not(question: str) -> None:
    assert find_leaks([row(question)], SUITE).clean


def test_only_what_users_say_is_compared() -> None:
    conversation = Conversation(
        "row-1", (Message("user", "Anything at all"), Message("assistant", QUESTIONS[0]))
    )
    assert find_leaks([conversation], SUITE).clean


def test_the_report_shows_both_texts_and_how_often() -> None:
    rows = [row("请问" + QUESTIONS[0], identifier=f"row-{n}") for n in range(3)]
    report = find_leaks(rows, SUITE)
    (leak,) = report.leaks
    assert (leak.test_text, leak.training_text) == (QUESTIONS[0], "请问" + QUESTIONS[0])
    assert (leak.training_row, leak.training_source, leak.rows) == ("row-0", "set", 3)
    written = report.as_dict()
    assert written["counts"] == {"question_near": 1}
    assert (written["training_rows"], written["training_questions"]) == (3, 1)
    assert json.loads(json.dumps(written))["clean"] is False


def test_leaks_beyond_one_block_of_rows_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matinee.data.leakage.BLOCK_ROWS", 2)
    rows = [row(f"{number} 完全无关的另外一个问题在这里") for number in range(5)]
    assert found(find_leaks([*rows, row(QUESTIONS[0])], SUITE)) == [("question", "exact", "case-0")]


def test_nothing_against_nothing_is_clean() -> None:
    empty = Suite(id="zh", today="2024-01-25", tools=(), scenarios=())
    assert find_leaks([row("Anything at all", tools=[TESTED])], empty).clean
    assert find_leaks([], SUITE).clean


def test_names_are_compared_as_sorted_words() -> None:
    assert normal_name("getWeather_v2") == normal_name("V2-get weather") == "get v2 weather"


@pytest.mark.parametrize(
    ("shared", "refused_under"),
    [("tool", {"error"}), ("question", {"error", "same_tools"}), ("neither", set())],
)
def test_tools_may_be_the_same_by_intent_but_questions_may_not(
    shared: str, refused_under: set[str], tmp_path: Path
) -> None:
    question = QUESTIONS[0] if shared == "question" else "请推荐一本关于园艺的书。"
    write_conversations(
        tmp_path / "rows.jsonl", [row(question, tools=(TESTED,) if shared == "tool" else ())]
    )
    (tmp_path / "zh.json").write_text(SUITE.model_dump_json(), encoding="utf-8")
    for setting in ("error", "same_tools", "warn"):
        told = CheckLeakage(leakage=setting)
        expected = (
            pytest.raises(DataError, match=r"leaks between.*same_tools")
            if setting in refused_under
            else contextlib.nullcontext()
        )
        with expected:
            check_leakage(
                told, tmp_path / "rows.jsonl", [tmp_path / "zh.json"], tmp_path / "leakage.json"
            )
    hits = json.loads((tmp_path / "leakage.json").read_text())["hits"]
    assert bool(hits) == (shared != "neither"), "with `warn`, and listed in any case"
