"""The scripted engines: what they write, and that it goes the whole way through the loop."""

from __future__ import annotations

import pytest
from playing import gold, scenario, suite, turn

from matinee.evaluation.gold import levels
from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scripted import NULL_ANSWER, ConstantEngine, GoldEngine
from matinee.messages.parsing import CallForm
from matinee.messages.scenarios import Scenario
from matinee.messages.transcripts import Transcript

AIR, NEWS = "get_environment_air_pm", "get_toutiao_news"
PROVINCES, CITIES = "get_province_list", "get_cities_list"
JIANGSU = {"lookup": "province_id", "name": "江苏"}


def gold_run(case: Scenario, form: CallForm = "hermes") -> Transcript:
    which = suite(case)
    (transcript,) = run_suite(
        which, GoldEngine(which, form), Play(subject="g", form=form, max_steps=8, max_new_tokens=9)
    )
    return transcript


def called(transcript: Transcript) -> list[list[str]]:
    return [[call.name for call in step.parse.calls] for step in transcript.steps]


@pytest.mark.parametrize("form", ["hermes", "action"])
def test_independent_calls_come_at_once_and_dependent_ones_in_turn(form: CallForm) -> None:
    case = scenario(
        turn(gold(PROVINCES), gold(AIR, city="上海"), gold(CITIES, after=[0], province_id=JIANGSU))
    )
    transcript = gold_run(case, form)
    assert called(transcript) == [[PROVINCES, AIR], [CITIES], []]
    assert all(seen.error is None for step in transcript.steps for seen in step.observations)


def test_the_first_accepted_value_is_taken_and_null_is_absence() -> None:
    case = scenario(turn(gold(NEWS, type=[None, "tiyu"], page=[None])))
    assert gold_run(case).steps[0].parse.calls[0].arguments == '{"type": "tiyu"}'


def test_all_missing_slots_are_asked_for_in_one_question() -> None:
    case = scenario(turn(gold(AIR, city="上海"), ask={"城市": "上海", "日期": "今天"}))
    transcript = gold_run(case)
    assert transcript.steps[0].reply == "上海，今天"
    assert called(transcript) == [[], [AIR], []]


def test_the_reply_mentions_what_it_should() -> None:
    case = scenario(turn(mention=[["PEK", "pek"], ["首都"]]))
    assert gold_run(case).steps[-1].text == "结果是：PEK，首都。"


def test_optional_calls_are_made_only_where_a_value_is_not_known() -> None:
    needed = gold(CITIES, province_id=JIANGSU)
    unknown = scenario(turn(gold(PROVINCES, optional=True), needed))
    assert called(gold_run(unknown)) == [[PROVINCES], [CITIES], []]
    known = scenario(turn(gold(PROVINCES)), turn(gold(PROVINCES, optional=True), needed))
    assert called(gold_run(known)) == [[PROVINCES], [], [CITIES], []]


def test_levels_leave_out_optional_calls_that_nothing_waits_for() -> None:
    a, b = gold(PROVINCES, optional=True), gold(NEWS)
    assert levels([a, b]) == ((1,),)
    assert levels([a, b, gold(CITIES, after=[0])]) == ((0, 1), (2,))
    assert levels([]) == ()


def test_null_says_one_plain_sentence_per_turn() -> None:
    case = scenario(turn(gold(AIR, city="上海")), turn(ask={"城市": "上海"}))
    which = suite(case)
    (transcript,) = run_suite(
        which, ConstantEngine(), Play(subject="n", form="hermes", max_steps=8, max_new_tokens=9)
    )
    assert [step.text for step in transcript.steps] == [NULL_ANSWER] * 2
    assert all(step.reply is None for step in transcript.steps)
