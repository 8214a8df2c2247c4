"""Scoring: each error class is produced, beside its near miss that succeeds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import DONE, call, gold, judged, play, says, scenario, suite, tools, turn

from matinee.engines.scripted import GoldEngine, NullEngine
from matinee.parsing import CallForm
from matinee.playing import run_suite
from matinee.scenarios import Fault, Scenario, Suite
from matinee.scoring import (
    aggregate,
    reparse,
    score,
    score_both_ways,
    score_suite,
    seconds_per_case,
)
from matinee.simulation import lookup
from matinee.transcripts import ErrorClass, Transcript, Verdict

RESOURCES = Path(__file__).parents[2] / "workflow" / "resources"

AIR = "get_environment_air_pm"
NEWS = "get_toutiao_news"
LOAN = "loan_calc_query"
PROVINCES, CITIES, WEATHER = "get_province_list", "get_cities_list", "get_history_weather"
AIRPORT, FLIGHTS = "airport_query", "aptabnormal_query"
DAY = "2023-05-01"

JIANGSU = {"lookup": "province_id", "name": "江苏"}
NANJING = {"lookup": "city_id", "name": "南京"}

air = scenario(turn(gold(AIR, city=["上海", "上海市"])))
news = scenario(turn(gold(NEWS, type="tiyu", page=["2", None])))
loan = scenario(turn(gold(LOAN, money=70, year=20)))
parallel = scenario(turn(gold(AIR, city="上海"), gold(AIR, city="北京")))
chain = scenario(
    turn(
        gold(PROVINCES),
        gold(CITIES, after=[0], province_id=JIANGSU),
        gold(WEATHER, after=[1], city_id=NANJING, weather_date=DAY),
    )
)
ask_city = scenario(turn(gold(AIR, city="上海"), ask={"城市": "上海"}))
ask_two = scenario(turn(gold(LOAN, money=70, year=20), ask={"金额": "70万", "年限": "20年"}))
ask_unknown = scenario(turn(ask={"城市": None}))
nothing = scenario(turn(user="讲个笑话"))
retry = scenario(
    turn(gold(AIR, city="上海"), gold(AIR, after=[0], city="上海")),
    faults=[Fault(tool=AIR, nth=1, kind="timeout")],
)
retry_unlisted = air.model_copy(update={"faults": retry.faults})


def province() -> str:
    return lookup("province_id", "江苏")


def city(name: str = "南京") -> str:
    return lookup("city_id", name)


def the_chain() -> list[str]:
    return [
        says(call(PROVINCES)),
        says(call(CITIES, province_id=province())),
        says(call(WEATHER, city_id=city(), weather_date=DAY)),
        DONE,
    ]


SHANGHAI = says(call(AIR, city="上海"))

GOOD: dict[str, tuple[Scenario, list[str]]] = {
    "the call": (air, [SHANGHAI, DONE]),
    "another accepted value": (air, [says(call(AIR, city="上海市")), DONE]),
    "text around the call": (air, ["我来查。\n" + SHANGHAI, DONE]),
    "an offer at the end": (air, [SHANGHAI, DONE + "还有什么可以帮您的吗？"]),
    "an absent parameter": (news, [says(call(NEWS, type="tiyu")), DONE]),
    "an accepted optional one": (news, [says(call(NEWS, type="tiyu", page="2")), DONE]),
    "a default spelled out": (news, [says(call(NEWS, type="tiyu", page_size="30")), DONE]),
    "unreadable, then corrected": (air, ["<tool_call>上海</tool_call>", SHANGHAI, DONE]),
    "unknown tool, then corrected": (air, [says(call("air", city="上海")), SHANGHAI, DONE]),
    "schema, then corrected": (air, [says(call(AIR)), SHANGHAI, DONE]),
    "independent calls at once": (
        parallel,
        [says(call(AIR, city="北京"), call(AIR, city="上海")), DONE],
    ),
    "independent calls in turn": (parallel, [says(call(AIR, city="北京")), SHANGHAI, DONE]),
    "a chain": (chain, []),
    "asked, answered, called": (ask_city, ["请问是哪个城市？", SHANGHAI, DONE]),
    "asked one after the other": (
        ask_two,
        ["请问贷款金额是多少？", "年限呢？", says(call(LOAN, money=70, year=20)), DONE],
    ),
    "asked at once": (
        ask_two,
        ["请告诉我金额和年限。", says(call(LOAN, money=70, year=20)), DONE],
    ),
    "asked, not known": (ask_unknown, ["请问是哪个城市？", "那就查不了。"]),
    "nothing to call": (nothing, ["从前有座山。"]),
    "a question where nothing is to be called": (nothing, ["想听哪一类的？"]),
    "a retry": (retry, [SHANGHAI, SHANGHAI, DONE]),
    "a retry that the scenario does not list": (retry_unlisted, [SHANGHAI, SHANGHAI, DONE]),
}


@pytest.mark.parametrize(("case", "outputs"), GOOD.values(), ids=GOOD.keys())
def test_what_succeeds(case: Scenario, outputs: list[str]) -> None:
    verdict = judged(case, *(outputs or the_chain()))
    assert (verdict.error, verdict.detail) == (None, "as accepted")
    assert verdict.success


MANY = (air, nothing, air, air, chain, ask_unknown)
SAID: tuple[list[str], ...] = (
    [SHANGHAI, DONE],
    [SHANGHAI, DONE],
    ["<tool_call>", SHANGHAI, DONE],
    ["请问您想查哪个城市？"],
    [says(call("get_province_list")), DONE],
    ["请问是哪个城市？", "好的。"],
)


def bad() -> dict[str, tuple[str, Scenario, list[str]]]:
    first, second, third, _ = the_chain()
    beijing = says(call(AIR, city="北京"))
    return {
        "no call": ("no_call", air, ["上海空气很好。"]),
        "nothing said": ("no_call", air, [""]),
        "a call for nothing": ("unneeded_call", nothing, [SHANGHAI, DONE]),
        "an unknown call for nothing": ("unneeded_call", nothing, [says(call("joke")), DONE]),
        "a broken call for nothing": ("unparsable", nothing, ["<tool_call>", DONE]),
        "one call more": ("unneeded_call", air, [SHANGHAI, beijing, DONE]),
        "another tool": ("wrong_tool", air, [says(call(NEWS)), DONE]),
        "another tool besides": ("wrong_tool", air, [SHANGHAI, says(call(NEWS)), DONE]),
        "no such tool": ("unknown_tool", air, [says(call("air", city="上海")), DONE]),
        "not parsed": ("unparsable", air, ["<tool_call>上海</tool_call>", DONE]),
        "wrong type": ("schema_violation", loan, [says(call(LOAN, money="70", year=20)), DONE]),
        "not in the enum": ("schema_violation", loan, [says(call(LOAN, money=70, year=7)), DONE]),
        "null": ("schema_violation", air, [says(call(AIR, city=None)), DONE]),
        "required one absent": ("missing_argument", loan, [says(call(LOAN, money=70)), DONE]),
        "asked-for one absent": ("missing_argument", news, [says(call(NEWS)), DONE]),
        "no such parameter": ("extra_argument", air, [says(call(AIR, city="上海", x=1)), DONE]),
        "one that was not asked for": (
            "extra_argument",
            news,
            [says(call(NEWS, type="tiyu", page_size="5")), DONE],
        ),
        "another value": ("wrong_value", air, [beijing, DONE]),
        "another of two": ("wrong_value", parallel, [SHANGHAI, says(call(AIR, city="广州")), DONE]),
        "wrong id that was seen": (
            "wrong_value",
            chain,
            [first, second, says(call(WEATHER, city_id=city("苏州"), weather_date=DAY)), DONE],
        ),
        "a form that the tool refuses": (
            "schema_violation",
            chain,
            [first, second, says(call(WEATHER, city_id=city(), weather_date="2023/05/01")), DONE],
        ),
        "invented id": (
            "invented_value",
            chain,
            [first, says(call(CITIES, province_id="js")), DONE],
        ),
        "right id, not looked up": ("invented_value", chain, [second, third, DONE]),
        "ids of the same output": (
            "invented_value",
            chain,
            [first + "\n" + second, third, DONE],
        ),
        "did not wait": ("wrong_order", retry, [SHANGHAI + "\n" + SHANGHAI, DONE]),
        "the same again": ("repeated_call", air, [SHANGHAI, SHANGHAI, DONE]),
        "the same twice at once": ("repeated_call", air, [SHANGHAI + "\n" + SHANGHAI, DONE]),
        "the same again after a retry": ("repeated_call", retry, [*[SHANGHAI] * 3, DONE]),
        "another value, retried": ("wrong_value", retry_unlisted, [beijing, beijing, DONE]),
        "the same for ever": ("repeated_call", air, [SHANGHAI] * 3),
        "one of two": ("missing_call", parallel, [SHANGHAI, DONE]),
        "asked instead": ("asked_needlessly", air, ["请问您想查哪个城市？"]),
        "asked half-way": ("asked_needlessly", chain, [first, "请问是哪个省？"]),
        "asked for something else": ("asked_wrong_thing", ask_city, ["请问是哪一天？"]),
        "neither asked nor called": ("gave_up", ask_city, ["查不到。"]),
        "asked, then silent": ("gave_up", ask_city, ["请问是哪个城市？", "好的。"]),
        "asked for one of two": ("gave_up", ask_two, ["请问金额是多少？", "好的。"]),
        "gave up after an error": ("gave_up", retry, [SHANGHAI, "超时了，查不到。"]),
        "called before asking": ("invented_value", ask_city, [SHANGHAI, DONE]),
        "another tool before asking": ("wrong_tool", ask_city, [says(call(NEWS)), DONE]),
        "incomplete before asking": ("missing_argument", ask_city, [says(call(AIR)), DONE]),
        "broken before asking": ("unparsable", ask_city, ["<tool_call>", DONE]),
        "called between two questions": (
            "invented_value",
            ask_two,
            ["请问金额是多少？", says(call(LOAN, money=70, year=20)), DONE],
        ),
        "invented after all": ("invented_value", ask_unknown, ["哪个城市？", SHANGHAI, DONE]),
    }


@pytest.mark.parametrize("name", bad().keys())
def test_what_fails_and_why(name: str) -> None:
    error, case, outputs = bad()[name]
    verdict = judged(case, *outputs)
    assert verdict.error == error, verdict.detail
    assert not verdict.success
    assert verdict.detail


def test_running_out_of_steps() -> None:
    outputs = the_chain()
    assert judged(chain, *outputs[:2], max_steps=2).error == "step_limit"
    assert judged(chain, *outputs, max_steps=4).success


def test_a_call_that_is_cut_off_was_not_made() -> None:
    assert judged(air, (SHANGHAI, "length")).error == "step_limit"
    assert judged(air, (SHANGHAI[:-8], "length")).error == "unparsable"


def test_a_long_reply_is_cut_off_and_still_a_reply() -> None:
    verdict = judged(air, SHANGHAI, ("很长" * 50, "length"))
    assert verdict.success
    assert verdict.metrics["cut_off"] is True


def test_a_call_of_an_earlier_turn_is_not_repeated_needlessly() -> None:
    two = scenario(turn(gold(AIR, city="上海")), turn(gold(AIR, city="北京"), user="北京呢？"))
    beijing = says(call(AIR, city="北京"))
    assert judged(two, SHANGHAI, DONE, beijing, DONE).success
    verdict = judged(two, SHANGHAI, DONE, SHANGHAI + "\n" + beijing, DONE)
    assert (verdict.error, verdict.detail[:6]) == ("repeated_call", "turn 2")


def test_optional_calls_may_be_made_or_left_out() -> None:
    case = scenario(turn(gold(AIR, city="上海"), gold(NEWS, optional=True)))
    assert judged(case, SHANGHAI, DONE).success
    assert judged(case, SHANGHAI, says(call(NEWS)), DONE).success
    assert judged(case, says(call(NEWS)), DONE).error == "missing_call"


def test_a_code_that_the_user_said_is_not_invented() -> None:
    wanted = {"lookup": "airport_code", "name": "大连周水子"}
    flights = says(call(FLIGHTS, airport="DLC"))
    said = scenario(turn(gold(FLIGHTS, airport=wanted), user="DLC的航班"))
    part = scenario(turn(gold(FLIGHTS, airport=wanted), user="XDLC的航班"))
    assert judged(said, flights, DONE).success
    assert judged(part, flights, DONE).error == "invented_value"


def test_an_error_message_is_no_source() -> None:
    """An unknown id that an error echoes, or one refused by a time-out, was still invented."""
    case = chain.model_copy(update={"faults": (Fault(tool=CITIES, nth=1, kind="timeout"),)})
    second = the_chain()[1]
    assert judged(case, second, second, DONE).error == "invented_value"


def test_lenient_parsing_separates_format_from_competence() -> None:
    slip = f"<tool_call>{{'name': '{AIR}', 'arguments': {{'city': '上海',}}}}</tool_call>"
    strict = play(air, slip, DONE)
    lenient = reparse(strict, "hermes", lenient=True)
    assert score(air, strict, tools()).error == "unparsable"
    assert score(air, lenient, tools()).success
    assert score(air, reparse(lenient, "hermes"), tools()) == score(air, strict, tools())


def test_lenient_calls_are_checked_against_the_schema_too() -> None:
    slip = f"<tool_call>{{'name': '{AIR}', 'arguments': {{'town': '上海'}}}}</tool_call>"
    lenient = reparse(play(air, slip, DONE), "hermes", lenient=True)
    assert score(air, lenient, tools()).error == "missing_argument"


def test_the_lenient_verdict_stands_beside_the_strict_one() -> None:
    slip = f"<tool_call>{{'name': '{AIR}', 'arguments': {{'city': '上海',}}}}</tool_call>"
    wrong = f"<tool_call>{{'name': '{AIR}', 'arguments': {{'city': '北京',}}}}</tool_call>"
    played = [play(air, slip, DONE), play(air, wrong, DONE), play(air, SHANGHAI, DONE)]
    verdicts = score_both_ways(suite(air), played, "hermes")
    assert [verdict.success for verdict in verdicts] == [False, False, True]
    assert [verdict.metrics["lenient_success"] for verdict in verdicts] == [True, False, True]
    assert [verdict.error for verdict in verdicts] == ["unparsable", "unparsable", None]


def test_a_slip_that_the_model_mended_is_not_a_call_made_twice() -> None:
    slip = f"<tool_call>{{'name': '{AIR}', 'arguments': {{'city': '上海'}}}}</tool_call>"
    mended = play(air, slip, SHANGHAI, DONE)
    assert score(air, reparse(mended, "hermes", lenient=True), tools()).error == "repeated_call"
    (verdict,) = score_both_ways(suite(air), [mended], "hermes")
    assert (verdict.success, verdict.metrics["lenient_success"]) == (True, True)


def test_the_metrics_of_many_cases() -> None:
    verdicts = score_both_ways(
        suite(*(case.model_copy(update={"id": str(n)}) for n, case in enumerate(MANY))),
        [
            play(case.model_copy(update={"id": str(n)}), *outputs)
            for n, (case, outputs) in enumerate(zip(MANY, SAID, strict=True))
        ],
        "hermes",
    )
    found = aggregate(verdicts)
    assert [verdict.success for verdict in verdicts] == [True, False, True, False, False, True]
    # Called in 0, 1, 2 (in vain first) and 4; due in 0, 2, 3 and 4.
    assert found["call_precision"] == pytest.approx(3 / 4)
    assert found["call_recall"] == pytest.approx(3 / 4)
    # Asked in 3 (needlessly); due in 5 only, and asked there.
    assert found["clarification_precision"] == pytest.approx(1 / 2)
    assert found["clarification_recall"] == 1.0
    assert found["format_valid"] == pytest.approx(5 / 6)
    assert found["chain_progress"] == pytest.approx((1 + 1 + 0 + 1 / 3) / 4)
    # The right ones took 2, 3 and 2 outputs; 2, 2 and 2 are the fewest.
    assert found["steps_over_shortest"] == pytest.approx(7 / 6)
    assert found["lenient"] == pytest.approx(3 / 6)
    assert found["mentioned"] is None
    assert seconds_per_case(verdicts) == pytest.approx(0.5 * (2 + 2 + 3 + 1 + 2 + 2) / 6)


def test_metrics_of_no_case_are_none() -> None:
    assert set(aggregate([]).values()) == {None}
    assert seconds_per_case([]) is None


def test_every_error_class_has_an_example() -> None:
    shown = {error for error, _, _ in bad().values()} | {"step_limit"}
    assert shown == set(get_args(ErrorClass))


def test_metrics_of_a_chain_left_half_way() -> None:
    first, second, _, _ = the_chain()
    measured = judged(chain, first, second, DONE).metrics
    assert measured["chain_progress"] == pytest.approx(2 / 3)
    assert measured["arguments"] == 1.0
    assert measured["tool_selection"] is False
    assert (measured["steps"], measured["shortest_steps"]) == (3, 4)
    assert (measured["called"], measured["call_due"]) == (True, True)
    assert (measured["asked"], measured["ask_due"]) == (False, False)
    assert measured["completion_tokens"] == len(first) + len(second) + len(DONE)
    assert measured["seconds"] == 1.5


def test_metrics_of_wrong_arguments() -> None:
    measured = judged(parallel, SHANGHAI, says(call(AIR, city="广州")), DONE).metrics
    assert (measured["tool_selection"], measured["arguments"]) == (True, 0.5)


def test_metrics_where_nothing_is_due_are_none() -> None:
    measured = judged(nothing, "从前有座山。").metrics
    assert measured["tool_selection"] is None
    assert measured["arguments"] is None
    assert measured["chain_progress"] is None
    assert measured["mentioned"] is None
    assert measured["call_due"] is False


def test_metrics_of_questions() -> None:
    assert judged(ask_city, "请问是哪个城市？", SHANGHAI, DONE).metrics["asked"] is True
    assert judged(ask_city, "查不到。").metrics["asked"] is False
    assert judged(air, "请问是哪个城市？").metrics["asked"] is True
    assert judged(air, SHANGHAI, "要看别的城市吗？").metrics["asked"] is False


def test_mentions_are_counted_beside_the_verdict() -> None:
    case = scenario(turn(gold(AIRPORT, airport="大连"), mention=[["DLC", "dlc"]]))
    search = says(call(AIRPORT, airport="大连"))
    right, wrong = judged(case, search, "是DLC。"), judged(case, search, DONE)
    assert (right.success, right.metrics["mentioned"]) == (True, True)
    assert (wrong.success, wrong.metrics["mentioned"]) == (True, False)


def test_a_broken_format_is_counted_also_where_the_case_succeeds() -> None:
    verdict = judged(air, "<tool_call>", SHANGHAI, DONE)
    assert (verdict.success, verdict.metrics["format_valid"]) == (True, False)
    assert verdict.metrics["refused_calls"] == 1


def inline_suite() -> Suite:
    cases = [air, news, loan, parallel, chain, ask_city, ask_two, ask_unknown, nothing, retry]
    return suite(
        *(case.model_copy(update={"id": f"case-{number}"}) for number, case in enumerate(cases))
    )


def real_suite() -> Suite:
    loading = pytest.importorskip("matinee.suites")
    if not (RESOURCES / "scenarios" / "suite.yaml").is_file():
        pytest.skip("the scenarios are not there")
    loaded: Suite = loading.load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")
    return loaded


def run(which: Suite, engine: Any, form: CallForm) -> list[Verdict]:
    transcripts = run_suite(
        which, engine, subject="scripted", form=form, max_steps=8, max_new_tokens=100
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
    verdicts = run(which, NullEngine(), "hermes")
    idle = {s.id for s in which.scenarios if not any(t.calls or t.ask for t in s.turns)}
    assert {v.case for v in verdicts if v.success} == idle
    assert 0 < len(idle) < len(verdicts)


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
