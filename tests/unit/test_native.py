"""A model's own template: byte for byte its rendering, and what of it is trained is what is served.

Templates of families whose licence does not allow a copy here are stood for by short ones of our
own that write calls the same way.
"""

from __future__ import annotations

import datetime
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.data.sources.tiny import make_tokenizer
from matinee.messages.conversations import Conversation, Message, Tool, ToolCall, canonical_json
from matinee.messages.parsing import parse
from matinee.messages.rendering import Renderer, portable
from matinee.runtime.errors import DataError

PUBLISHED = {path.stem: path for path in (Path(__file__).parent / "chat_templates").glob("*.jinja")}
TOKEN = re.compile(
    r"<\|[a-z_]+\|>|<[｜|][^<>\s{}]*[｜|]>|</?s>|\[/?[A-Z_]{3,}\]|</?t(?:ool_call|hink)>"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' }}"
    "{% if m.tool_calls %}CALLS{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
EACH = "{% for c in m.tool_calls %}{% set f = c.function %}ONE{% if not loop.last %}NEXT{% endif %}"
EACH += "{% endfor %}"
PYTHON = "{{ f.name }}({% for k, v in f.arguments.items() %}{{ k }}={{ v | tojson }}"
PYTHON += "{% if not loop.last %}, {% endif %}{% endfor %})"
JSON = """{"name": {{ f.name | tojson }}, "KEY": {{ f.arguments | tojson }}}"""


def spelled(before: str, one: str, between: str, after: str) -> str:
    calls = before + EACH.replace("ONE", one).replace("NEXT", between) + after
    return "{% if tools %}{{ tools | tojson }}\n{% endif %}" + TURNS.replace("CALLS", calls)


OURS = {
    "llama_json": spelled("", JSON.replace("KEY", "parameters"), "; ", ""),
    "python": spelled("[", PYTHON, ", ", "]"),
    "lfm_python": spelled("<|tool_call_start|>[", PYTHON, ", ", "]<|tool_call_end|>"),
    "minicpm_python": spelled(
        "<|tool_call_start|>\n```python\n", PYTHON, "\n", "\n```\n<|tool_call_end|>"
    ),
    "mistral_args": spelled("", "[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}", "", ""),
    "deepseek_v31": spelled(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>{{ f.name }}<｜tool▁sep｜>"
        "{{ f.arguments | tojson }}<｜tool▁call▁end｜>",
        "",
        "<｜tool▁calls▁end｜>",
    ),
    "glm_lines": spelled("", "{{ f.name }}\n{{ f.arguments | tojson }}", "\n", ""),
    "hermes": spelled(
        "", "<tool_call>" + JSON.replace("KEY", "arguments") + "</tool_call>", "", ""
    ),
}
FORMS = {
    "qwen2_5": "hermes",
    "qwen3": "hermes",
    "qwen3_5_think": "qwen_xml",
    "glm4moe": "glm_xml",
    "deepseek_v3": "deepseek_v3",
    "mistral3": "mistral_list",
    "granite3": "granite_list",
    **{name: name for name in OURS},
}
each = pytest.mark.parametrize("name", sorted(FORMS))


def with_template(template: str) -> Any:
    made = make_tokenizer()
    marks = sorted({mark for mark in TOKEN.findall(template) if mark not in made.get_vocab()})
    plain = [mark for mark in marks if re.fullmatch(r"</?(tool_call|think)>", mark)]
    made.add_tokens(plain)
    made.add_special_tokens({"extra_special_tokens": [m for m in marks if m not in plain]})
    made.chat_template = template
    return made


@cache
def renderer(name: str) -> Renderer:
    text = OURS[name] if name in OURS else PUBLISHED[name].read_text(encoding="utf-8")
    return Renderer(with_template(text), "native")


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "City"},
        "days": {"type": "integer", "description": "Days"},
        "places": {"type": "array", "items": {"type": "string"}, "description": "Places"},
    },
    "required": ["city"],
}
EMPTY = {"type": "object", "properties": {}, "required": []}
TOOLS = (
    Tool("get_weather", "Weather", canonical_json(SCHEMA)),
    Tool("now", "Time", canonical_json(EMPTY)),
)
WORDS = st.sampled_from(["晴。", "It rains.\n\nTake care.", "1 < 2", '"x" {y}'])
ARGUMENTS = st.fixed_dictionaries(
    {"city": st.sampled_from(["上海", "007", 'a "b"', "x\ny", "it's", "true"])},
    optional={"days": st.integers(-9, 9), "places": st.lists(WORDS, max_size=2)},
)
CALL = st.just(ToolCall("now", "{}")) | st.builds(
    lambda arguments: ToolCall("get_weather", canonical_json(arguments)), ARGUMENTS
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    messages = [Message("system", "今天是2024年1月25日。")] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(WORDS)))
        if draw(st.booleans()):
            calls = tuple(draw(st.lists(CALL, min_size=1, max_size=3)))
            messages.append(Message("assistant", "", calls))
            messages += [Message("tool", draw(WORDS), name=call.name) for call in calls]
        messages.append(Message("assistant", draw(WORDS)))
    return Conversation("c", tuple(messages), TOOLS)


