"""Answers that grow side by side while requests come and go are those of one at a time."""

from __future__ import annotations

import queue
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from test_engines_transformers import Numbers, one_by_one, prompts
from tiny import FAMILIES, tokenizer

from matinee.engines.base import Completion, Event, Failure, Request, TooLong, Written
from matinee.engines.live import LiveTransformersEngine
from matinee.engines.sampling import Sampling
from matinee.messages.rendering import Renderer

PATIENCE = 60  # seconds until a test gives up waiting for an event


class Heard:
    """The events of some answers, by key, as they come."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self._told: queue.Queue[tuple[str, Event]] = queue.Queue()

    def listener(self, key: str) -> Any:
        return lambda event: self._told.put((key, event))

    def until(self, key: str, kind: type) -> Event:
        """Waits for the answer's first event of a kind."""
        while True:
            for event in self.events.get(key, []):
                if isinstance(event, kind):
                    return event
            told, event = self._told.get(timeout=PATIENCE)
            self.events.setdefault(told, []).append(event)

    def done(self, key: str) -> Completion:
        completion = self.until(key, (Completion, Failure, TooLong))  # type: ignore[arg-type]
        assert isinstance(completion, Completion), completion
        return completion

    def words(self, key: str) -> str:
        return "".join(event.text for event in self.events[key] if isinstance(event, Written))


@contextmanager
def live(
    family: str = "llama",
    batch_size: int = 3,
    context: int = 4096,
    *,
    stop: frozenset[int] = frozenset(),
) -> Iterator[LiveTransformersEngine]:
    engine = LiveTransformersEngine(
        FAMILIES[family](seed=3),
        Numbers(stop),  # type: ignore[arg-type]
        batch_size,
        context,
    )
    yield engine
    engine.close()


def request(
    key: str, ids: list[int], head: list[int] | None = None, new: int = 6, **options: Any
) -> Request:
    tools = ({"ids": head},) if head else ()
    content = " ".join(map(str, ids))
    return Request(key, ({"role": "user", "content": content},), tools, new, **options)


