"""Whole suites: gold succeeds everywhere, null where nothing is due, and noise breaks nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytest
from cases import (
    GOOD,
    air,
    ask_city,
    ask_two,
    ask_unknown,
    chain,
    loan,
    news,
    nothing,
    parallel,
    retry,
    the_chain,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import play, suite, tools

from matinee.engines.base import Completion, Reply, Request
from matinee.evaluation.comparison import Pair, compare_outcomes, outcomes_by_suite
from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import reparse, score, score_suite
from matinee.evaluation.scripted import FLOOR, ConstantEngine, GoldEngine, play_floor
from matinee.evaluation.suites import select
from matinee.messages.parsing import CallForm
from matinee.messages.scenarios import Scenario, Suite
from matinee.messages.transcripts import Transcript, Verdict

RESOURCES = Path(__file__).parents[2] / "workflow" / "resources"


def inline_suite() -> Suite:
    cases = [air, news, loan, parallel, chain, ask_city, ask_two, ask_unknown, nothing, retry]
    return suite(
        *(case.model_copy(update={"id": f"case-{number}"}) for number, case in enumerate(cases))
    )


def real_suite() -> Suite:
    loading = pytest.importorskip("matinee.evaluation.suites")
    if not (RESOURCES / "scenarios" / "suite.yaml").is_file():
        pytest.skip("the scenarios are not there")
    loaded: Suite = loading.load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")
    return loaded


def run(which: Suite, engine: Any, form: CallForm) -> list[Verdict]:
    transcripts = run_suite(
        which, engine, Play(subject="scripted", form=form, max_steps=8, max_new_tokens=100)
    )
    return score_suite(which, transcripts)


@pytest.mark.parametrize("form", ["hermes", "action"])
@pytest.mark.parametrize("load", [inline_suite, real_suite])
def test_gold_succeeds_in_every_case(load: Any, form: CallForm) -> None:
    which = load()
    verdicts = run(which, GoldEngine(which, form), form)
    assert [(v.case, v.detail) for v in verdicts if not v.success] == []
    assert all(v.metrics["mentioned"] is not False for v in verdicts)
    assert all(v.metrics["steps"] >= v.metrics["shortest_steps"] for v in verdicts)  # type: ignore[operator]


@pytest.mark.parametrize("load", [inline_suite, real_suite])
def test_null_succeeds_exactly_where_nothing_is_due(load: Any) -> None:
    which = load()
    verdicts = run(which, ConstantEngine(), "hermes")
    idle = {s.id for s in which.scenarios if all(turn.idle for turn in s.turns)}
    assert {v.case for v in verdicts if v.success} == idle
    assert 0 < len(idle) < len(verdicts)


class Always:
    """Writes the same whatever it is asked; the request itself where `text` is None."""

    def __init__(self, text: str | None, finish: Literal["stop", "length"] = "stop") -> None:
        self.text, self.finish = text, finish

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        for request in requests:
            following: Request | None = request
            while following is not None:
                asked = [m["content"] for m in following.messages if m["role"] == "user"][-1]
                text = asked if self.text is None else self.text
                following = reply(following, Completion(text, 0, 0, self.finish, 0.0))


@pytest.mark.parametrize(
    ("engine", "error"),
    [
        (
            Always('```json\n{"name": "icp_query", "arguments": {}}\n```'),
            "call_in_other_form",
        ),
        (Always('{"name": "icp_query", "arguments": {}}'), "call_in_other_form"),
        (Always(None), "echo"),
        (Always(""), "empty"),
        (Always("。。。？？"), "garbage"),
        (Always("好的，我来为您查询", "length"), "cut_off"),
    ],
)
def test_an_engine_that_always_writes_no_reply_is_never_right(engine: Any, error: str) -> None:
    verdicts = run(select(real_suite(), limit=40), engine, "hermes")
    assert {verdict.error for verdict in verdicts} == {error}
    assert not any(verdict.metrics["format_valid"] for verdict in verdicts)


@pytest.mark.parametrize("agent", FLOOR)
def test_an_agent_that_understands_nothing_is_never_called_better(agent: str) -> None:
    which = real_suite()
    found = play_floor(which)
    verdicts = {"old": run(which, Always(""), "hermes")}
    verdicts |= {name: [one for one in found if one.subject == name] for name in FLOOR}
    outcomes = outcomes_by_suite(verdicts)
    due = {name: [one for one in outcomes[name][which.id] if one.due] for name in FLOOR}
    floor = max(sum(one.success for one in rows) / len(rows) for rows in due.values())
    pair = Pair("training", ("old",), (agent,))
    comparison = compare_outcomes(outcomes, [pair], {which.id: floor})
    assert "better" in [one.finding for one in comparison.headline_of(pair, which.id)]
    assert comparison.headline(pair, which.id) == "floor"


OUTPUTS = sorted({text for _, outputs in GOOD.values() for text in outputs} | set(the_chain()))


def mutated(text: str, seed: int) -> str:
    """The text with pieces cut out, doubled, swapped or replaced by other outputs' pieces."""
    source = random.Random(seed)
    for _ in range(source.randrange(4)):
        a, b = sorted((source.randrange(len(text) + 1), source.randrange(len(text) + 1)))
        other = source.choice(OUTPUTS)
        cut = source.randrange(len(other) + 1)
        piece = source.choice(["", text[a:b] * 2, other[cut : cut + 12], "\ud800", "：", "'", "}"])
        text = text[:a] + piece + text[b:]
    return text


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([case for case, _ in GOOD.values()]),
    st.lists(st.tuples(st.sampled_from(OUTPUTS), st.integers(0, 2**32)), min_size=24, max_size=24),
)
def test_no_output_makes_the_loop_or_the_scorer_raise(
    case: Scenario, choices: list[tuple[str, int]]
) -> None:
    transcript: Transcript = play(case, *(mutated(text, seed) for text, seed in choices))
    for lenient in (False, True):
        verdict = score(case, reparse(transcript, "hermes", lenient), tools())
        assert verdict.success == (verdict.error is None)
        verdict.model_dump_json().encode("utf-8")
