"""Constrained decoding: whatever a model would like to write, its calls can be read."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest
from playing import tools as published
from tiny import FAMILIES, tokenizer

from matinee.engines.base import Completion, Request
from matinee.engines.constraining import Constrainer, Constraint
from matinee.engines.transformers import TransformersEngine
from matinee.evaluation.scoring.schemas import ToolSchemas
from matinee.messages.conversations import Tool, ToolCall
from matinee.messages.forms import forms
from matinee.messages.parsing import CallForm, parse, write_calls
from matinee.messages.rendering import Renderer
from matinee.runtime.errors import EngineError
from matinee.runtime.places import RESOURCES

TEMPLATES: dict[CallForm, str] = {"hermes": "chatml_hermes", "action": "plain_action"}
FORMS = list(TEMPLATES)


@cache
def tools() -> tuple[dict[str, Any], ...]:
    """The eleven tools, with the values that the annotated list allows."""
    listed = json.loads((RESOURCES / "tools_annotated.json").read_text(encoding="utf-8"))
    return tuple(tool.get("function", tool) for tool in listed)


def with_tags(special: bool) -> Any:
    """The tiny tokenizer with the tags of calls as tokens of their own."""
    from matinee.data.sources.tiny import make_tokenizer

    made = make_tokenizer()
    made.add_tokens(["<tool_call>", "</tool_call>"], special_tokens=special)
    return made


TOKENIZERS = {
    "tags are text": tokenizer,
    "tags are tokens": lambda: with_tags(False),
    "tags are special": lambda: with_tags(True),
}


@cache
def constrainer(form: CallForm, kind: str = "tags are text") -> tuple[Constrainer, Renderer]:
    renderer = Renderer(TOKENIZERS[kind](), TEMPLATES[form])
    return Constrainer(renderer, form, len(renderer.tokenizer)), renderer


def takes(form: CallForm, text: str, kind: str = "tags are text") -> bool:
    """Whether the grammar lets a model write exactly this text and then end."""
    made, renderer = constrainer(form, kind)
    constraint = made.answer(tools())
    ids = renderer.tokenizer.encode(text, add_special_tokens=False)
    for token in [*ids, renderer.end_id]:
        if not constraint.allows(token):
            return False
        constraint.accept(token)
    return True


CALLS = (
    ToolCall("get_province_list", "{}"),
    ToolCall("loan_calc_query", '{"money": 70, "year": 20}'),
    ToolCall("get_toutiao_news", '{"type": "tiyu", "page_size": "10"}'),
    ToolCall("airport_query", '{"airport": "São Paulo “圣保罗” \\"GRU\\""}'),
)


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ('{"price": 3.5}', True),
        ('{"price": 1e999}', False),
        ('{"price": null}', True),
        ('{"about": {"a": [1, {"b": true}]}}', True),
        ('{"about": {"a": 1e999}}', False),
        ('{"about": {"a": ' + "[" * 40 + "]" * 40 + "}}", False),
        ('{"about": {"a": 1, "b": {"a": 2}, "c": ["a", "a"]}}', True),
        ('{"about": {"a": 1, "b": 2, "a": 3}}', False),
        ('{"list": ["x", -2]}', True),
        ('{"list": ' + "[" * 40 + "]" * 40 + "}", False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_parser_refuses_the_grammar_refuses(arguments: str, taken: bool) -> None:
    kinds = {"price": {"type": ["number", "null"]}, "about": {"type": "object"}, "list": {}}
    schema = {"type": "object", "properties": kinds}
    tool = Tool("sell", "", json.dumps(schema)).as_openai()
    made, renderer = constrainer("hermes")
    text = write_calls("hermes", [ToolCall("sell", arguments)])
    assert (parse("hermes", text).error is None) == taken
    constraint = made.answer([tool])
    ids = renderer.tokenizer.encode(text, add_special_tokens=False)
    allowed = True
    for token in [*ids, renderer.end_id]:
        allowed = allowed and constraint.allows(token)
        if allowed:
            constraint.accept(token)
    assert allowed == taken


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", ["", "好的，我来查。", "Action 和 <tool 都只是词。"])
def test_what_templates_write_is_allowed(form: CallForm, kind: str, content: str) -> None:
    assert takes(form, write_calls(form, CALLS, content), kind)
    assert takes(form, write_calls(form, CALLS[:1], content), kind)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["", "请问您想查哪个城市？", "1 < 2\n> 引\n说：Action: 句中"])
def test_a_model_is_free_to_answer_in_words(form: CallForm, text: str) -> None:
    assert takes(form, text)
    assert parse(form, text).error is None


WRONG = {
    "another tool": ToolCall("get_weather", "{}"),
    "a required argument is missing": ToolCall("icp_query", "{}"),
    "an argument that the tool lacks": ToolCall("get_province_list", '{"page": 1}'),
    "another type": ToolCall("loan_calc_query", '{"money": "70", "year": 20}'),
    "a value outside the list": ToolCall("loan_calc_query", '{"money": 70, "year": 12}'),
    "broken JSON": ToolCall("icp_query", '{"domainName": "juhe.cn"'),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_call_against_the_schema_cannot_be_written(form: CallForm, call: ToolCall) -> None:
    assert not takes(form, write_calls(form, [call]))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", "好。</tool_call>"),
        ("hermes", "<tool_call>好的</tool_call>"),
        ("hermes", "<tool_call>"),
        ("action", "Action Input: {}"),
        ("action", "好的\nAction: get_province_list"),
        ("action", "Action: get_province_list\nAction Input: {}\n好了"),
    ],
)
def test_what_the_parser_could_not_read_cannot_be_written(form: CallForm, text: str) -> None:
    assert parse(form, text).error is not None
    assert not takes(form, text)


def test_without_tools_any_text_may_be_written() -> None:
    made, renderer = constrainer("hermes")
    constraint = made.answer(())
    for token in renderer.tokenizer.encode("好 <tool_call>", add_special_tokens=False):
        assert constraint.allows(token)
        constraint.accept(token)
    assert constraint.allows(renderer.end_id)


def babble(constraint: Constraint, renderer: Renderer, chance: random.Random) -> str:
    """What a model without any sense writes: allowed tokens at random, tags when it can.

    Strings and numbers are ended early, or they would never end.
    """
    import torch

    vocabulary = len(renderer.tokenizer)
    pull = {"<", "{", '"', "}", "Action", ">", ",", "\n"}
    favoured = torch.tensor(
        [renderer.tokenizer.decode([token]).strip(" ") in pull for token in range(vocabulary)]
    )
    written: list[int] = []
    while len(written) < 400:
        logits = torch.tensor([chance.random() for _ in range(vocabulary)])
        if chance.random() < 0.6:
            logits = logits + 10 * favoured
        if len(written) > 150:
            logits[renderer.end_id] += 100
        token = int(constraint.masked(logits).argmax())
        constraint.accept(token)
        if token == renderer.end_id:
            break
        written.append(token)
    else:
        return ""
    return str(renderer.tokenizer.decode(written))


@pytest.mark.parametrize("form", FORMS)
def test_a_model_without_any_sense_breaks_no_format(form: CallForm) -> None:
    made, renderer = constrainer(form)
    schemas = ToolSchemas(tools())
    chance = random.Random(5)
    opening = {"hermes": "<tool_call>", "action": "Action:"}[form]
    head = renderer.tokenizer.encode(opening, add_special_tokens=False)
    calls = 0
    for begun in [False] * 3 + [True] * 9:
        constraint = made.answer(tools())
        for token in head if begun else []:
            constraint.accept(token)
        text = (opening if begun else "") + babble(constraint, renderer, chance)
        if text == opening:
            continue  # it never ended; the engine would have cut it off
        parsed = parse(form, text)
        assert parsed.error is None, text
        for call in parsed.calls:
            calls += 1
            assert schemas.problem(call.name, json.loads(call.arguments)) is None, text
    assert calls >= 6


def served(constrained: CallForm | None, questions: list[str]) -> dict[str, str]:
    """Two tokens of a tiny random model on each question."""
    made = tokenizer()
    model = FAMILIES["llama"](seed=9, vocabulary=len(made))
    renderer = Renderer(made, "chatml_hermes")
    limit = Constrainer(renderer, constrained, len(made)) if constrained else None
    engine = TransformersEngine(model, renderer, 4, constrainer=limit)
    texts: dict[str, str] = {}

    def reply(asked: Request, completion: Completion) -> None:
        texts[asked.key] = completion.text

    engine.serve(
        [
            Request(one, ({"role": "user", "content": one},), published()[:3], 2)
            for one in questions
        ],
        reply,
    )
    return texts


def test_the_engine_changes_only_what_is_forbidden() -> None:
    questions = [f"第{number}个问题？" for number in range(24)]
    free, constrained = served(None, questions), served("hermes", questions)
    # A random model also writes halves of characters, which are no text.
    whole = [question for question in questions if "\ufffd" not in free[question]]
    assert len(whole) >= 5
    assert [constrained[question] for question in whole] == [free[question] for question in whole]
    assert constrained != free
    assert not any("\ufffd" in text.rstrip("\ufffd") for text in constrained.values())


def test_a_forbidden_token_gives_way_to_the_likeliest_allowed_one() -> None:
    import torch

    made, renderer = constrainer("hermes")
    constraint = made.answer(tools())
    for token in renderer.tokenizer.encode("<tool_call>", add_special_tokens=False):
        constraint.accept(token)
    logits = torch.zeros(len(renderer.tokenizer))
    logits[renderer.end_id] = 9.0
    (newline,) = renderer.tokenizer.encode("\n", add_special_tokens=False)
    logits[newline] = 1.0

    from matinee.engines.sampling import GREEDY, Chooser

    assert not constraint.allows(renderer.end_id)
    assert Chooser(GREEDY, constraint=constraint).choose(logits, []) == newline


def test_a_schema_that_no_grammar_can_express_is_refused_with_its_reason() -> None:
    made, _ = constrainer("hermes")
    broken = {"name": "odd", "parameters": {"type": "object", "properties": {"a": {"$ref": "#/x"}}}}
    with pytest.raises(EngineError, match=r"cannot be turned into a grammar: .*constrained"):
        made.answer((broken,))


def test_a_grammar_is_compiled_once_per_tool_list() -> None:
    made, _ = constrainer("action")
    made.answer(tools())
    before = made._of_tools.cache_info().misses
    made.answer(tools())
    made.answer(tools()[:2])
    assert made._of_tools.cache_info().misses == before + 1


def test_only_the_last_grammars_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matinee.engines.constraining._MOST_GRAMMARS", 2)
    renderer = Renderer(tokenizer(), "chatml_hermes")
    made = Constrainer(renderer, "hermes", len(renderer.tokenizer))
    for tool in tools()[:4]:
        made.answer((tool,))
    assert made._of_tools.cache_info().currsize == 2


def test_names_are_quoted() -> None:
    tool = {"name": 'say "hi"\\', "parameters": {"type": "object", "properties": {}}}
    assert json.dumps(json.dumps(tool["name"]))[1:-1] in forms()["hermes"].grammar(
        [Tool.from_openai(tool)], {}
    )