def head(seed: int, length: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(3, 300) for _ in range(length)]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("lengths", [(0, 0), (60, 60), (60, 45), (40, 0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_those_of_one_request_at_a_time(
    family: str, lengths: tuple[int, int], batch_size: int
) -> None:
    """With no common beginning, with two of them in turn, and with one that some share."""
    heads = [head(seed, length) for seed, length in enumerate(lengths)]
    asked = prompts(7, 10, 0)
    heard = Heard()
    with live(family, batch_size) as engine:
        for number, ids in enumerate(asked):
            key = str(number)
            engine.submit(request(key, ids, heads[number % 2]), heard.listener(key))
        found = [heard.done(str(number)).text for number in range(10)]
    model = FAMILIES[family](seed=3).eval()
    assert found == [one_by_one(model, heads[n % 2] + ids, 6) for n, ids in enumerate(asked)]
    assert [heard.words(str(number)) for number in range(10)] == found


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_that_come_later_join_those_under_way(family: str) -> None:
    """Each request is made when the one before it has begun to write."""
    asked = prompts(9, 6, 0)
    common = head(1, 50)
    heard = Heard()
    with live(family, 4) as engine:
        for number, ids in enumerate(asked):
            key = str(number)
            engine.submit(request(key, ids, common, new=12), heard.listener(key))
            heard.until(key, Written)
        found = [heard.done(str(number)).text for number in range(6)]
        assert engine.work.widest > 1
    model = FAMILIES[family](seed=3).eval()
    assert found == [one_by_one(model, common + ids, 12) for ids in asked]


def test_answers_grow_together() -> None:
    heard = Heard()
    with live(batch_size=8) as engine:
        engine.submit(request("first", [5, 6], new=600), heard.listener("first"))
        heard.until("first", Written)
        for number in range(7):
            key = str(number)
            engine.submit(request(key, [7, number + 3], new=50), heard.listener(key))
        for number in range(7):
            heard.done(str(number))
        heard.done("first")
        assert engine.work.widest == 8
        assert engine.work.tokens == 600 + 7 * 50
        assert engine.work.steps < 700  # one by one it would be 950


def test_a_conversation_goes_on_from_what_was_computed() -> None:
    common = head(2, 60)
    model = FAMILIES["llama"](seed=3).eval()
    heard = Heard()
    with live(batch_size=2) as engine:
        ids = [11, 12, 13]
        cached = []
        for turn in range(3):
            key = str(turn)
            engine.submit(request(key, ids, common), heard.listener(key))
            done = heard.done(key)
            assert done.text == one_by_one(model, common + ids, 6)
            cached.append(done.cached_tokens)
            ids = [*ids, *map(int, done.text.split()), 14, 15]
    # The head was computed for the first request; later ones find all but their own last words.
    assert cached == [60, 60 + 3 + 5, 60 + 11 + 5]


def test_the_common_beginning_follows_what_is_asked() -> None:
    """After many requests with other tools, these are the ones that are kept once for all."""
    one, other = head(3, 50), head(4, 70)
    model = FAMILIES["llama"](seed=3).eval()
    heard = Heard()
    with live(batch_size=2) as engine:
        for number in range(12):
            chosen = one if number < 3 else other
            key = str(number)
            engine.submit(request(key, [20 + number], chosen), heard.listener(key))
            assert heard.done(key).text == one_by_one(model, [*chosen, 20 + number], 6)
        # Side by side, so that no slot of its own can hold the beginning for both.
        for key in ("a", "b"):
            engine.submit(request(key, [30], other), heard.listener(key))
        assert [heard.done(key).cached_tokens >= 70 for key in ("a", "b")] == [True, True]


def test_the_common_beginning_changes_under_load_where_two_begin_alike() -> None:
    """The lists differ after ten tokens, and the engine is never without work."""
    start = head(5, 10)
    one, other = start + head(3, 50), start + head(4, 70)
    model = FAMILIES["llama"](seed=3).eval()
    heard = Heard()
    with live(batch_size=2) as engine:
        for number in range(2):
            engine.submit(request(f"old {number}", [20], one), heard.listener(f"old {number}"))
            heard.done(f"old {number}")
        for number in range(8):
            key, new = str(number), 5 + 3 * (number % 3)
            engine.submit(request(key, [30 + number], other, new), heard.listener(key))
        for number in range(8):
            done = heard.done(str(number))
            new = 5 + 3 * (number % 3)
            assert done.text == one_by_one(model, [*other, 30 + number], new)
        assert [heard.done(key).cached_tokens >= 80 for key in ("5", "6", "7")] == [True] * 3
        assert engine.work.shared == 80


def test_whoever_leaves_makes_room() -> None:
    heard = Heard()
    with live(batch_size=1) as engine:
        ticket = engine.submit(request("gone", [5, 6], new=4000), heard.listener("gone"))
        heard.until("gone", Written)
        engine.submit(request("next", [7, 8]), heard.listener("next"))
        ticket.cancel()
        assert heard.done("next").text == one_by_one(FAMILIES["llama"](seed=3).eval(), [7, 8], 6)
    assert not any(isinstance(event, Completion) for event in heard.events["gone"])


def test_whoever_leaves_before_a_place_is_free_costs_nothing() -> None:
    heard = Heard()
    with live(batch_size=1) as engine:
        engine.submit(request("first", [5, 6], new=300), heard.listener("first"))
        engine.submit(request("gone", [6, 7], new=30), heard.listener("gone")).cancel()
        engine.submit(request("last", [7, 8], new=30), heard.listener("last"))
        heard.done("first")
        heard.done("last")
        assert engine.work.tokens == 330


def test_a_prompt_that_does_not_fit_is_told_so() -> None:
    heard = Heard()
    with live(context=20) as engine:
        engine.submit(request("long", [5] * 20), heard.listener("long"))
        assert heard.until("long", TooLong) == TooLong(20, 19)


def test_an_answer_ends_where_the_context_does() -> None:
    heard = Heard()
    with live(context=20) as engine:
        engine.submit(request("a", [5] * 15, new=100), heard.listener("a"))
        done = heard.done("a")
    assert (done.completion_tokens, done.finish) == (5, "length")


def test_stop_texts_never_show_not_even_in_part() -> None:
    (given,) = prompts(41, 1, 0)
    free = one_by_one(FAMILIES["llama"](seed=3).eval(), given, 12)
    stop = " " + " ".join(free.split()[5:7])
    heard = Heard()
    with live() as engine:
        engine.submit(request("a", given, new=12, stop=(stop,)), heard.listener("a"))
        done = heard.done("a")
    assert done.text == heard.words("a") == free[: free.index(stop)]
    assert done.finish == "stop"


def test_what_no_template_can_spell_fails_alone() -> None:
    heard = Heard()
    with live() as engine:
        engine.submit(request("good", [5, 6], new=50), heard.listener("good"))
        broken = ({"role": "user", "content": "broken"},)
        engine.submit(Request("bad", broken, (), 5), heard.listener("bad"))
        failure = heard.until("bad", Failure)
        assert "template" in failure.reason  # type: ignore[union-attr]
        assert failure.of_request  # type: ignore[union-attr]
        assert heard.done("good").completion_tokens == 50


def test_after_a_fault_of_the_model_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    with live() as engine:
        engine.submit(request("bad", [10**6]), heard.listener("bad"))  # beyond the vocabulary
        failure = heard.until("bad", Failure)
        assert "log" in failure.reason  # type: ignore[union-attr]
        assert not failure.of_request  # type: ignore[union-attr]
        engine.submit(request("good", [7, 8]), heard.listener("good"))
        assert heard.done("good").text == one_by_one(FAMILIES["llama"](seed=3).eval(), [7, 8], 6)
    assert "The model failed" in caplog.text


def test_closing_tells_those_who_wait() -> None:
    heard = Heard()
    with live(batch_size=1) as engine:
        for key in ("a", "b"):
            engine.submit(request(key, [5, 6], new=4000), heard.listener(key))
        heard.until("a", Written)
    assert isinstance(heard.until("a", Failure), Failure)
    assert isinstance(heard.until("b", Failure), Failure)


def test_half_a_character_is_never_shown() -> None:
    """A random model writes bytes; what is shown grows and is what the whole text begins with."""
    made = tokenizer()
    model = FAMILIES["llama"](vocabulary=len(made), seed=5)
    engine = LiveTransformersEngine(model, Renderer(made, "chatml_hermes"), 4, 4096)
    heard = Heard()
    for number in range(8):
        messages = ({"role": "user", "content": f"天气{number}"},)
        key = str(number)
        warm = Sampling(2.0, seed=number)
        engine.submit(Request(key, messages, (), 60, sampling=warm), heard.listener(key))
    for number in range(8):
        done = heard.done(str(number))
        assert heard.words(str(number)) == done.text
    engine.close()
