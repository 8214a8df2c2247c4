"""The agent's loop: what it does with a model's outputs, and that it always ends in an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agents import NOW, QUESTION, TODAY, Outputs, Tools, answer, calls, of_kind, run
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.apps.agent.driving import serve
from matinee.apps.agent.events import (
    AgentLimits,
    Answered,
    CallMade,
    CallObserved,
    Event,
    ModelWrote,
    PlanMade,
    Reflected,
    SubtaskChanged,
    Task,
)
from matinee.apps.agent.loop import NO_RESULT, Agent
from matinee.apps.agent.planning import Planner, Procedure, ProcedureStep
from matinee.apps.agent.thinking import OMITTED
from matinee.engines.base import Completion
from matinee.messages.conversations import Message
from matinee.runtime.errors import EngineError

SOP = Planner(
    "sop",
    (
        Procedure(
            title="查天气",
            words=(("天气",),),
            steps=(
                ProcedureStep(goal="先做好", tool="good"),
                ProcedureStep(goal="再做别的", tool="other", after=(1,)),
            ),
        ),
    ),
)
PLAN = "1. 先查good\n2. 再查other"


def statuses(events: list[Event]) -> list[tuple[int, str]]:
    changed = of_kind(events, SubtaskChanged)
    return [(event.subtask.number, event.subtask.status) for event in changed]


# --- one interface, four plans ---


def test_react_calls_until_the_model_answers() -> None:
    events, _ = run([calls("good"), calls("other"), "晴，20度。"])
    assert [event.call.name for event in of_kind(events, CallMade)] == ["good", "other"]
    assert answer(events).text == "晴，20度。"
    assert answer(events).sources == ("good", "other")
    assert answer(events).complete


def test_direct_makes_one_round_of_calls_and_no_second() -> None:
    events, _ = run([calls("good"), calls("other")], planner=Planner("direct"))
    assert [event.call.name for event in of_kind(events, CallMade)] == ["good"]
    assert not answer(events).complete


def test_plan_first_works_on_each_step_and_then_writes_the_answer() -> None:
    texts = [PLAN, calls("good"), "第一步好了", calls("other"), "第二步好了", "都好了。"]
    events, _ = run(texts, planner=Planner("plan"))
    assert [part.goal for part in of_kind(events, PlanMade)[0].subtasks] == [
        "先查good",
        "再查other",
    ]
    assert statuses(events) == [(1, "running"), (1, "done"), (2, "running"), (2, "done")]
    assert [event.purpose for event in of_kind(events, ModelWrote)] == [
        "plan", "act", "act", "act", "act", "answer",
    ]  # fmt: skip
    assert answer(events).text == "都好了。"


def test_a_plan_that_cannot_be_read_becomes_one_task_and_says_so() -> None:
    events, _ = run(["我不会写计划", calls("good"), "晴。"], planner=Planner("plan"))
    made = of_kind(events, PlanMade)[0]
    assert [part.goal for part in made.subtasks] == [QUESTION]
    assert made.note
    assert answer(events).text == "晴。"


def test_a_procedure_shows_each_step_its_own_tool_and_ends_it_when_that_tool_answers() -> None:
    events, engine = run([calls("good"), calls("other"), "按规程做完了。"], planner=SOP)
    offered = [[tool["function"]["name"] for tool in asked.tools] for asked in engine.requests]
    assert offered == [["good"], ["other"], ["good", "bad", "other"]]
    assert of_kind(events, PlanMade)[0].procedure == "查天气"
    assert answer(events).text == "按规程做完了。"


def test_a_step_is_skipped_when_the_step_that_it_needs_failed() -> None:
    tools = Tools({"good": [False]})
    events, _ = run([calls("good"), "不行", "做不到。"], planner=SOP, tools=tools)
    assert statuses(events) == [(1, "running"), (1, "failed"), (2, "skipped")]
    assert tools.called == ["good"]
    assert not answer(events).complete


def test_a_step_with_a_tool_is_not_done_by_talk() -> None:
    events, _ = run(["我已经查过了。"], planner=SOP)
    assert statuses(events)[:2] == [(1, "running"), (1, "failed")]


def test_a_question_without_a_procedure_is_one_task() -> None:
    events, _ = run(["你好！"], planner=SOP, question="你好")
    assert of_kind(events, PlanMade)[0].note
    assert answer(events).text == "你好！"


# --- the tools decide the status ---


def test_a_failed_call_fails_the_subtask_unless_another_way_was_found() -> None:
    failed, _ = run([calls("bad"), "查不到。"])
    assert statuses(failed)[-1] == (1, "failed")
    recovered, _ = run([calls("bad"), calls("good"), "晴。"])
    assert statuses(recovered)[-1] == (1, "done")


def test_of_two_calls_at_once_the_one_that_failed_counts() -> None:
    events, _ = run([calls("good", "bad"), "查到一半。"])
    assert statuses(events)[-1] == (1, "failed")
    assert "bad坏了" in answer(events).missing[0]


def test_the_model_reads_what_was_wrong_with_a_broken_call() -> None:
    events, engine = run(['<tool_call>{"name": "good"', calls("good"), "晴。"])
    assert "格式错误" in engine.requests[1].messages[-1]["content"]
    assert answer(events).complete


def test_an_unknown_tool_is_an_observation() -> None:
    events, _ = run(
        [calls("nothing_like_it"), "没有这个工具。"], tools=Tools({"nothing_like_it": [False]})
    )
    assert of_kind(events, CallObserved)[0].observation.error is not None


def test_the_same_call_again_and_again_ends() -> None:
    events, engine = run([calls("good")], tools=Repeating())
    assert len(engine.requests) == 3
    assert not answer(events).complete


class Repeating(Tools):
    """Always the same result."""

    def call(self, name: str, arguments: str) -> Any:
        self.called.clear()
        return super().call(name, arguments)


def test_an_output_that_was_cut_off_is_a_failure() -> None:
    events, _ = run([Completion("天气", 5, 5, "length", 0.1)])
    assert not answer(events).complete


# --- reflection ---


def test_without_reflection_a_failure_is_final_and_the_answer_is_the_models() -> None:
    events, engine = run([calls("bad"), "大概是晴天。"])
    assert answer(events).text == "大概是晴天。"
    assert len(engine.requests) == 2


def test_reflection_tries_another_way_once_and_tells_the_model_why() -> None:
    texts = [calls("bad"), "查不到。", calls("good"), "晴。"]
    events, engine = run(texts, reflection=True)
    assert [event.again for event in of_kind(events, Reflected)] == [True]
    assert "bad坏了" in engine.requests[2].messages[-1]["content"]
    assert answer(events).text == "晴。"
    assert answer(events).complete


def test_reflection_gives_up_in_the_end_and_says_what_is_missing() -> None:
    events, _ = run(
        [calls("bad"), "查不到。"] * 9, reflection=True, limits=AgentLimits(max_attempts=3)
    )
    assert [event.again for event in of_kind(events, Reflected)] == [True, True, False]
    assert "没有完成" in answer(events).text
    assert "bad坏了" in answer(events).text
    assert QUESTION in answer(events).missing[0]


def test_a_partial_answer_keeps_what_was_found() -> None:
    texts = [
        PLAN,
        calls("good"),
        "第一步：20度",
        calls("bad"),
        "不行",
        calls("bad"),
        "不行",
        "20度。",
    ]
    events, _ = run(texts, planner=Planner("plan"), reflection=True)
    assert answer(events).text.startswith("20度。")
    assert "再查other" in answer(events).text
    assert len(answer(events).missing) == 1


# --- the conversation that the model is shown ---


def test_a_plain_question_is_shown_as_in_the_evaluation() -> None:
    _, engine = run(["晴。"])
    shown = engine.requests[0].messages
    assert [message["role"] for message in shown] == ["system", "user"]
    assert "2024-01-25" in shown[0]["content"]
    assert shown[1]["content"] == QUESTION


def test_earlier_turns_come_before_the_question() -> None:
    history = (Message("user", "你好"), Message("assistant", "你好！"))
    engine = Outputs(["晴。"])
    agent = Agent(Tools())
    task = Task(QUESTION, history=history, today=TODAY, now=NOW)
    serve(engine, {task.key: agent.play(task)}, lambda key, event: None)
    contents = [message["content"] for message in engine.requests[0].messages]
    assert contents[1:] == ["你好", "你好！", QUESTION]


def test_old_results_leave_the_context_before_it_overflows() -> None:
    class Long(Tools):
        def call(self, name: str, arguments: str) -> Any:
            seen = super().call(name, arguments)
            return seen.model_copy(update={"content": f"第{len(self.called)}次" + "长" * 300})

    limits = AgentLimits(context_tokens=900, max_rounds=4)
    _, engine = run([calls("good", n=n) for n in range(4)] + ["好了"], tools=Long(), limits=limits)
    last = [message["content"] for message in engine.requests[-1].messages]
    assert last[1] == QUESTION
    assert OMITTED in last
    assert last[-1].startswith("第4次")


def test_long_results_are_shortened_for_the_model_and_kept_whole_in_the_event() -> None:
    class Long(Tools):
        def call(self, name: str, arguments: str) -> Any:
            return super().call(name, arguments).model_copy(update={"content": "长" * 500})

    events, engine = run(
        [calls("good"), "好"], tools=Long(), limits=AgentLimits(max_observation=50)
    )
    assert len(engine.requests[1].messages[-1]["content"]) < 100
    assert len(of_kind(events, CallObserved)[0].observation.content) == 500


# --- whatever the model writes ---

OUTPUTS = st.one_of(
    st.sampled_from(
        [
            calls("good"), calls("bad"), calls("good", "bad"), calls("unknown"), calls("other"),
            PLAN, "", "   ", "晴。", "请问是哪个城市？", "<tool_call>",
            '<tool_call>{"name": 3}</tool_call>',
        ]
    ),
    st.text(max_size=30),
    st.builds(Completion, st.just("天"), st.just(5), st.just(5), st.just("length"), st.just(0.0)),
)  # fmt: skip
PLANNERS = st.sampled_from([Planner("direct"), Planner(), Planner("plan"), SOP])
LIMITS = st.builds(
    AgentLimits,
    max_steps=st.integers(1, 12),
    max_rounds=st.integers(1, 4),
    max_subtasks=st.integers(1, 4),
    context_tokens=st.integers(1, 600),
)


@settings(deadline=None, max_examples=300)
@given(
    texts=st.lists(OUTPUTS, min_size=1, max_size=8),
    planner=PLANNERS,
    limits=LIMITS,
    attempts=st.integers(0, 4),
    good=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_every_path_ends_in_one_answer_within_the_steps(
    texts: list[str | Completion],
    planner: Any,
    limits: AgentLimits,
    attempts: int,
    good: list[bool],
) -> None:
    limits = replace(limits, max_attempts=max(attempts, 1))
    events, engine = run(
        texts,
        planner=planner,
        tools=Tools({"good": good}),
        limits=limits,
        reflection=attempts > 0,
    )
    end = answer(events)
    assert len(of_kind(events, Answered)) == 1
    assert end.text.strip()
    assert len(engine.requests) == end.usage.steps == len(of_kind(events, ModelWrote))
    assert end.usage.steps <= limits.max_steps
    assert end.usage.calls == len(of_kind(events, CallMade)) == len(of_kind(events, CallObserved))
    assert end.complete == (not end.missing)
    _check_subtasks(events, max(attempts, 1))


def _check_subtasks(events: list[Event], attempts: int) -> None:
    """Every subtask ends, none is tried too often, and none that is done changes again."""
    plan = of_kind(events, PlanMade)[0]
    last = {part.number: part for part in plan.subtasks}
    for event in of_kind(events, SubtaskChanged):
        assert last[event.subtask.number].status not in ("done", "skipped")
        last[event.subtask.number] = event.subtask
        assert event.subtask.attempts <= attempts
    assert {part.status for part in last.values()} <= {"done", "failed", "skipped"}


def test_a_model_that_never_stops_calling_ends_at_the_limit() -> None:
    limits = AgentLimits(max_steps=5, max_rounds=50)
    events, engine = run([calls("good")], limits=limits)
    assert len(engine.requests) == 5
    assert answer(events).text == NO_RESULT


def test_the_last_step_is_kept_for_the_answer_of_a_plan() -> None:
    limits = AgentLimits(max_steps=4)
    events, _ = run([PLAN, calls("good")], planner=Planner("plan"), limits=limits)
    assert of_kind(events, ModelWrote)[-1].purpose == "answer"


@pytest.mark.parametrize("name", ["max_steps", "max_rounds", "max_attempts", "max_new_tokens"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        AgentLimits(**{name: 0})


# --- engines ---


def test_many_tasks_share_one_run_of_the_engine() -> None:
    engine = Outputs(["晴。"])
    agent = Agent(Tools())
    tasks = [Task(QUESTION, key=f"task {n}", today=TODAY, now=NOW) for n in range(5)]
    results = serve(engine, {task.key: agent.play(task) for task in tasks}, lambda key, event: None)
    assert list(results) == [task.key for task in tasks]
    assert {result.text for result in results.values()} == {"晴。"}


def test_an_engine_that_leaves_a_task_unfinished_is_an_error() -> None:
    class Lazy:
        def serve(self, requests: Any, reply: Any) -> None:
            pass

    task = Task(QUESTION, today=TODAY, now=NOW)
    with pytest.raises(EngineError, match="unfinished"):
        serve(Lazy(), {task.key: Agent(Tools()).play(task)}, lambda key, event: None)
