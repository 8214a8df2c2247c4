"""Sharing prefixes, keeping caches and decoding side by side changes no text."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tiny import FAMILIES, tokenizer

from matinee.engines.base import Completion, Request
from matinee.engines.transformers import TransformersEngine
from matinee.messages.rendering import Renderer

HEAD = 60  # tokens of a prompt that stand for its tools, where it has more


class Numbers:
    """Prompts given as numbers: those of the tools, then those of the messages."""

    def __init__(self, stop_ids: frozenset[int] = frozenset()) -> None:
        self.tokenizer = self
        self.stop_ids = stop_ids

    def prompt(self, messages: Iterable[dict[str, Any]], tools: Iterable[Any] = ()) -> list[int]:
        words = [word for message in messages for word in message["content"].split()]
        if "broken" in words:
            raise ValueError("no template spells this")
        ids = [int(word) if word.isdigit() else 3 + ord(word) % 290 for word in words]
        return [number for tool in tools for number in tool["ids"]] + ids

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def request(key: str, ids: list[int], new: int = 6) -> Request:
    head = ids[:HEAD] if len(ids) > HEAD else []
    content = " ".join(map(str, ids[len(head) :]))
    return Request(key, ({"role": "user", "content": content},), ({"ids": head},), new)


def one_by_one(model: Any, ids: list[int], new: int, stop: frozenset[int] = frozenset()) -> str:
    """What transformers' own generate writes after one prompt, without the end token."""
    import torch

    model.config._attn_implementation = "sdpa"
    given = torch.tensor([ids])
    written = model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=sorted(stop) or [10**6],
        pad_token_id=2,
    )[0, len(ids) :].tolist()
    return " ".join(str(token) for token in written if token not in stop)


def expected(family: str, prompts: list[list[int]], new: int = 6, **options: Any) -> list[str]:
    model = FAMILIES[family](seed=3).eval()
    return [one_by_one(model, prompt, new, **options) for prompt in prompts]


def served(
    family: str, requests: list[Request], batch_size: int, *, follow: Any = None, stop: Any = ()
) -> tuple[dict[str, list[str]], list[Completion]]:
    """Texts by key, in the order in which they were written."""
    engine = TransformersEngine(
        FAMILIES[family](seed=3),
        Numbers(frozenset(stop)),  # type: ignore[arg-type]
        batch_size,
    )
    texts: dict[str, list[str]] = {}
    completions = []

    def reply(asked: Request, completion: Completion) -> Request | None:
        texts.setdefault(asked.key, []).append(completion.text)
        completions.append(completion)
        return follow(asked, completion, len(texts[asked.key])) if follow else None

    engine.serve(requests, reply)
    return texts, completions


