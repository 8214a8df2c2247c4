"""Parsing: what is a call, what is broken, and what the lenient mode forgives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.details import said
from matinee.messages.forms.base import MAXIMUM_DEPTH
from matinee.messages.parsing import CallForm, parse, write_calls
from matinee.messages.repairing import REPAIR_LIMIT
from matinee.messages.transcripts import Parse

FORMS = ("hermes", "action")
AIR = ToolCall("get_environment_air_pm", '{"city": "上海"}')
NEWS = ToolCall("get_toutiao_news", '{"type": "tiyu", "page": "2"}')


def calls_of(parsed: Parse) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in parsed.calls]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", ["", "好的，我来查。"])
@pytest.mark.parametrize("calls", [[AIR], [AIR, NEWS]])
@pytest.mark.parametrize("lenient", [False, True])
def test_what_is_written_is_read_back(
    form: CallForm, content: str, calls: list[ToolCall], lenient: bool
) -> None:
    parsed = parse(form, write_calls(form, calls, content), lenient=lenient)
    assert parsed.error is None
    assert parsed.content == content
    assert calls_of(parsed) == [(call.name, call.values) for call in calls]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["", "今天天气不错。", "1 < 2，{“a”}", "```\nx = 1\n```"])
def test_plain_text_holds_no_call_and_no_error(form: CallForm, text: str) -> None:
    assert parse(form, text) == Parse(content=text)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name":"a","arguments":{}}</tool_call>',
        '<tool_call>\r\n\t{"arguments" : {} , "name" : "a"}  \n\n</tool_call>',
    ],
)
def test_hermes_takes_any_space_and_key_order(text: str) -> None:
    assert parse("hermes", text).calls == write_and_read("hermes", "a")


def test_hermes_keeps_text_around_calls() -> None:
    first = '<tool_call>{"name": "a", "arguments": {}}</tool_call>'
    parsed = parse("hermes", f"先查。\n{first}\n再查。{first}完")
    assert parsed.content == "先查。\n再查。\n完"
    assert len(parsed.calls) == 2


def test_a_closing_tag_inside_a_string_does_not_close() -> None:
    value = {"text": "</tool_call> <tool_call> Action: x"}
    call = ToolCall("a", canonical_json(value))
    assert calls_of(parse("hermes", write_calls("hermes", [call]))) == [("a", value)]


def test_action_input_may_span_lines_and_follow_text() -> None:
    text = '我来查。\nAction: a\nAction Input: {\n  "x": [1,\n 2]\n}\n'
    parsed = parse("action", text)
    assert (calls_of(parsed), parsed.content) == ([("a", {"x": [1, 2]})], "我来查。")


HERMES_BROKEN = {
    "not JSON": "<tool_call>{'name': 'a', 'arguments': {}}</tool_call>",
    "no closing tag": '<tool_call>{"name": "a", "arguments": {}}',
    "closing tag alone": "好</tool_call>",
    "text behind the JSON": '<tool_call>{"name": "a", "arguments": {}} 好</tool_call>',
    "cut off": '<tool_call>{"name": "a", "argum',
    "no arguments": '<tool_call>{"name": "a"}</tool_call>',
    "arguments as text": '<tool_call>{"name": "a", "arguments": "{}"}</tool_call>',
    "arguments as list": '<tool_call>{"name": "a", "arguments": []}</tool_call>',
    "a key too many": '<tool_call>{"name": "a", "arguments": {}, "id": 1}</tool_call>',
    "name is no text": '<tool_call>{"name": 1, "arguments": {}}</tool_call>',
    "name is blank": '<tool_call>{"name": " ", "arguments": {}}</tool_call>',
    "a list": '<tool_call>[{"name": "a", "arguments": {}}]</tool_call>',
    "nothing inside": "<tool_call></tool_call>",
    "key twice": '<tool_call>{"name": "a", "arguments": {"x": 1, "x": 2}}</tool_call>',
    "not a number": '<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>',
    "an infinite number": '<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>',
    "half a character": '<tool_call>{"name": "a", "arguments": {"x": "\\ud800"}}</tool_call>',
    "a raw line break": '<tool_call>{"name": "a", "arguments": {"x": "1\n2"}}</tool_call>',
    "trailing comma": '<tool_call>{"name": "a", "arguments": {},}</tool_call>',
    "full-width punctuation": '<tool_call>{"name"："a", "arguments"：{}}</tool_call>',
}
ACTION_BROKEN = {
    "no input": "Action: a",
    "other line between": "Action: a\n嗯\nAction Input: {}",
    "no name": "Action:\nAction Input: {}",
    "input alone": "Action Input: {}",
    "text behind": "Action: a\nAction Input: {}\nObservation: 晴",
    "not JSON": "Action: a\nAction Input: city=上海",
    "a list": "Action: a\nAction Input: []",
    "cut off": 'Action: a\nAction Input: {"x": ',
    "full-width colon": "Action: a\nAction Input：{}",
}


def told(parsed: Parse) -> str:
    assert parsed.error is not None
    return said(parsed.error)


@pytest.mark.parametrize("text", HERMES_BROKEN.values(), ids=HERMES_BROKEN.keys())
def test_hermes_is_strict(text: str) -> None:
    parsed = parse("hermes", text)
    assert told(parsed).startswith("call 1, character ")
    assert parsed.calls == ()
    assert parsed.content == text


@pytest.mark.parametrize("text", ACTION_BROKEN.values(), ids=ACTION_BROKEN.keys())
def test_action_is_strict(text: str) -> None:
    parsed = parse("action", text)
    assert told(parsed).startswith("call ")


@pytest.mark.parametrize("form", FORMS)
def test_calls_before_the_break_are_kept_and_the_rest_is_content(form: CallForm) -> None:
    broken = "<tool_call>{" if form == "hermes" else "Action: b\nAction Input: {"
    parsed = parse(form, write_calls(form, [AIR]) + "\n" + broken)
    assert calls_of(parsed) == [(AIR.name, AIR.values)]
    assert parsed.content == broken
    assert told(parsed).startswith("call 2, character ")


def test_the_error_points_at_the_character() -> None:
    text = '好<tool_call>{"name" "a"}</tool_call>'
    assert told(parse("hermes", text)) == "call 1, character 21: not JSON: Expecting ':' delimiter"
    assert text[20] == '"'


CITY = {"city": "上海"}
LENIENT = {
    "single quotes": "<tool_call>{'name': 'a', 'arguments': {'city': '上海'}}</tool_call>",
    "trailing comma": '<tool_call>{"name": "a", "arguments": {"city": "上海",},}</tool_call>',
    "text behind": '<tool_call>{"name": "a", "arguments": {"city": "上海"}} 查询中</tool_call>',
    "full-width": "<tool_call>｛＂name＂：＂a＂，＂arguments＂：｛＂city＂：＂上海＂｝｝",
    "curly quotes": "<tool_call>{“name”: “a”, “arguments”: {“city”: “上海”}}</tool_call>",
    "full-width tags": '＜tool_call＞{"name": "a", "arguments": {"city": "上海"}}＜/tool_call＞',
    "no closing tag": '<tool_call>\n{"name": "a", "arguments": {"city": "上海"}}\n',
    "a brace missing": '<tool_call>{"name": "a", "arguments": {"city": "上海"}</tool_call>',
    "a brace too many": '<tool_call>{"name": "a", "arguments": {"city": "上海"}}}</tool_call>',
    "arguments as text": '<tool_call>{"name":"a","arguments":"{\\"city\\":\\"上海\\"}"}',
    "fence inside": '<tool_call>```json\n{"name":"a","arguments":{"city":"上海"}}\n```</tool_call>',
    "fence around": '```json\n<tool_call>{"name":"a","arguments":{"city":"上海"}}</tool_call>\n```',
    "no tags": '{"name": "a", "arguments": {"city": "上海"}}',
    "parameters": '<tool_call>{"name": "a", "parameters": {"city": "上海"}}</tool_call>',
    "an id": '<tool_call>{"id": 1, "name": "a", "arguments": {"city": "上海"}}</tool_call>',
}
LENIENT_ACTION = {
    "single quotes": "Action: a\nAction Input: {'city': '上海'}",
    "full-width": "Action：a\nAction Input：｛“city”：“上海”｝",
    "text behind": 'Action: a\nAction Input: {"city": "上海"}\nObservation: 晴',
    "fence": 'Action: `a`\nAction Input: ```json\n{"city": "上海"}\n```',
    "cut off": 'Action: a\nAction Input: {"city": "上海"',
}


@pytest.mark.parametrize("text", LENIENT.values(), ids=LENIENT.keys())
def test_lenient_repairs_the_usual_slips_of_hermes(text: str) -> None:
    parsed = parse("hermes", text, lenient=True)
    assert (calls_of(parsed), parsed.error) == ([("a", CITY)], None)
    assert parsed.content == ""
    assert parse("hermes", text) != parsed


@pytest.mark.parametrize("text", LENIENT_ACTION.values(), ids=LENIENT_ACTION.keys())
def test_lenient_repairs_the_usual_slips_of_action(text: str) -> None:
    parsed = parse("action", text, lenient=True)
    assert (calls_of(parsed), parsed.error) == ([("a", CITY)], None)
    assert parse("action", text) != parsed


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>上海的空气</tool_call>",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name": "a", "arguments": [1]}</tool_call>',
        "<tool_call>__import__('os').getcwd()</tool_call>",
    ],
)
def test_lenient_does_not_make_calls_from_what_is_none(text: str) -> None:
    parsed = parse("hermes", text, lenient=True)
    assert parsed.calls == ()
    assert parsed.error is not None


def test_lenient_keeps_full_width_characters_inside_strings() -> None:
    text = '<tool_call>{"name"："a", "arguments"：{"q": "水质：好，“真的”｛｝"}}</tool_call>'
    assert calls_of(parse("hermes", text, lenient=True)) == [("a", {"q": "水质：好，“真的”｛｝"})]


FIRST, SECOND = '{"name": "a", "arguments": {"x": 1}}', '{"name": "b", "arguments": {"x": 2}}'
SLIPS = ["{'name': 'a', 'arguments': {'x': 1}}", "{'name': 'b', 'arguments': {'x': 2,},}"]
SEVERAL = {
    "in one block": f"<tool_call>\n{FIRST}\n{SECOND}\n</tool_call>",
    "with a comma": f"<tool_call>{FIRST}, {SECOND}</tool_call>",
    "the second with a slip": f"<tool_call>{FIRST}\n{SLIPS[1]}</tool_call>",
    "both with slips": f"<tool_call>{SLIPS[0]}\n{SLIPS[1]}</tool_call>",
    "both for the library": f"<tool_call>{SLIPS[1].replace('b', 'a').replace('2', '1')}{SLIPS[1]}",
    "full-width": f"<tool_call>{FIRST}\n{SECOND.replace('{', '｛').replace('}', '｝')}</tool_call>",
    "no tags": f"{FIRST}\n{SECOND}",
    "no tags, fenced": f"```json\n{FIRST}\n```\n```json\n{SECOND}\n```",
    "a list with a slip": f"<tool_call>[{FIRST}, {SECOND},]</tool_call>",
}


@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL.keys())
def test_lenient_reads_every_call_that_follows_another(text: str) -> None:
    parsed = parse("hermes", text, lenient=True)
    assert (calls_of(parsed), parsed.error) == ([("a", {"x": 1}), ("b", {"x": 2})], None)
    assert parsed.content == ""


def test_an_object_behind_a_call_that_is_no_call_is_an_error() -> None:
    parsed = parse("hermes", f'<tool_call>{FIRST}\n{{"x": 2}}</tool_call>', lenient=True)
    assert parsed.error is not None
    assert parsed.calls == ()


def test_an_object_behind_the_arguments_of_an_action_is_text() -> None:
    text = 'Action: a\nAction Input: {"x": 1}\n{"x": 2}'
    assert calls_of(parse("action", text, lenient=True)) == [("a", {"x": 1})]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value",
    [
        "```json\n{}\n```",
        "写成```json",
        "x</tool_call>y",
        "<tool_call>",
        "１，２：“三”",
        "\nAction: b\n",
    ],
)
def test_lenient_changes_nothing_in_a_string_of_sound_json(form: CallForm, value: str) -> None:
    text = write_calls(form, [ToolCall("a", canonical_json({"q": value})), NEWS])
    assert parse(form, text, lenient=True) == parse(form, text)
    assert calls_of(parse(form, text))[0] == ("a", {"q": value})


def test_a_bare_call_keeps_the_fence_in_its_string() -> None:
    value = {"q": "写成\n```json\n{}"}
    text = f"```json\n{write_calls('hermes', [ToolCall('a', canonical_json(value))])[12:-13]}\n```"
    assert calls_of(parse("hermes", text, lenient=True)) == [("a", value)]


def test_lenient_reads_full_width_digits_outside_strings() -> None:
    text = 'Action: a\nAction Input：｛"x"：１０，"y"：－２．５，"z"："３"｝'
    values = {"x": 10, "y": -2.5, "z": "３"}
    assert calls_of(parse("action", text, lenient=True)) == [("a", values)]


@pytest.mark.parametrize("piece", ["{}", "{'a',}", "```{", '{"a":"\\"', '<tool_call>["', "{'"])
def test_the_time_of_lenient_parsing_grows_with_the_text(piece: str) -> None:
    import time

    began = time.perf_counter()
    parse("hermes", "<tool_call>" + piece * 5_000, lenient=True)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("levels", [1, 100_000])
def test_depth_is_bounded(lenient: bool, levels: int) -> None:
    depth = MAXIMUM_DEPTH + levels
    nested = "[" * depth + "]" * depth
    text = f'<tool_call>{{"name": "a", "arguments": {{"x": {nested}}}}}</tool_call>'
    assert parse("hermes", text, lenient=lenient).error is not None


def test_long_broken_json_is_left_broken() -> None:
    broken = '{"name" "a", "x": "' + "y" * REPAIR_LIMIT + '"}'
    parsed = parse("hermes", f"<tool_call>{broken}</tool_call>", lenient=True)
    assert parsed.error is not None
    assert "too long to repair" in told(parsed)


def test_halves_of_surrogate_pairs_do_not_reach_the_record() -> None:
    parse("hermes", "a\ud800b").content.encode("utf-8")


def write_and_read(form: CallForm, name: str) -> Any:
    return parse(form, write_calls(form, [ToolCall(name)])).calls


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMS), st.dictionaries(st.text(), json_values, max_size=4))
def test_any_arguments_survive_the_way_through_text(form: CallForm, arguments: Any) -> None:
    call = ToolCall("tool-1.名", canonical_json(arguments))
    parsed = parse(form, write_calls(form, [call]))
    assert calls_of(parsed) == [(call.name, arguments)]


fragments = st.sampled_from(
    ["<tool_call>", "</tool_call>", "＜tool_call＞", "Action: a\n", "\nAction Input: ", "Action：",
     '{"name": "a", "arguments": {', '"x": 1', "}", "}}", "｛", "：", "“", "'", '"', ",",
     "```json\n", "```", "\\", "\n", "NaN", "1e999", "\ud800", "\u2028", "[", "名", "\\u12"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(FORMS),
    st.booleans(),
    st.lists(fragments | st.text(st.characters(exclude_categories=())), max_size=25).map("".join),
)
def test_no_text_raises_and_every_result_can_be_stored(
    form: CallForm, lenient: bool, text: str
) -> None:
    parsed = parse(form, text, lenient=lenient)
    parsed.model_dump_json().encode("utf-8")
    assert all(isinstance(json.loads(call.arguments), dict) for call in parsed.calls)


BEFORE = "先想：可以写 <tool_call> 或者 Action: x，但还不到时候。"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>\n{b}\n</think>\n好。{c}", BEFORE, "好。"),
        ("{b}</think>好。{c}", BEFORE, "好。"),  # the prompt began the thoughts
        ("好。<think>{b}</think>{c}", BEFORE, "好。"),
        ("<think></think><think>{b}</think>好。{c}", BEFORE, "好。"),
        ("[THINK]{b}[/THINK]好。{c}", BEFORE, "好。"),
        ("<|channel>thought\n{b}<channel|>好。{c}", BEFORE, "好。"),
    ],
)
def test_thoughts_are_kept_apart_and_hold_no_call(
    form: CallForm, text: str, reasoning: str, content: str
) -> None:
    call = "\n" + write_calls(form, [AIR])
    parsed = parse(form, text.format(b=BEFORE, c=call))
    assert (parsed.error, parsed.reasoning, parsed.content) == (None, reasoning, content)
    assert calls_of(parsed) == [(AIR.name, AIR.values)]


@pytest.mark.parametrize("form", FORMS)
def test_a_call_in_thoughts_that_never_end_is_none(form: CallForm) -> None:
    parsed = parse(form, f"<think>\n{write_calls(form, [AIR])}")
    assert (parsed.calls, parsed.content, parsed.error) == ((), "", None)
    assert AIR.name in parsed.reasoning


@pytest.mark.parametrize("value", ["<think>1</think>", "a</think>", "<channel|>", "[/THINK]b"])
def test_a_mark_of_thoughts_in_an_argument_is_an_argument(value: str) -> None:
    call = ToolCall("a", canonical_json({"x": value}))
    for form in FORMS:
        for content in ("", "好。"):
            parsed = parse(form, write_calls(form, [call], content))
            assert (calls_of(parsed), parsed.reasoning) == ([("a", call.values)], "")


def test_the_place_of_an_error_counts_the_thoughts() -> None:
    text = "<think>嗯</think><tool_call>{x"
    assert told(parse("hermes", text)).startswith(f"call 1, character {text.index('x') + 1}:")
