"""Chat completions as the real client of OpenAI sees them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from served import ScriptedLive, site

from matinee.engines.base import Request
from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.parsing import write_calls

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "查询城市今天的天气",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "城市"}},
            "required": ["city"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}
CITIES = ["北京", "上海", "广州"]


def call(city: str) -> ToolCall:
    return ToolCall("get_weather", canonical_json({"city": city}))


def assistant(request: Request) -> str:
    """Asks the tool for every city of the question; then says what the tool said."""
    results = [message["content"] for message in request.messages if message["role"] == "tool"]
    if results:
        return "；".join(results)
    question = request.messages[-1]["content"]
    asked = [call(city) for city in CITIES if city in question]
    return write_calls("hermes", asked, "我来查一下。") if request.tools and asked else "你好！"


def test_three_cities_at_once_the_classic_round_trip() -> None:
    with site(ScriptedLive(assistant)) as here:
        messages: list[Any] = [{"role": "user", "content": "北京、上海和广州今天天气怎么样？"}]
        first = here.ask(messages=messages, tools=[WEATHER]).choices[0]
        assert first.finish_reason == "tool_calls"
        assert first.message.content == "我来查一下。"
        calls = first.message.tool_calls
        assert [json.loads(made.function.arguments)["city"] for made in calls] == CITIES
        assert len({made.id for made in calls}) == 3
        messages.append(first.message)
        for number, made in enumerate(calls):
            city = json.loads(made.function.arguments)["city"]
            text = f"{city}{20 + number}度"
            messages.append({"role": "tool", "tool_call_id": made.id, "content": text})
        last = here.ask(messages=messages, tools=[WEATHER]).choices[0]
    assert last.finish_reason == "stop"
    assert last.message.content == "北京20度；上海21度；广州22度"
    assert last.message.tool_calls is None


def test_results_may_come_in_any_order() -> None:
    engine = ScriptedLive(assistant)
    with site(engine) as here:
        question = {"role": "user", "content": "北京和上海？"}
        made = here.ask(messages=[question], tools=[WEATHER]).choices[0].message
        answers = [
            {"role": "tool", "tool_call_id": one.id, "content": one.function.arguments}
            for one in reversed(made.tool_calls)
        ]
        here.ask(messages=[question, made, *answers], tools=[WEATHER])
    said = [m["content"] for m in engine.requests[-1].messages if m["role"] == "tool"]
    assert said == ['{"city": "北京"}', '{"city": "上海"}']


def test_usage_counts_tokens() -> None:
    with site(ScriptedLive(lambda request: "好的")) as here:
        usage = here.ask().usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 2, 9)
    assert usage.prompt_tokens_details.cached_tokens == 2


def test_the_model_is_listed_under_its_name() -> None:
    with site(ScriptedLive(assistant)) as here:
        assert [model.id for model in here.client.models.list()] == ["tiny"]
        assert here.client.models.retrieve("tiny").owned_by == "matinee"


# Texts that a model may write; what is streamed must add up to what is returned at once.
WRITTEN = {
    "plain": "你好，\n今天天气不错。",
    "space around": "\n 好的。\n",
    "calls": write_calls("hermes", [call("北京"), call("上海")]),
    "words and calls": write_calls("hermes", [call("北京")], "先看<北京>。"),
    "words behind": write_calls("hermes", [call("北京")]) + "\n稍等。",
    "almost a call": "写法是 <tool_cal 或者 <tool>。",
    "broken": '好。<tool_call>\n{"name": "get_weather", "arguments": {"city": }}\n</tool_call>',
    "broken after a good one": write_calls("hermes", [call("北京")]) + "\n<tool_call>\n{oops",
    "stray end": "好。</tool_call> 完",
    "ends as a call begins": "好。<tool_call>",
    "nothing": "",
}


def gathered(chunks: list[Any]) -> tuple[str, list[tuple[str, str]], str]:
    """Content, calls and the reason for the end, out of a stream."""
    content, calls, finish = "", {}, ""
    for chunk in chunks:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            for made in choice.delta.tool_calls or []:
                name, arguments = calls.get(made.index, ("", ""))
                calls[made.index] = (
                    name + (made.function.name or ""),
                    arguments + (made.function.arguments or ""),
                )
            finish = choice.finish_reason or finish
    return content, [calls[index] for index in sorted(calls)], finish


@pytest.mark.parametrize("piece", [1, 4, 1000])
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_stream_adds_up_to_the_answer(written: str, piece: int) -> None:
    with site(ScriptedLive(lambda request: written, piece)) as here:
        whole = here.ask(tools=[WEATHER]).choices[0]
        streamed = gathered(list(here.ask(tools=[WEATHER], stream=True)))
    calls = [(m.function.name, m.function.arguments) for m in whole.message.tool_calls or []]
    assert streamed == (whole.message.content or "", calls, whole.finish_reason)


def test_calls_that_can_be_read_are_calls_and_the_rest_stays_text() -> None:
    with site(ScriptedLive(lambda request: WRITTEN["broken after a good one"])) as here:
        message = here.ask(tools=[WEATHER]).choices[0].message
    assert [made.function.name for made in message.tool_calls] == ["get_weather"]
    assert message.content == "<tool_call>\n{oops"


@pytest.mark.parametrize("piece", [1, 1000])
def test_the_action_form_is_read_and_streamed_too(piece: int) -> None:
    written = write_calls("action", [call("北京"), call("上海")], "先查。\nAll right")
    with site(ScriptedLive(lambda request: written, piece), form="action") as here:
        whole = here.ask(tools=[WEATHER]).choices[0]
        streamed = gathered(list(here.ask(tools=[WEATHER], stream=True)))
    assert whole.message.content == "先查。\nAll right"
    assert [m.function.arguments for m in whole.message.tool_calls] == [
        '{"city": "北京"}',
        '{"city": "上海"}',
    ]
    assert streamed[0] == whole.message.content
    assert [arguments for _, arguments in streamed[1]] == ['{"city": "北京"}', '{"city": "上海"}']


def test_words_are_streamed_as_they_come() -> None:
    engine = ScriptedLive(lambda request: "很久很久以前，有一座山。", piece=4)
    engine.hold.clear()
    with site(engine) as here:
        stream = iter(here.ask(stream=True))
        said = ""
        while not said:
            said += next(stream).choices[0].delta.content or ""
        assert said == "很久很久"  # the engine has not gone on
        engine.hold.set()
        assert said + gathered(list(stream))[0] == "很久很久以前，有一座山。"


def test_a_stream_ends_with_the_usage_where_it_is_asked_for() -> None:
    with site(ScriptedLive(lambda request: "好的")) as here:
        plain = list(here.ask(stream=True))
        chunks = list(here.ask(stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None for chunk in plain)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 9
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_no_choice_hides_the_tools_and_reads_no_calls() -> None:
    written = write_calls("hermes", [call("北京")])
    engine = ScriptedLive(lambda request: written)
    with site(engine) as here:
        message = here.ask(tools=[WEATHER], tool_choice="none").choices[0].message
    assert engine.requests[0].tools == ()
    assert message.tool_calls is None
    assert message.content == written


def test_a_demanded_call_is_demanded_of_the_engine() -> None:
    engine = ScriptedLive(lambda request: write_calls("hermes", [call("北京")]))
    named = {"type": "function", "function": {"name": "get_weather"}}
    with site(engine) as here:
        here.ask(tools=[WEATHER, TIME], tool_choice="required")
        here.ask(tools=[WEATHER, TIME], tool_choice=named)
        here.ask(tools=[WEATHER, TIME], tool_choice="auto")
    demanded = [request.must_call for request in engine.requests]
    assert demanded == [("get_weather", "get_time"), ("get_weather",), ()]


@pytest.mark.parametrize("stream", [False, True])
def test_a_demanded_call_is_returned_even_where_its_arguments_are_broken(stream: bool) -> None:
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": 北京'
    with site(ScriptedLive(lambda request: written)) as here:
        answer = here.ask(tools=[WEATHER], tool_choice="required", stream=stream)
        if stream:
            content, calls, finish = gathered(list(answer))
        else:
            message, finish = answer.choices[0].message, answer.choices[0].finish_reason
            calls = [(made.function.name, made.function.arguments) for made in message.tool_calls]
            content = message.content or ""
    assert (content, calls, finish) == ("", [("get_weather", '{"city": 北京')], "tool_calls")


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"a": 1}\n</tool_call>', '{"a": 1}'),
        ('{"a": {"b": {}}}', '{"a": {"b": {}}}'),
        ("{}\n</tool_call>", "{}"),
        ('{"a": "</tool_call>}"}\n</tool_call>', '{"a": "</tool_call>}"}'),
        ('{"a": 1}, "more": 2}\n</tool_call>', '{"a": 1}'),
        ('{"a": 北京}}\n</tool_call>', '{"a": 北京}'),
        ('{"a": 北京}\n</tool_call>', '{"a": 北京}'),
        ("", ""),
    ],
)
def test_the_arguments_of_a_demanded_call_keep_their_braces(written: str, arguments: str) -> None:
    text = f'<tool_call>\n{{"name": "get_weather", "arguments": {written}'
    with site(ScriptedLive(lambda request: text)) as here:
        message = here.ask(tools=[WEATHER], tool_choice="required").choices[0].message
    assert [made.function.arguments for made in message.tool_calls] == [arguments]


@pytest.mark.parametrize("stream", [False, True])
def test_one_call_at_a_time_where_parallel_ones_are_not_wanted(stream: bool) -> None:
    with site(ScriptedLive(assistant)) as here:
        answer = here.ask("北京和上海", tools=[WEATHER], parallel_tool_calls=False, stream=stream)
        calls = gathered(list(answer))[1] if stream else answer.choices[0].message.tool_calls
    assert len(calls) == 1


def test_settings_reach_the_engine() -> None:
    engine = ScriptedLive(assistant)
    with site(engine) as here:
        here.ask(temperature=0.7, top_p=0.9, seed=5, max_tokens=12, stop=["。", "!"])
        here.ask(max_completion_tokens=13, stop="x")
    first, second = engine.requests
    assert (first.sampling.temperature, first.sampling.top_p, first.sampling.seed) == (0.7, 0.9, 5)
    assert (first.max_new_tokens, first.stop) == (12, ("。", "!"))
    assert (second.sampling.temperature, second.max_new_tokens, second.stop) == (0.0, 13, ("x",))


def test_text_in_parts_and_developer_messages_are_understood() -> None:
    engine = ScriptedLive(assistant)
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    with site(engine) as here:
        here.ask(
            messages=[
                {"role": "system", "content": "一"},
                {"role": "developer", "content": "二"},
                {"role": "user", "content": parts},
            ]
        )
    assert engine.requests[0].messages == (
        {"role": "system", "content": "一\n\n二"},
        {"role": "user", "content": "你好"},
    )


def test_an_answer_that_was_cut_off_says_so() -> None:
    with site(ScriptedLive(lambda request: "长" * 50)) as here:
        assert here.ask(max_tokens=5).choices[0].finish_reason == "length"


def test_the_engine_is_closed_with_the_server() -> None:
    engine = ScriptedLive(assistant)
    with site(engine):
        assert not engine.closed
    assert engine.closed


def test_identifiers_look_like_openais() -> None:
    with site(ScriptedLive(assistant)) as here:
        answer = here.ask("北京", tools=[WEATHER])
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", answer.id)
    assert re.fullmatch(r"call_[0-9a-f]{24}", answer.choices[0].message.tool_calls[0].id)