def prompts(seed: int, count: int, prefix: int) -> list[list[int]]:
    chance = random.Random(seed)
    beginning = [chance.randrange(3, 300) for _ in range(prefix)]
    return [
        beginning + [chance.randrange(3, 300) for _ in range(chance.randint(1, 30))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("prefix", [0, 5, 60], ids=["none shared", "few shared", "many shared"])
@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_those_of_one_request_at_a_time(
    family: str, prefix: int, batch_size: int
) -> None:
    asked = prompts(7, 9, prefix)
    texts, _ = served(family, [request(str(n), ids) for n, ids in enumerate(asked)], batch_size)
    wanted = expected(family, asked, new=6)
    assert [texts[str(n)] for n in range(9)] == [[text] for text in wanted]


def continues(asked: list[int], written: list[int]) -> list[int]:
    return [*asked, *written, 17, 18, 19]


def parts_in_own_tokens(asked: list[int], written: list[int]) -> list[int]:
    return [*asked[:-1], 21, 22, 23]


def parts_in_prefix(asked: list[int], written: list[int]) -> list[int]:
    return [*asked[:30], 24, 25, *asked[32:40]]


def parts_at_once(asked: list[int], written: list[int]) -> list[int]:
    return [26, 27, 28, 29]


def shortens(asked: list[int], written: list[int]) -> list[int]:
    return asked[:-1]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    "change", [continues, parts_in_own_tokens, parts_in_prefix, parts_at_once, shortens]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_goes_on_from_what_is_kept(
    family: str, change: Any, batch_size: int
) -> None:
    beginnings = prompts(11, 5, 60)
    wanted: dict[str, list[str]] = {}
    model = FAMILIES[family](seed=3).eval()
    for number, ids in enumerate(beginnings):
        texts = wanted.setdefault(str(number), [])
        for _ in range(3):
            texts.append(one_by_one(model, ids, 5))
            ids = change(ids, [int(word) for word in texts[-1].split()])

    def follow(asked: Request, completion: Completion, turn: int) -> Request | None:
        if turn == 3:
            return None
        ids = Numbers().prompt(asked.messages, asked.tools)
        return request(asked.key, change(ids, [int(w) for w in completion.text.split()]), 5)

    started = [request(str(number), ids, 5) for number, ids in enumerate(beginnings)]
    texts, _ = served(family, started, batch_size, follow=follow)
    assert texts == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_the_padded_product_of_accelerators_writes_the_same(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matinee.engines import decoding

    products = []

    class Padded(decoding.PaddedOwnTokens):
        def mix(self, weights: Any) -> Any:
            products.append(weights.shape[0])
            return super().mix(weights)

    monkeypatch.setattr(decoding, "OwnTokens", Padded)
    asked = prompts(7, 9, 60)
    texts, _ = served(family, [request(str(n), ids) for n, ids in enumerate(asked)], 4)
    assert [texts[str(n)] for n in range(9)] == [[text] for text in expected(family, asked)]
    assert max(products) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_new_token(family: str) -> None:
    asked = prompts(13, 4, 40)
    texts, completions = served(family, [request(str(n), ids, 1) for n, ids in enumerate(asked)], 2)
    assert [texts[str(n)][0] for n in range(4)] == expected(family, asked, new=1)
    assert {completion.finish for completion in completions} == {"length"}
    assert {completion.completion_tokens for completion in completions} == {1}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_different_lengths_end_at_different_times(batch_size: int) -> None:
    asked = prompts(17, 8, 40)
    lengths = [1, 12, 2, 9, 3, 7, 1, 20]
    requests = [
        request(str(n), ids, new) for n, (ids, new) in enumerate(zip(asked, lengths, strict=True))
    ]
    texts, _ = served("llama", requests, batch_size)
    model = FAMILIES["llama"](seed=3).eval()
    for number, (ids, new) in enumerate(zip(asked, lengths, strict=True)):
        assert texts[str(number)] == [one_by_one(model, ids, new)]


def test_stopping_at_the_first_token_gives_an_empty_text() -> None:
    (asked,) = prompts(19, 1, 0)
    (first,) = expected("llama", [asked], new=1)
    texts, completions = served("llama", [request("a", asked)], 1, stop={int(first)})
    assert texts == {"a": [""]}
    assert (completions[0].finish, completions[0].completion_tokens) == ("stop", 1)


def test_the_stop_token_is_not_part_of_the_text() -> None:
    asked = prompts(23, 6, 40)
    free = expected("llama", asked, new=8)
    stop = frozenset(int(text.split()[4]) for text in free[:3])
    texts, completions = served(
        "llama", [request(str(n), ids, 8) for n, ids in enumerate(asked)], 3, stop=stop
    )
    wanted = expected("llama", asked, new=8, stop=stop)
    assert [texts[str(n)][0] for n in range(6)] == wanted
    assert "stop" in {completion.finish for completion in completions}


def test_prompts_that_all_fill_the_context_are_answered_with_nothing() -> None:
    long = [7] * 4093  # and six new tokens are more than the 4096 of the model
    texts, completions = served("llama", [request("a", long), request("b", long)], 2)
    assert texts == {"a": [""], "b": [""]}
    assert {(done.finish, done.completion_tokens) for done in completions} == {("length", 0)}


def test_nothing_asked_nothing_done() -> None:
    assert served("llama", [], 2) == ({}, [])


def test_an_engine_serves_more_than_once() -> None:
    asked = prompts(29, 3, 40)
    engine = TransformersEngine(FAMILIES["llama"](seed=3), Numbers(), 2)  # type: ignore[arg-type]
    seen: list[str] = []
    for _ in range(2):
        engine.serve(
            [request("a", ids) for ids in asked],
            lambda _, completion: seen.append(completion.text),  # type: ignore[func-returns-value]
        )
    assert sorted(seen[:3]) == sorted(seen[3:]) == sorted(expected("llama", asked, new=6))


def test_chats_are_rendered_through_the_template(tmp_path: Path) -> None:
    from matinee.models.devices import Placement

    made = tokenizer()
    FAMILIES["llama"](vocabulary=len(made)).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    engine = TransformersEngine.load(
        tmp_path, "chatml_hermes", Placement("cpu", "fp32", "test"), batch_size=2
    )
    messages = ({"role": "user", "content": "天气？"},)
    completions: list[Completion] = []

    def reply(asked: Request, completion: Completion) -> None:
        completions.append(completion)

    engine.serve([Request("a", messages, (), 4)], reply)
    prompt = Renderer(made, "chatml_hermes").prompt(messages)
    assert completions[0].prompt_tokens == len(prompt)
    assert 1 <= completions[0].completion_tokens <= 4
