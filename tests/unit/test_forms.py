"""Every form of calls: what it writes it reads, and its grammar allows exactly what fits."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tokenizer

from matinee.engines.constraining import Constrainer
from matinee.messages.conversations import Tool, ToolCall, canonical_json
from matinee.messages.forms import forms
from matinee.messages.forms.blocks import Blocks
from matinee.messages.parsing import parse, write_calls
from matinee.messages.rendering import Renderer

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "code": {"type": "string"},
        "unit": {"enum": ["℃", "℉"]},
        "days": {"type": "integer"},
        "exact": {"type": "boolean"},
        "share": {"type": ["number", "null"]},
        "stops": {"type": "array", "items": {"type": "string"}},
        "filter": {"type": "object"},
    },
    "required": ["city"],
}
TOOLS = (
    Tool("get_weather", "Weather", canonical_json(SCHEMA)),
    Tool("now", "Time", canonical_json({"type": "object", "properties": {}})),
)
ALL = sorted(forms())
# Words may stand before calls in these.
TALKING = [name for name in ALL if not getattr(forms()[name], "bare", "")]
each = pytest.mark.parametrize("name", ALL)

# No whole mark of a form: where values have neither quotes nor escapes, it ends them.
PIECES = [*"ab \"'\\\n\t{}[](),:=;%气候，é🎬\u3000", "007", "true", "null", "</"]
PLAIN = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
WORD = st.from_regex(r"[a-z_]{1,6}", fullmatch=True)
NUMBER = st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6)
INNER = st.none() | st.booleans() | NUMBER | PLAIN
ARGUMENTS = st.fixed_dictionaries(
    {"city": PLAIN.filter(lambda text: text.strip("\n") == text)},
    optional={
        "code": st.sampled_from(["007", "1.0", "true", "null", "{}", "[1]", " x "]),
        "unit": st.sampled_from(["℃", "℉"]),
        "days": st.integers(-5, 5),
        "exact": st.booleans(),
        "share": st.none() | st.floats(-5, 5),
        "stops": st.lists(PLAIN, max_size=2),
        "filter": st.dictionaries(WORD, INNER | st.lists(INNER, max_size=2), max_size=2),
    },
)
CALLS = st.lists(
    st.builds(lambda a: ToolCall("get_weather", canonical_json(a)), ARGUMENTS)
    | st.just(ToolCall("now", "{}")),
    min_size=1,
    max_size=3,
)


def values(calls: Any) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in calls]


@each
@settings(max_examples=25)
@given(calls=CALLS, content=st.sampled_from(["", "好的。"]))
def test_what_is_written_is_read_back(name: str, calls: list[ToolCall], content: str) -> None:
    text = write_calls(name, calls, content)
    read = parse(name, text, tools=TOOLS)
    assert read.error is None, text
    assert values(read.calls) == values(calls)
    assert read.content == (content if name in TALKING else "")


@each
@pytest.mark.parametrize("text", ["", "今天晴。", "1 < 2", "```\nx = 1\n```", "[1]", '{"a": 1}'])
def test_words_are_no_call_in_any_form(name: str, text: str) -> None:
    read = parse(name, text, tools=TOOLS)
    assert (read.calls, read.error, read.content) == ((), None, text)


@each
def test_a_call_that_is_cut_off_is_an_error_and_never_half_a_call(name: str) -> None:
    whole = write_calls(name, [ToolCall("get_weather", '{"city": "上海", "days": 3}')])
    start = forms()[name].start.search(whole)
    assert start is not None
    for end in range(start.end(), len(whole)):
        read = parse(name, whole[:end], tools=TOOLS)
        assert read.error is not None or values(read.calls) == [
            ("get_weather", {"city": "上海", "days": 3})
        ], whole[:end]


@cache
def constrainer(name: str, special: bool) -> tuple[Constrainer, Renderer]:
    """`special`: the tokenizer has the form's marks as special tokens, as the families' own do."""
    known = copy.deepcopy(tokenizer())
    if special:
        marks = [mark for mark in forms()[name].marks if not mark[0].isalpha()]
        known.add_special_tokens({"extra_special_tokens": marks})
    renderer = Renderer(known, "chatml_hermes")
    return Constrainer(renderer, name, len(known)), renderer


def takes(name: str, text: str, *, special: bool = False) -> bool:
    made, renderer = constrainer(name, special)
    constraint = made.answer([tool.as_openai() for tool in TOOLS])
    for token in [*renderer.tokenizer.encode(text, add_special_tokens=False), renderer.end_id]:
        if not constraint.allows(token):
            return False
        constraint.accept(token)
    return True


FITTING = (
    ToolCall("get_weather", '{"city": "上海 \'x\' 007", "days": 3, "share": 1.5}'),
    ToolCall("get_weather", '{"city": "A", "unit": "℃"}'),
    ToolCall("get_weather", '{"city": "A"}'),
    ToolCall("now", "{}"),
)
WRONG = {
    "another tool": ToolCall("later", "{}"),
    "a required argument is missing": ToolCall("get_weather", '{"days": 1}'),
    "an argument that the tool lacks": ToolCall("now", '{"zone": "x"}'),
    "another type": ToolCall("get_weather", '{"city": "A", "days": "x"}'),
    "a value outside the list": ToolCall("get_weather", '{"city": "A", "unit": "K"}'),
}


kinds = pytest.mark.parametrize("special", [False, True], ids=["text", "special tokens"])


@each
@kinds
def test_the_grammar_allows_what_is_written(name: str, special: bool) -> None:
    for call in FITTING:
        text = write_calls(name, [call])
        assert takes(name, text, special=special), text
    assert takes(name, write_calls(name, FITTING), special=special)
    assert takes(name, "请问您想查哪个城市？", special=special)
    if name in TALKING:
        assert takes(name, write_calls(name, FITTING[:1], "好的，我来查。"), special=special)


@each
@kinds
def test_the_grammar_forbids_what_does_not_fit(name: str, special: bool) -> None:
    for why, call in WRONG.items():
        assert not takes(name, write_calls(name, [call]), special=special), why


@each
def test_a_mark_that_opens_calls_is_found_where_calls_begin(name: str) -> None:
    form = forms()[name]
    text = write_calls(name, FITTING[:1])
    found = form.start.search(text)
    assert found is not None
    assert not text[: found.start()].strip()
    assert text.startswith(form.opening("get_weather").strip())
    assert isinstance(form, Blocks) or form.templates
