"""The loop: who speaks when, what the model reads, and where it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from playing import DONE, TODAY, ListEngine, call, gold, play, says, scenario, suite, turn

from matinee.engines.base import Completion, Reply, Request
from matinee.engines.sampling import GREEDY, Sampling
from matinee.evaluation.asking import (
    MAXIMUM_ROUNDS,
    UNKNOWN_ANSWER,
    answer,
    asked_slots,
    is_question,
)
from matinee.evaluation.playing import Play, case_of, request_key, run_suite, system_message
from matinee.messages.scenarios import Fault, Slot, Turn
from matinee.messages.transcripts import Transcript
from matinee.runtime.errors import EngineError

AIR = "get_environment_air_pm"
SHANGHAI = says(call(AIR, city="上海"))
air = scenario(turn(gold(AIR, city="上海"), user="上海空气如何？"))


def roles(transcript: Transcript) -> list[str]:
    return [message["role"] for message in transcript.messages]


def test_a_call_its_result_and_a_reply_are_recorded_in_openais_form() -> None:
    transcript = play(air, "我查一下。\n" + SHANGHAI, DONE)
    system, user, assistant, tool, final = transcript.messages
    assert (system["role"], "2024-01-25" in system["content"]) == ("system", True)
    assert user == {"role": "user", "content": "上海空气如何？"}
    assert assistant["content"] == "我查一下。"
    assert assistant["tool_calls"] == [
        {"type": "function", "function": {"name": AIR, "arguments": {"city": "上海"}}}
    ]
    assert (tool["role"], tool["name"]) == ("tool", AIR)
    assert json.loads(tool["content"])["error_code"] == 0
    assert final == {"role": "assistant", "content": DONE}
    assert transcript.stop == "done"
    assert [step.text for step in transcript.steps] == ["我查一下。\n" + SHANGHAI, DONE]
    assert transcript.steps[0].observations[0].content == tool["content"]


def test_the_system_message_is_one_chinese_line_with_the_day() -> None:
    import datetime

    text = system_message(datetime.date.fromisoformat(TODAY))
    assert text == "今天是2024年1月25日（2024-01-25），星期四。"


def test_requests_carry_tools_limit_and_the_conversation_so_far() -> None:
    engine = ListEngine([SHANGHAI, DONE])
    run_suite(suite(air), engine, Play(subject="s", form="hermes", max_steps=3, max_new_tokens=77))
    first, second = engine.requests
    assert first.key == second.key == request_key("case", 0)
    assert case_of(first.key) == "case"
    assert first.max_new_tokens == 77
    assert first.tools[0]["type"] == "function"
    assert second.messages[: len(first.messages)] == first.messages


def test_calls_of_one_output_are_all_made_in_order() -> None:
    both = says(call(AIR, city="上海"), call(AIR, city="北京"))
    step = play(air, both, DONE).steps[0]
    assert ["上海" in seen.content for seen in step.observations] == [True, False]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<tool_call>上海</tool_call>", "unparsable"),
        (SHANGHAI + "\n<tool_call>{", "unparsable"),
        (says(call("air", city="上海")), "unknown_tool"),
        (says(call(AIR)), "missing_parameter"),
        (says(call(AIR, city=1)), "wrong_type"),
    ],
)
def test_what_cannot_be_called_comes_back_as_an_error(text: str, error: str) -> None:
    transcript = play(air, text, SHANGHAI, DONE)
    (observation,) = transcript.steps[0].observations
    assert observation.error == error
    assert json.loads(observation.content)["error_code"] != 0
    assert transcript.messages[3]["role"] == "tool"
    assert transcript.stop == "done"
    assert len(transcript.steps) == 3


def test_an_unparsable_output_stays_plain_text() -> None:
    broken = SHANGHAI + "\n<tool_call>{"
    assert play(air, broken, DONE).messages[2] == {"role": "assistant", "content": broken}


def test_faults_reach_the_model() -> None:
    case = air.model_copy(update={"faults": (Fault(tool=AIR, nth=1, kind="timeout"),)})
    first, second, _ = play(case, SHANGHAI, SHANGHAI, DONE).steps
    assert (first.observations[0].error, second.observations[0].error) == ("timeout", None)


def test_steps_are_bounded_per_turn() -> None:
    cities = [says(call(AIR, city=name)) for name in ("上海", "北京", "广州")]
    transcript = play(air, *cities, max_steps=3)
    assert (transcript.stop, len(transcript.steps)) == ("step_limit", 3)
    two = scenario(turn(user="一"), turn(user="二"))
    assert play(two, cities[0], DONE, cities[1], DONE, max_steps=2).stop == "done"


@pytest.mark.parametrize("text", [SHANGHAI, "<tool_call>上海"])
def test_the_same_with_the_same_result_three_times_is_a_cycle(text: str) -> None:
    assert play(air, text, text, text, max_steps=9).stop == "cycle"
    assert play(air, text, text, DONE, max_steps=9).stop == "done"


def test_the_same_call_in_two_turns_is_no_cycle() -> None:
    two = scenario(turn(user="一"), turn(user="二"))
    assert play(two, SHANGHAI, SHANGHAI, DONE, SHANGHAI, DONE, max_steps=9).stop == "done"


def test_a_call_that_was_cut_off_ends_the_case_and_is_not_made() -> None:
    transcript = play(air, (SHANGHAI, "length"))
    assert transcript.stop == "token_limit"
    assert transcript.steps[0].observations == ()
    assert roles(transcript)[-1] == "assistant"


def test_a_reply_that_was_cut_off_ends_the_case_unanswered() -> None:
    transcript = play(scenario(turn(ask={"城市": "上海"})), ("请问哪个城市？我", "length"))
    assert (transcript.stop, transcript.steps[0].reply) == ("token_limit", None)


def test_turns_follow_one_another() -> None:
    case = scenario(turn(user="一"), turn(user="二"))
    transcript = play(case, DONE, SHANGHAI, DONE)
    assert roles(transcript) == [
        "system", "user", "assistant", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert [step.turn for step in transcript.steps] == [0, 1, 1]


def test_the_scripted_user_answers_what_is_asked() -> None:
    case = scenario(turn(ask={"金额": "70万", "年限": "20年", "利率": None}))
    transcript = play(case, "请问金额和利率？", "年限是多少？", DONE)
    assert [step.reply for step in transcript.steps] == ["70万。别的我不知道。", "20年", None]
    assert roles(transcript)[-2:] == ["user", "assistant"]


def test_each_slot_is_answered_once() -> None:
    case = scenario(turn(ask={"城市": None}))
    transcript = play(case, "哪个城市？", "到底是哪个城市？")
    assert [step.reply for step in transcript.steps] == [UNKNOWN_ANSWER, None]
    assert transcript.stop == "done"


def test_rounds_of_questions_are_bounded() -> None:
    names = ["甲", "乙", "丙", "丁"]
    case = scenario(turn(ask=dict.fromkeys(names, "有")))
    transcript = play(case, *(f"{name}是什么？" for name in names))
    assert [step.reply for step in transcript.steps] == ["有"] * MAXIMUM_ROUNDS + [None]


def test_the_user_stays_silent_where_nothing_must_be_asked() -> None:
    slots = {"城市": Slot(asked_by=("城市",), answer="上海")}
    case = scenario(Turn(user="好", slots=slots))
    assert play(case, "哪个城市？").steps[0].reply is None


def test_repeats_and_order_do_not_depend_on_the_engine() -> None:
    class Backwards:
        def serve(self, requests: Iterable[Request], reply: Reply) -> None:
            for request in reversed(list(requests)):
                assert reply(request, Completion(request.key, 1, 1, "stop", 0.0)) is None

    finished: list[str] = []
    which = suite(scenario(turn(), name="a"), scenario(turn(), name="b"))
    transcripts = run_suite(
        which,
        Backwards(),
        Play(subject="s", form="action", max_steps=2, max_new_tokens=9, repeats=2),
        on_finished=lambda one: finished.append(one.case),
    )
    assert [(one.case, one.repeat) for one in transcripts] == [
        ("a", 0), ("a", 1), ("b", 0), ("b", 1),
    ]  # fmt: skip
    assert [one.steps[0].text for one in transcripts] == ["a#0", "a#1", "b#0", "b#1"]
    assert finished == ["b", "b", "a", "a"]


def test_every_output_draws_from_a_seed_of_its_own() -> None:
    def seeds(seed: int, names: str) -> dict[str, list[int | None]]:
        asked: dict[str, list[int | None]] = {}

        class Twice:
            def serve(self, requests: Iterable[Request], reply: Reply) -> None:
                for request in requests:
                    following: Request | None = request
                    while following is not None:
                        asked.setdefault(request.key, []).append(following.sampling.seed)
                        following = reply(following, Completion("好", 1, 1, "stop", 0.0))

        run_suite(
            suite(*(scenario(turn(), turn(), name=name) for name in names)),
            Twice(),
            Play(
                subject="s",
                form="hermes",
                max_steps=2,
                max_new_tokens=9,
                repeats=2,
                sampling=Sampling(0.7, 0.9, seed),
            ),
        )
        return asked

    drawn = seeds(0, "ab")
    assert len({seed for row in drawn.values() for seed in row}) == 8
    assert seeds(0, "b")["b#1"] == drawn["b#1"]
    assert seeds(1, "b")["b#1"] != drawn["b#1"]


def test_a_greedy_run_asks_for_greedy_outputs() -> None:
    engine = ListEngine([DONE])
    run_suite(suite(air), engine, Play(subject="s", form="hermes", max_steps=2, max_new_tokens=9))
    assert engine.requests[0].sampling == GREEDY


def test_an_engine_that_stops_early_is_an_error() -> None:
    class Lazy:
        def serve(self, requests: Iterable[Request], reply: Reply) -> None:
            """Answers nothing."""

    with pytest.raises(EngineError, match="1 of 1 cases unfinished, such as case#0"):
        run_suite(
            suite(air), Lazy(), Play(subject="s", form="hermes", max_steps=2, max_new_tokens=9)
        )


@pytest.mark.parametrize(
    "text",
    [
        "请问您要查哪个城市？",
        "我需要注册日期才能查询，可以告诉我吗",
        "如果您想查询PM2.5，请告诉我城市名称。",
        "您还需要提供注册日期。",
        "麻烦说下城市名",
        "哪个城市呢",
        "您的车是什么时候注册的",
        "请提供车辆类型",
        "缺少贷款年限，无法计算。",
        "Which city do you mean",
    ],
)
def test_what_asks(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "上海今天空气良好。",
        "好的，查到了。还有什么可以帮您？",
        "请问有什么可以帮您？",
        "需要我继续帮你查吗？",
        "如需查询其他城市，请告诉我。",
        "抱歉，我无法订票。如有其他问题，请随时告诉我。",
        "空气没什么问题。",
    ],
)
def test_what_does_not_ask(text: str) -> None:
    assert not is_question(text)


def test_a_slot_is_asked_for_only_by_a_question_that_names_it() -> None:
    one = turn(ask={"城市": "上海", "日期": "昨天"})
    assert asked_slots(one, "请问是哪个城市？", ()) == ("城市",)
    assert asked_slots(one, "这座城市空气很好。", ()) == ()
    assert asked_slots(one, "请问城市和日期？", ("城市",)) == ("日期",)
    assert answer(one, ("城市", "日期")) == "上海，昨天"
