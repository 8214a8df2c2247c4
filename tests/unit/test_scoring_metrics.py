"""What is measured beside the verdict: metrics, and the lenient reading."""

from __future__ import annotations

import pytest
from cases import (
    AIR,
    AIRPORT,
    SHANGHAI,
    air,
    ask_city,
    ask_unknown,
    chain,
    nothing,
    parallel,
    retry,
    the_chain,
)
from playing import DONE, call, gold, judged, play, says, scenario, suite, tools, turn

from matinee.evaluation.scoring import aggregate, reparse, score, score_both_ways, seconds_per_case

MANY = (air, nothing, air, air, chain, ask_unknown)
SAID: tuple[list[str], ...] = (
    [SHANGHAI, DONE],
    [SHANGHAI, DONE],
    ["<tool_call>", SHANGHAI, DONE],
    ["请问您想查哪个城市？"],
    [says(call("get_province_list")), DONE],
    ["请问是哪个城市？", "好的。"],
)


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
    (verdict,) = score_both_ways(suite(air), [play(air, slip, SHANGHAI, DONE)], "hermes")
    assert (verdict.success, verdict.metrics["lenient_success"]) == (True, True)


def test_the_lenient_verdict_is_judged_alone() -> None:
    """A call that only the forgiving parser sees is one too many where nothing is due."""
    bare = f"{{'name': '{AIR}', 'arguments': {{'city': '上海'}}}}"
    (verdict,) = score_both_ways(suite(nothing), [play(nothing, bare)], "hermes")
    assert (verdict.error, verdict.metrics["lenient_success"]) == ("call_in_other_form", False)
    loose = play(nothing, f"Action：{AIR}\nAction Input：{{}}", form="action")
    (verdict,) = score_both_ways(suite(nothing), [loose], "action")
    assert verdict.metrics["lenient_success"] is False


def test_the_first_try_counts_apart() -> None:
    refused = says(call(AIR, town="上海"))
    assert judged(air, SHANGHAI, DONE).metrics["first_try"] is True
    verdict = judged(air, refused, SHANGHAI, DONE)
    assert (verdict.success, verdict.metrics["first_try"]) == (True, False)
    assert judged(air, "<tool_call>", SHANGHAI, DONE).metrics["first_try"] is False
    assert judged(retry, SHANGHAI, SHANGHAI, DONE).metrics["first_try"] is True


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