def spans(ids: list[int], mask: list[int]) -> list[tuple[int, list[int]]]:
    """Where each run of supervised tokens begins, and its tokens."""
    starts = [n for n, one in enumerate(mask) if one and not (n and mask[n - 1])]
    return [
        (start, ids[start : next((n for n in range(start, len(mask)) if not mask[n]), len(mask))])
        for start in starts
    ]


@each
def test_the_form_of_calls_is_found_from_what_the_template_writes(name: str) -> None:
    assert renderer(name).form == FORMS[name]


@each
@settings(max_examples=15)
@given(conversation=conversations())
def test_every_answer_is_trained_once_behind_the_prompt_that_is_served(
    name: str, conversation: Conversation
) -> None:
    made = renderer(name)
    said = [message.as_openai() for message in conversation.messages]
    tools = [tool.as_openai() for tool in conversation.tools]
    prompts = {
        tuple(made.prompt(said[:n], tools)): message
        for n, message in enumerate(conversation.messages)
        if message.role == "assistant"
    }
    trained: list[Message] = []
    for row in made.rows([conversation])[0]:
        for start, span in spans(row.ids, row.mask):
            message = prompts[tuple(row.ids[:start])]
            trained.append(message)
            assert span[-1] in made.stop_ids
            assert not made.stop_ids & set(span[:-1])
            read = parse(made.form, made.tokenizer.decode(span[:-1]), tools=conversation.tools)
            assert read.error is None
            assert read.content == message.content.strip()
            assert [(call.name, json.loads(call.arguments)) for call in read.calls] == [
                (call.name, call.values) for call in message.tool_calls
            ]
    assert sorted(map(id, trained)) == sorted(map(id, prompts.values()))


@each
@settings(max_examples=10)
@given(conversation=conversations())
def test_the_text_is_that_of_transformers_and_of_plain_jinja(
    name: str, conversation: Conversation
) -> None:
    made = renderer(name)
    assert made.native is not None
    said = made.native._spelled([message.as_openai() for message in conversation.messages])
    tools = [tool.as_openai() for tool in conversation.tools]

    def rendered(tokenizer: Any) -> str:
        text: str = tokenizer.apply_chat_template(
            said, tools=tools, tokenize=False, enable_thinking=False, thinking=False
        )
        return text.replace(f"{datetime.date.today():%Y-%m-%d}", "2024-07-26")

    whole = rendered(made.tokenizer)
    assert made.text(conversation) == whole
    ids = made.tokenizer(whole, add_special_tokens=False)["input_ids"]
    last = made.rows([conversation])[0][-1].ids
    # Families that end a turn with the token that begins the next one get it behind the last.
    assert ids[: len(last)] == last[: len(ids)]
    assert abs(len(ids) - len(last)) <= 1
    assert rendered(copy_with(made.tokenizer, portable(made.native.text))) == whole


def copy_with(tokenizer: Any, template: str) -> Any:
    import copy

    copied = copy.deepcopy(tokenizer)
    copied.chat_template = template
    return copied


def thoughtful() -> Conversation:
    call = ToolCall("get_weather", '{"city": "上海"}')
    messages = (
        Message("user", "早"),
        Message("assistant", "早。", reasoning="打个招呼。"),
        Message("user", "上海天气？"),
        Message("assistant", "", (call,), reasoning="要查天气。"),
        Message("tool", "晴", name="get_weather"),
        Message("assistant", "晴。", reasoning="查到了。"),
    )
    return Conversation("c", messages, TOOLS)


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "glm4moe"])
def test_thoughts_are_written_as_the_family_writes_them_and_trained(name: str) -> None:
    made = Renderer(renderer(name).tokenizer, "native", thinking=True)
    rows = made.rows([thoughtful()])[0]
    texts = [made.tokenizer.decode(span) for row in rows for _, span in spans(row.ids, row.mask)]
    assert [
        thought for text in texts for thought in re.findall("打个招呼|要查天气|查到了", text)
    ] == [
        "打个招呼",
        "要查天气",
        "查到了",
    ]
    # The family drops the thoughts of an earlier question, so that answer needs a row of its own.
    assert len(rows) == 2
    assert "打个招呼" not in made.tokenizer.decode(rows[1].ids)


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "glm4moe"])
def test_thoughts_that_are_not_to_be_learned_are_read(name: str) -> None:
    made = Renderer(renderer(name).tokenizer, "native", thinking=True, learn_thoughts=False)
    rows = made.rows([thoughtful()])[0]
    assert any("要查天气" in made.tokenizer.decode(row.ids) for row in rows)
    texts = [made.tokenizer.decode(span) for row in rows for _, span in spans(row.ids, row.mask)]
    assert [text.strip()[:2] for text in texts if "get_weather" not in text] == ["早。", "晴。"]
    assert not re.search("think|打个招呼|要查天气|查到了", "".join(texts))
    assert sum("get_weather" in text for text in texts) == 1


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "glm4moe"])
def test_an_empty_block_of_thoughts_is_never_trained(name: str) -> None:
    made = renderer(name)
    plain = Conversation("c", (Message("user", "早"), Message("assistant", "早。")), TOOLS)
    for row in made.rows([plain])[0]:
        for _, span in spans(row.ids, row.mask):
            assert "think" not in made.tokenizer.decode(span)


