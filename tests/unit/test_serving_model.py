"""The server over a real (tiny, random) model: its prompts, its load, and its folder."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from served import site
from test_serving import TIME, WEATHER
from test_templates import TEMPLATES, conversations
from tiny import llama, tokenizer

from matinee.apps.serving.prompting import ask
from matinee.apps.serving.running import Loading, load_live, name_of, template_of
from matinee.apps.serving.wire import read_body
from matinee.config import CALL_FORMS
from matinee.engines.base import Completion, Request
from matinee.engines.live import LiveTransformersEngine
from matinee.engines.transformers import TransformersEngine
from matinee.messages.conversations import Conversation
from matinee.messages.rendering import Renderer, load_template
from matinee.runtime.errors import EngineError, UserError

CLIENTS = 16
PICK = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
REMOTE = {"type": "object", "properties": {"a": {"$ref": "http://elsewhere.example/schema"}}}
REQUESTS = 1000


def as_client(conversation: Conversation, length: int) -> dict[str, Any]:
    """The first messages of a conversation as a client sends them: ids, arguments as text."""
    messages: list[dict[str, Any]] = []
    open_ids: list[str] = []
    for place, message in enumerate(conversation.messages[:length]):
        sent: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            open_ids = [f"call_{place}_{number}" for number in range(len(message.tool_calls))]
            sent["tool_calls"] = [
                {
                    "id": identifier,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for identifier, call in zip(open_ids, message.tool_calls, strict=True)
            ]
            sent["content"] = message.content or None
        if message.role == "tool":
            sent["tool_call_id"] = open_ids.pop(0)
        messages.append(sent)
    tools = [tool.as_openai() for tool in conversation.tools]
    return {"model": "tiny", "messages": messages} | ({"tools": tools} if tools else {})


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=30)
@given(conversation=conversations())
def test_the_servers_prompt_is_the_training_one_token_for_token(
    template: str, conversation: Conversation
) -> None:
    renderer = Renderer(tokenizer(), template)
    row = renderer.row(conversation)
    starts = [n for n in range(len(row.ids)) if row.mask[n] and not row.mask[n - 1]]
    answers = [n for n, message in enumerate(conversation.messages) if message.role == "assistant"]
    for start, answer in zip(starts, answers, strict=True):
        body = read_body(json.dumps(as_client(conversation, answer)).encode())
        request = ask(body, CALL_FORMS[template], 100).request
        assert renderer.prompt(request.messages, request.tools) == row.ids[:start]


def random_model() -> Any:
    return llama(vocabulary=len(tokenizer()), seed=5)


def live(batch_size: int = CLIENTS) -> LiveTransformersEngine:
    return LiveTransformersEngine(
        random_model(), Renderer(tokenizer(), "chatml_hermes"), batch_size, 4096
    )


def question(number: int) -> dict[str, Any]:
    """One of 60 questions, with one of three tool lists."""
    number %= 60
    tools = [[WEATHER], [WEATHER, TIME], None][number % 3]
    content = f"问题{number}：{'天气' * (number % 7)}"
    options: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
    return options | ({"tools": tools} if tools else {})


def expected() -> list[tuple[str, int]]:
    """What the engine for whole suites writes, and the tokens of each prompt."""
    requests = []
    for number in range(60):
        body = read_body(json.dumps({"model": "tiny", **question(number)}).encode())
        request = ask(body, "hermes", 8).request
        requests.append(
            Request(str(number), request.messages, request.tools, request.max_new_tokens)
        )
    found: dict[str, Completion] = {}
    TransformersEngine(random_model(), Renderer(tokenizer(), "chatml_hermes"), 4).serve(
        requests, lambda asked, done: found.update({asked.key: done})
    )
    return [(found[str(n)].text.strip(), found[str(n)].prompt_tokens) for n in range(60)]


def test_sixteen_clients_make_a_thousand_requests_and_none_is_lost_or_mixed_up() -> None:
    wanted = expected()
    numbers = iter(range(REQUESTS))
    lock = threading.Lock()
    answered: Counter[int] = Counter()
    wrong: list[str] = []

    def client(here: Any) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            answer = here.ask(max_tokens=8, **question(number))
            text, tokens = wanted[number % 60]
            said = answer.choices[0].message.content
            with lock:
                answered[number] += 1
                if said != text or answer.usage.prompt_tokens != tokens:
                    wrong.append(f"{number}: {said!r}, not {text!r}")

    engine = live()
    with site(engine) as here:
        connected = [here.connected() for _ in range(CLIENTS)]
        threads = [threading.Thread(target=client, args=(one,)) for one in connected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert here.served.under_way == 0
    assert wrong == []
    assert answered == Counter(dict.fromkeys(range(REQUESTS), 1))
    assert engine.work.requests == REQUESTS
    # They were answered side by side, in far fewer steps than tokens.
    assert engine.work.widest > CLIENTS // 2
    assert engine.work.steps < engine.work.tokens / 2


def test_a_demanded_call_is_made_by_any_model() -> None:
    """A random model writes no call by itself; made to begin one, it names a tool of the list."""
    with site(live(2)) as here:
        for choice, names in (("required", {"get_weather", "get_time"}), (TIME, {"get_time"})):
            chosen = (
                choice
                if isinstance(choice, str)
                else {"type": "function", "function": {"name": "get_time"}}
            )
            answer = here.ask(tools=[WEATHER, TIME], tool_choice=chosen, max_tokens=30)
            calls = answer.choices[0].message.tool_calls
            assert {call.function.name for call in calls} <= names
            assert calls


def test_constrained_a_demanded_call_keeps_to_its_schema() -> None:
    from matinee.engines.constraining import Constrainer

    model, renderer = random_model(), Renderer(tokenizer(), "chatml_hermes")
    constrainer = Constrainer(renderer, "hermes", model.config.vocab_size)
    tool = {"type": "function", "function": {"name": "pick", "parameters": PICK}}
    bad = {"type": "function", "function": {"name": "pick", "parameters": REMOTE}}
    with site(LiveTransformersEngine(model, renderer, 2, 4096, constrainer)) as here:
        answer = here.ask(tools=[tool], tool_choice="required", max_tokens=200, temperature=1.0)
        for call in answer.choices[0].message.tool_calls:
            assert json.loads(call.function.arguments)["colour"] in {"red", "blue"}
        with pytest.raises(openai.BadRequestError, match=r"grammar: .* Simplify") as told:
            here.ask(tools=[bad], tool_choice="required")
        assert "evaluation" not in str(told.value)
        assert here.ask(max_tokens=3).usage.completion_tokens <= 3


def test_an_answer_fits_the_schema_that_was_asked_for() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"enum": ["北京", "上海"]},
            "days": {"type": "integer", "maximum": 9},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": schema}}
    with site(live(2)) as here:
        answer = here.ask(response_format=wanted, max_tokens=120).choices[0].message
        found = json.loads(answer.content)
        assert set(found) == {"city", "days"}
        assert found["city"] in ("北京", "上海")
        with pytest.raises(openai.BadRequestError, match="cannot be turned into a grammar"):
            here.ask(response_format=wanted | {"json_schema": {"name": "x", "schema": REMOTE}})


def test_a_seed_repeats_an_answer() -> None:
    with site(live(2)) as here:

        def said(seed: int) -> str:
            answer = here.ask(temperature=1.5, seed=seed, max_tokens=20)
            return str(answer.choices[0].message.content)

        assert said(3) == said(3)
        assert said(3) != said(4)


def exported(folder: Path, template: str | None) -> Path:
    random_model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    if template:
        path = folder / "chat_template.jinja"
        path.write_text(load_template(template), encoding="utf-8")
    return folder


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_exported_folder_says_which_template_it_has(tmp_path: Path, template: str) -> None:
    (tmp_path / "chat_template.jinja").write_text(load_template(template), encoding="utf-8")
    assert template_of(tmp_path) == template


def test_a_folder_is_served_as_it_was_exported(tmp_path: Path) -> None:
    folder = exported(tmp_path / "merged" / "base" / "s42" / "model", "chatml_hermes")
    loaded = load_live(folder, Loading(precision="fp32"))
    assert (loaded.template, loaded.form, name_of(folder)) == (
        "chatml_hermes",
        "hermes",
        "base-s42",
    )
    with site(loaded.engine) as here:
        assert here.ask(max_tokens=3).usage.completion_tokens <= 3


def test_what_cannot_be_loaded_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no model"):
        load_live(tmp_path, Loading())
    exported(tmp_path, None)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    with pytest.raises(UserError, match=r"does not show tools.*chatml_hermes"):
        load_live(tmp_path, Loading())
    with pytest.raises(EngineError, match="no template 'other'"):
        load_live(tmp_path, Loading("other"))


def test_a_port_in_use_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    import socket

    from matinee.apps.serving.app import ServerLimits
    from matinee.apps.serving.running import Listening, serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match="Choose another --port"):
            serve(tmp_path, Loading(), ServerLimits(), Listening(port=port))
