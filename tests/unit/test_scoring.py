"""Verdicts: every rule with a case that keeps it and cases that break it."""

from __future__ import annotations

from typing import get_args

import pytest
from cases import AIR, CITIES, FLIGHTS, GOOD, NEWS, SHANGHAI, air, bad, chain, the_chain
from playing import DONE, call, gold, judged, says, scenario, turn

from matinee.messages.scenarios import Fault, Scenario
from matinee.messages.transcripts import ErrorClass


@pytest.mark.parametrize(("case", "outputs"), GOOD.values(), ids=GOOD.keys())
def test_what_succeeds(case: Scenario, outputs: list[str]) -> None:
    verdict = judged(case, *(outputs or the_chain()))
    assert (verdict.error, verdict.detail) == (None, "as accepted")
    assert verdict.success


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


def test_every_error_class_has_an_example() -> None:
    shown = {error for error, _, _ in bad().values()} | {"step_limit"}
    assert shown == set(get_args(ErrorClass))