@each
def test_a_demanded_call_begins_as_the_template_writes_it(name: str) -> None:
    made = renderer(name)
    opening = made.tokenizer.decode(made.call_opening("now"))
    asked, answer = Message("user", "?"), Message("assistant", "", (ToolCall("now"),))
    text = made.text(Conversation("c", (asked, answer)))
    assert opening.strip()
    assert opening in text
    assert "now" in opening
    assert parse(made.form, opening).calls == ()
    if name == "glm_lines":  # "now" alone could go on as words
        assert opening.endswith("\n")


def test_thinking_is_turned_on_and_off_by_the_templates_own_switch() -> None:
    tokenizer = renderer("qwen3").tokenizer
    ask = [{"role": "user", "content": "?"}]
    off, on = (Renderer(tokenizer, "native", thinking=way).prompt(ask) for way in (False, True))
    assert off[: len(on)] == on
    assert "<think>\n\n</think>" in tokenizer.decode(off[len(on) :])
    assert renderer("qwen3").thought_tokens is not None
    assert renderer("qwen2_5").thought_tokens is None
    native = renderer("qwen2_5").native
    assert native is not None
    assert not native.switches_thinking


def test_a_day_in_the_template_is_always_the_same() -> None:
    dated = OURS["python"].replace("{{ bos_token }}", "{{ strftime_now('%d %b %Y') }}")
    made = Renderer(with_template(dated), "native")
    talk = Conversation("c", (Message("user", "?"), Message("assistant", "x")), TOOLS)
    assert "26 Jul 2024" in made.text(talk)


UNUSABLE = {
    "none": ("", "brings no chat template"),
    "no tools": (TURNS.replace("CALLS", "{{ m.content }}"), "does not show tools"),
    "unknown calls": (spelled("", "CALL {{ f.name }}!", "", ""), "in no known form"),
    "values without quotes": (
        spelled("[", PYTHON.replace("v | tojson", "v"), ", ", "]"),
        "in no known form",
    ),
}


@pytest.mark.parametrize(("template", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_that_cannot_be_used_is_refused_with_one_that_can(
    template: str, reason: str
) -> None:
    tokenizer = with_template(template or "x")
    tokenizer.chat_template = template or None
    with pytest.raises(DataError, match=f"(?s){reason}.*chatml_action, chatml_hermes"):
        Renderer(tokenizer, "native")


def test_a_row_that_the_template_cannot_say_is_named() -> None:
    only_text = PYTHON.replace("{{ v | tojson }}", '"{{ v }}"')
    made = Renderer(with_template(spelled("[", only_text, ", ", "]")), "native")
    call = ToolCall("get_weather", '{"city": "a", "days": 3}')
    row = Conversation("row-7", (Message("user", "?"), Message("assistant", "", (call,))), TOOLS)
    with pytest.raises(DataError, match=r"'row-7', message 2: .*cannot be read back"):
        made.rows([row])


def test_rows_keep_their_thoughts_on_disk() -> None:
    row = json.loads(canonical_json(thoughtful().to_row()))
    assert Conversation.from_row(row) == thoughtful()


@each
def test_an_answer_that_must_call_begins_with_the_call(name: str) -> None:
    made = renderer(name)
    opening = made.tokenizer.decode(made.call_opening("now"))
    assert opening.rstrip().removesuffix(":").removesuffix("(").rstrip('" ')
    assert "now" in opening


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DEEP = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"


@pytest.mark.parametrize("hostile", [ENDLESS, DEEP, "{{ 1 / 0 }}", "{{ ().__class__.__mro__ }}"])
def test_a_template_that_does_not_end_or_looks_around_is_refused(
    hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matinee.messages.native.LONGEST_SECONDS", 0.2)
    with pytest.raises(DataError, match="cannot be used"):
        Renderer(with_template(hostile), "native")
