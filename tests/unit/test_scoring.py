"""Verdicts: every rule with a case that keeps it and cases that break it."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from cases import (
    AIR,
    AIRPORT,
    CITIES,
    FLIGHTS,
    GOOD,
    NEWS,
    SHANGHAI,
    air,
    ask_city,
    bad,
    chain,
    nothing,
    retry_unlisted,
    the_chain,
)
from playing import DONE, call, gold, judged, says, scenario, turn

from matinee.messages.details import said
from matinee.messages.scenarios import Fault, Scenario
from matinee.messages.transcripts import ErrorClass


@pytest.mark.parametrize(("case", "outputs"), GOOD.values(), ids=GOOD.keys())
def test_what_succeeds(case: Scenario, outputs: list[str]) -> None:
    verdict = judged(case, *(outputs or the_chain()))
    assert (verdict.error, said(verdict.detail)) == (None, "as accepted")
    assert verdict.success


@pytest.mark.parametrize("name", bad().keys())
def test_what_fails_and_why(name: str) -> None:
    error, case, outputs = bad()[name]
    verdict = judged(case, *outputs)
    assert verdict.error == error, verdict.detail
    assert not verdict.success
    assert said(verdict.detail) != said(verdict.detail, "zh")


def test_running_out_of_steps() -> None:
    outputs = the_chain()
    assert judged(chain, *outputs[:2], max_steps=2).error == "step_limit"
    assert judged(chain, *outputs, max_steps=4).success


def test_a_call_that_is_cut_off_was_not_made() -> None:
    assert judged(air, (SHANGHAI, "length")).error == "cut_off"
    assert judged(air, (SHANGHAI[:-8], "length")).error == "cut_off"


@pytest.mark.parametrize("case", [air, nothing, ask_city])
def test_a_reply_that_was_cut_off_is_none(case: Scenario) -> None:
    before = [SHANGHAI] if case is air else []
    verdict = judged(case, *before, ("请问您要查的是哪个城市？我这里", "length"))
    assert verdict.error == "cut_off"
    assert verdict.metrics["cut_off"] is True
    assert verdict.metrics["format_valid"] is False


def test_a_call_of_an_earlier_turn_is_not_repeated_needlessly() -> None:
    two = scenario(turn(gold(AIR, city="上海")), turn(gold(AIR, city="北京"), user="北京呢？"))
    beijing = says(call(AIR, city="北京"))
    assert judged(two, SHANGHAI, DONE, beijing, DONE).success
    verdict = judged(two, SHANGHAI, DONE, SHANGHAI + "\n" + beijing, DONE)
    assert (verdict.error, said(verdict.detail)[:6]) == ("repeated_call", "turn 2")


@pytest.mark.parametrize("together", [True, False])
def test_what_found_nothing_was_carried_out_and_is_not_asked_again(together: bool) -> None:
    """A time-out is no answer; "there is none" is one, and does not change by asking again."""
    nowhere = says(call(AIR, city="慈溪"))
    case = scenario(turn(gold(AIR, city="慈溪")))
    assert judged(case, nowhere, DONE).success
    twice = [nowhere + "\n" + nowhere] if together else [nowhere, nowhere]
    assert judged(case, *twice, DONE).error == "repeated_call"
    other = says(call(AIR, city="慈溪市"))
    assert judged(case, nowhere, other, DONE).success
    assert judged(retry_unlisted, SHANGHAI, SHANGHAI, DONE).success


def test_optional_calls_may_be_made_or_left_out() -> None:
    case = scenario(turn(gold(AIR, city="上海"), gold(NEWS, optional=True)))
    assert judged(case, SHANGHAI, DONE).success
    assert judged(case, SHANGHAI, says(call(NEWS)), DONE).success
    assert judged(case, says(call(NEWS)), DONE).error == "missing_call"


def test_a_code_that_the_user_said_is_not_invented() -> None:
    wanted = {"lookup": "airport_code", "name": "大连周水子"}
    flights = says(call(FLIGHTS, airport="DLC"))
    said = scenario(turn(gold(FLIGHTS, airport=wanted), user="DLC的航班"))
    part = scenario(turn(gold(FLIGHTS, airport=wanted), user="XDLC的航班"))
    assert judged(said, flights, DONE).success
    assert judged(part, flights, DONE).error == "invented_value"


def test_an_error_message_is_no_source() -> None:
    """An unknown id that an error echoes, or one refused by a time-out, was still invented."""
    case = chain.model_copy(update={"faults": (Fault(tool=CITIES, nth=1, kind="timeout"),)})
    second = the_chain()[1]
    assert judged(case, second, second, DONE).error == "invented_value"


def test_every_error_class_has_an_example() -> None:
    shown = {error for error, _, _ in bad().values()} | {"step_limit", "cut_off"}
    assert shown == set(get_args(ErrorClass))


def test_a_code_is_compared_as_its_tool_says_in_all_places() -> None:
    """In capitals, whether the user gave it or a tool did."""
    wanted = {"lookup": "airport_code", "name": "大连周水子"}
    search = says(call(AIRPORT, airport="大连周水子"))
    lower = says(call(FLIGHTS, airport="dlc"))
    given = scenario(turn(gold(FLIGHTS, airport="DLC"), user="DLC的航班"))
    found = scenario(
        turn(gold(AIRPORT, airport="大连周水子"), gold(FLIGHTS, after=[0], airport=wanted))
    )
    assert judged(given, lower, DONE).error == "wrong_value"
    assert judged(found, search, lower, DONE).error == "wrong_value"
    assert judged(found, search, says(call(FLIGHTS, airport="DLC")), DONE).success


CALLS_IN_OTHER_FORMS = {
    "fenced JSON": '好的。\n```json\n{"name": "T", "arguments": {"city": "上海"}}\n```',
    "bare JSON": '{"name": "T", "arguments": {"city": "上海"}}',
    "parameters": '{"name": "T", "parameters": {"city": "上海"}}',
    "wrapped": '{"type": "function", "function": {"name": "T", "arguments": "{}"}}',
    "a list": '[{"name": "T", "arguments": {}}]',
    "the name as the key": '{"T": {"city": "上海"}}',
    "single quotes": "{'name': 'T', 'arguments': {'city': '上海'}}",
    "broken off": '{"name": "T", "arguments": {"city": "上',
    "tool and tool_input": '{"tool": "T", "tool_input": {"city": "上海"}}',
    "action lines": 'Action: T\nAction Input: {"city": "上海"}',
    "action lines without an input": "Thought: 查天气\nAction: T\nAction Input:",
    "Python": '[T(city="上海")]',
    "Python, printed": 'print(T(city="上海"))',
    "Python in a sentence": '我将调用 T(city="上海") 来查询。',
    "Llama's mark": '<|python_tag|>{"name": "T", "parameters": {}}',
    "Mistral's mark": '[TOOL_CALLS][{"name": "T", "arguments": {}}]',
    "an XML function": "<function=T>\n<parameter=city>\n上海\n</parameter>\n</function>",
    "an XML tag": "<T><city>上海</city></T>",
    "invoke": '<invoke name="T"><parameter name="city">上海</parameter></invoke>',
    "labelled lines": '工具：T\n参数：{"city": "上海"}',
    "name and JSON": 'T\n{"city": "上海"}',
    "another template's tag": '<function_call>{"name": "T"}</function_call>',
}
REPLIES = {
    "a joke": "从前有座山，山里有座庙。",
    "a tool's name": "这个可以用 T 查，不过您没有要求。",
    "a tool explained": "我有一个工具 T，它的参数是 city，可以查询某个城市当前的空气质量。",
    "a signature": "工具 T(city) 用来查询空气质量。",
    "what can be done": "我可以查询某个城市当前的PM2.5和空气质量，也可以查新闻。",
    "JSON that was asked for": '```json\n{"name": "张三", "age": 3}\n```',
    "code": "```python\nfor i in range(10):\n    print(i, end=', ')\n```",
    "a table": "| 城市 | 空气 |\n| --- | --- |\n| 上海 | 良 |",
    "the user quoted": "您说“讲个笑话”，那我就讲一个：小明上学迟到了。",
    "laughter": "哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈，真有意思！",
    "a short one": "好。",
    "an emoji": "👍",
    "a number": "42",
    "English": "Sure, here is one: why did the chicken cross the road?",
    "a formula": "(a+b)²=a²+2ab+b²",
    "an address": "https://www.example.com/index.html?page=2",
}
NO_REPLIES = {
    "echo": [
        "讲个笑话",
        "讲个笑话。讲个笑话。",
        "您讲个笑话",
        "查询某个城市当前的PM2.5和空气质量。",
    ],
    "empty": ["", "  \n", "\u200b", "<|im_end|>"],
    "garbage": [
        "。。。。。。",
        "!!!???###$$$%%%",
        "好的好的好的好的好的好的好的好的好的好的好的好的",
        "没问题。\n" * 12,
        "\ufffd\ufffd\x00\x01abc",
        "ä½\xa0å¥½ï¼\x8cæ\x88\x91æ\x98¯",
        "жабв ياسه कखग ひらが abc ελλ 한국",
        "x8Kq2ZpL0vB7nM3tR9wY5cD1fG",
    ],
}


@pytest.mark.parametrize("text", CALLS_IN_OTHER_FORMS.values(), ids=CALLS_IN_OTHER_FORMS.keys())
@pytest.mark.parametrize("case", [nothing, ask_city, air])
def test_a_call_in_another_form_is_no_reply_wherever_one_is_due(case: Scenario, text: str) -> None:
    before = [SHANGHAI] if case is air else []
    verdict = judged(case, *before, re.sub(r"(?<![A-Z_a-z])T(?![A-Za-z])", AIR, text))
    assert verdict.error == "call_in_other_form", said(verdict.detail)
    assert verdict.metrics["format_valid"] is False


@pytest.mark.parametrize("text", REPLIES.values(), ids=REPLIES.keys())
def test_what_is_a_reply(text: str) -> None:
    verdict = judged(nothing, re.sub(r"(?<![A-Za-z])T(?![A-Za-z])", AIR, text))
    assert verdict.success, said(verdict.detail)


@pytest.mark.parametrize(
    ("error", "text"), [(error, text) for error, texts in NO_REPLIES.items() for text in texts]
)
def test_what_is_no_reply(error: str, text: str) -> None:
    assert judged(nothing, text).error == error
    assert judged(air, SHANGHAI, text).error in (error, None if "笑话" in text else error)


def test_what_the_system_message_says_is_no_echo() -> None:
    day = scenario(turn(user="今天星期几？"))
    assert judged(day, "今天是2024年1月25日（2024-01-25），星期四。").success


@pytest.mark.parametrize(
    ("user", "reply"),
    [
        ("请改正错别字：今天天汽很好，我们去公圆玩。", "今天天气很好，我们去公园玩。"),
        ("早上好", "早上好！"),
        ("谢谢", "谢谢！"),
        ("翻译“你好，世界”", "Hello, world"),
        ("北京和上海哪个大？", "上海。"),
    ],
)
def test_a_short_or_asked_for_repetition_is_a_reply(user: str, reply: str) -> None:
    assert judged(scenario(turn(user=user)), reply).success
