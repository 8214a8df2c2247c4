"""Choosing tokens: greedily, by chance with a seed, and from demanded beginnings."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from test_engines_transformers import Numbers, one_by_one, prompts
from tiny import FAMILIES, tokenizer

from matinee.config import CALL_FORMS
from matinee.engines.base import Completion, Request
from matinee.engines.sampling import Chooser, Sampling
from matinee.engines.transformers import TransformersEngine
from matinee.messages.conversations import ToolCall
from matinee.messages.parsing import parse
from matinee.messages.rendering import Renderer


def logits(*chances: float) -> Any:
    import torch

    return torch.tensor(chances).log()


def drawn(sampling: Sampling, *chances: float, times: int = 2000) -> Counter[int]:
    chooser = Chooser(sampling)
    return Counter(chooser.choose(logits(*chances), []) for _ in range(times))


def test_tokens_come_as_often_as_they_are_likely() -> None:
    counts = drawn(Sampling(1.0, seed=1), 0.6, 0.3, 0.1)
    assert [counts[n] / 2000 for n in range(3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.04)


def test_a_low_temperature_sharpens_and_zero_takes_the_likeliest() -> None:
    assert drawn(Sampling(0.5, seed=1), 0.6, 0.4)[0] / 2000 == pytest.approx(0.692, abs=0.04)
    assert drawn(Sampling(0.0), 0.4, 0.6) == {1: 2000}


def test_top_p_keeps_the_likeliest_tokens_of_that_mass() -> None:
    assert set(drawn(Sampling(1.0, top_p=0.7, seed=1), 0.1, 0.3, 0.6)) == {1, 2}
    assert set(drawn(Sampling(1.0, top_p=0.01, seed=1), 0.1, 0.3, 0.6)) == {2}


@pytest.mark.parametrize("temperature", [1e-38, 1e-46, 1e-6])
def test_a_temperature_next_to_zero_takes_the_likeliest(temperature: float) -> None:
    import torch

    chooser = Chooser(Sampling(temperature, seed=1))
    assert chooser.choose(torch.tensor([10.0, 30.0, -20.0]), []) == 1


def test_a_cold_draw_among_large_logits_is_among_the_likeliest() -> None:
    import torch

    chooser = Chooser(Sampling(1e-5, seed=1))
    assert chooser.choose(torch.tensor([3e38, 1e38, float("-inf")]), []) == 0


@pytest.mark.parametrize("top_p", [1e-46, 1e-300])
def test_a_mass_next_to_zero_keeps_the_likeliest(top_p: float) -> None:
    assert drawn(Sampling(1.0, top_p=top_p, seed=1), 0.1, 0.6, 0.3, times=20) == {1: 20}


def test_a_seed_repeats_and_another_does_not() -> None:
    def row(seed: int | None) -> list[int]:
        chooser = Chooser(Sampling(1.0, seed=seed))
        return [chooser.choose(logits(*[1 / 50] * 50), []) for _ in range(30)]

    assert row(5) == row(5)
    assert row(5) != row(6)
    assert row(None) != row(None)


def test_an_opening_is_followed_to_its_end_and_no_further() -> None:
    chooser = Chooser(Sampling(), openings=[(3, 1, 4), (3, 1, 5), (2,)])
    favourites = logits(0.4, 0.1, 0.02, 0.08, 0.15, 0.25)
    written: list[int] = []
    for _ in range(5):
        written.append(chooser.choose(favourites, written))
    # 3 is likelier than 2 at the start, 5 than 4 after it; then the model is free.
    assert written == [3, 1, 5, 0, 0]


def texts(requests: list[Request], batch_size: int = 3) -> dict[str, Completion]:
    engine = TransformersEngine(FAMILIES["llama"](seed=3), Numbers(), batch_size)  # type: ignore[arg-type]
    found: dict[str, Completion] = {}
    engine.serve(requests, lambda asked, done: found.update({asked.key: done}))  # type: ignore[func-returns-value]
    return found


def asked(key: str, ids: list[int], **options: Any) -> Request:
    content = " ".join(map(str, ids))
    return Request(key, ({"role": "user", "content": content},), (), 8, **options)


def test_one_that_samples_does_not_disturb_its_neighbours() -> None:
    given = prompts(31, 3, 40)
    warm = Sampling(1.5, seed=4)
    found = texts([asked("a", given[0]), asked("b", given[1], sampling=warm), asked("c", given[2])])
    model = FAMILIES["llama"](seed=3).eval()
    greedy = [one_by_one(model, ids, 8) for ids in given]
    assert [found["a"].text, found["c"].text] == [greedy[0], greedy[2]]
    assert found["b"].text != greedy[1]


def test_an_answer_stops_before_the_first_stop_text() -> None:
    (given,) = prompts(37, 1, 0)
    free = one_by_one(FAMILIES["llama"](seed=3).eval(), given, 8)
    third, fifth = free.split()[2], free.split()[4]
    done = texts([asked("a", given, stop=(f" {fifth}", f" {third}"))])["a"]
    assert done.text == free[: free.index(f" {third}")]
    assert done.finish == "stop"
    assert done.completion_tokens == 3


class Thinking(Numbers):
    thought_tokens = (290, 291)


@pytest.mark.parametrize("opened", ["by the prompt", "by the model", "not at all"])
def test_thoughts_are_closed_when_their_budget_is_used_up(opened: str) -> None:
    model = FAMILIES["llama"](seed=3).eval()
    (given,) = prompts(43, 1, 0)
    free = [int(word) for word in one_by_one(model, given, 10).split()]
    renderer = Thinking()
    renderer.thought_tokens = (free[1] if opened == "by the model" else 290, 291)
    prompt = [*given, 290] if opened == "by the prompt" else given
    first = [int(word) for word in one_by_one(model, prompt, 10).split()]
    engine = TransformersEngine(FAMILIES["llama"](seed=3), renderer, 2, thinking=4)  # type: ignore[arg-type]
    found: dict[str, Completion] = {}
    engine.serve(
        [asked("a", prompt)],
        lambda request, done: found.update({request.key: done}),  # type: ignore[func-returns-value]
    )
    thoughts = [*first[:4], 291] if opened != "not at all" else first[:5]
    rest = one_by_one(model, [*prompt, *thoughts], 3)
    assert found["a"].text == " ".join([*map(str, thoughts), rest])


@pytest.mark.parametrize("template", sorted(CALL_FORMS))
def test_a_demanded_call_begins_as_a_trained_one(template: str) -> None:
    renderer = Renderer(tokenizer(), template)
    opening = renderer.call_opening("get_weather")
    text = tokenizer().decode(opening)
    assert "get_weather" in text
    rest = ' {"city": "北京"}' + ("}\n</tool_call>" if CALL_FORMS[template] == "hermes" else "")
    parsed = parse(CALL_FORMS[template], text + rest)
    assert parsed.calls[0].name == "get_weather"
    assert json.loads(parsed.calls[0].arguments) == {"city": "北京"}
    from matinee.messages.conversations import Conversation, Message

    messages = (Message("user", "北京？"), Message("assistant", "", (ToolCall("get_weather"),)))
    row = renderer.row(Conversation("c", messages)).ids
    start = len(renderer.prompt([messages[0].as_openai()]))
    assert row[start : start + len(opening)] == opening
