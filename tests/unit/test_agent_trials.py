"""The tasks on which ways of running the agent are compared, and how they are judged."""

from __future__ import annotations

import datetime
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from agents import Outputs
from trial_gold import TrialGoldEngine

from matinee.apps.agent.events import Answered, CallObserved
from matinee.apps.agent.planning import procedure_for, read_procedures
from matinee.apps.agent.trials.comparing import ALL, AgentSetup, Trial, run_configuration
from matinee.apps.agent.trials.scoring import fact_values, says, score_ask
from matinee.apps.agent.trials.tables import as_markdown, compare
from matinee.apps.agent.trials.tasks import KINDS, PROCEDURES, TaskQuestion, TaskSuite, read_tasks
from matinee.apps.agent.trials.tools import task_tools, task_world
from matinee.engines.base import Completion
from matinee.evaluation.scripted import ConstantEngine
from matinee.messages.conversations import ToolCall
from matinee.messages.scenarios import GoldCall
from matinee.runtime.errors import UserError

DAY = datetime.date(2024, 1, 25)


@cache
def suite() -> TaskSuite:
    return read_tasks()


def trials(configuration: AgentSetup, folder: Path, engine: Any = None) -> list[Trial]:
    engine = engine if engine is not None else TrialGoldEngine(suite(), "hermes")
    return run_configuration(engine, configuration, suite(), folder=folder)


# --- the tasks ---


def test_there_are_at_least_sixty_tasks_and_some_of_every_kind() -> None:
    kinds = Counter(task.kind for task in suite().tasks)
    assert sum(kinds.values()) >= 60
    assert all(kinds[kind] >= 10 for kind in KINDS)


# Memory and reflection together hold what either adds.
WAYS = [c for c in ALL if c.planner != "direct" and c.memory == c.reflection]


@pytest.mark.parametrize("configuration", WAYS, ids=lambda way: way.name)
def test_a_policy_that_knows_the_way_does_every_task(
    configuration: AgentSetup, tmp_path: Path
) -> None:
    failed = {
        trial.task: [score.wrong for score in trial.asks]
        for trial in trials(configuration, tmp_path)
        if not trial.success
    }
    assert failed == {}


def test_one_round_of_calls_is_not_enough_for_most_tasks(tmp_path: Path) -> None:
    done = [trial.task for trial in trials(AgentSetup("direct"), tmp_path) if trial.success]
    assert len(done) < len(suite().tasks) / 2


def test_saying_something_polite_does_no_task(tmp_path: Path) -> None:
    run = trials(AgentSetup("react"), tmp_path, ConstantEngine())
    assert [trial.task for trial in run if trial.success] == []


def test_memory_saves_steps_and_answers_during_an_outage(tmp_path: Path) -> None:
    without = {t.task: t for t in trials(AgentSetup("react"), tmp_path / "a")}
    with_memory = {t.task: t for t in trials(AgentSetup("react", memory=True), tmp_path / "b")}
    assert with_memory["repeat-past-1"].costs["steps"] < without["repeat-past-1"].costs["steps"]
    assert with_memory["repeat-outage-1"].asks[1].reused
    assert not any(score.reused for trial in without.values() for score in trial.asks)


def test_what_is_live_is_never_reused_and_differs_on_the_second_day(tmp_path: Path) -> None:
    run = {t.task: t for t in trials(AgentSetup("react", memory=True), tmp_path)}
    for task in suite().tasks:
        days = task.days(suite().today)
        for number, ask in enumerate(task.asks):
            if not ask.live or number == 0:
                continue
            assert not run[task.id].asks[number].reused, task.id
            before = fact_values(task.asks[number - 1], days[number - 1])
            assert fact_values(ask, days[number]) != before, task.id


def test_every_fact_of_a_task_can_be_read_from_a_tool() -> None:
    for task in suite().tasks:
        for ask, day in zip(task.asks, task.days(suite().today), strict=True):
            assert len(fact_values(ask, day)) == len(ask.facts)


def test_procedures_name_tools_that_exist_and_fit_their_tasks() -> None:
    procedures = read_procedures(PROCEDURES, [tool.name for tool in task_tools()])
    for task in suite().tasks:
        if task.kind == "procedure":
            found = procedure_for(procedures, task.asks[0].question)
            assert found is not None
            assert [step.tool for step in found.steps] == list(task.asks[0].order)


def test_a_tool_that_is_down_fails_every_time() -> None:
    ask = TaskQuestion(question="?", down=("get_air_station",))
    source = task_world(DAY, ask.all_faults)
    errors = [source.call("get_air_station", '{"city": "苏州"}').error for _ in range(20)]
    assert set(errors) == {"server_error"}


def test_a_task_file_with_an_unknown_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("today: 2024-01-25", encoding="utf-8")
    (tmp_path / "chain.yaml").write_text(
        "kind: chain\ntasks: [{id: a, family: a, asks: [{question: b, fact: [c]}]}]",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match=r"chain\.yaml: tasks\.0\.asks\.0\.fact"):
        read_tasks(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {title: a, words: [[b]], steps: [{goal: c, tool: nothing}]}", "nothing"),
        ("- {title: a, words: [[b]], steps: [{goal: c, after: [1]}]}", "earlier steps"),
        ("- {title: a, words: [[b]], steps: []}", "steps"),
        ("- {title: a, word: [[b]], steps: [{goal: c}]}", "word"),
        ("]", "cannot be read"),
    ],
)
def test_a_procedure_that_cannot_be_followed_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "procedures.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_procedures(path, ["get_air_station"])


# --- scoring ---


@pytest.mark.parametrize(
    ("text", "fact", "said"),
    [
        ("白天28℃，阴", "28℃", True),
        ("白天28度", "28℃", True),
        ("零下12度是-12℃", "-12℃", True),
        ("白天128℃", "28℃", False),
        ("白天28.5℃", "28℃", False),
        ("月供3,970.37元", 3970.37, True),
        ("月供3970.370元", 3970.37, True),
        ("月供3970元", 3970.37, False),
        ("航班SC1130，PM2.5为124。", 124, True),
        ("2026年1月26日", "2026-01-26", True),
        ("2026-01-26", "2026-01-26", True),
        ("2026-01-27", "2026-01-26", False),
        ("由天聚地合（苏州）科技股份有限公司持有", "天聚地合(苏州)科技股份有限公司", True),
        ("没有说", "多云", False),
    ],
)
def test_what_an_answer_says(text: str, fact: Any, said: bool) -> None:
    assert says(text, fact) is said


def observed(name: str, arguments: str = '{"city": "苏州"}') -> CallObserved:
    seen = task_world(DAY).call(name, arguments)
    return CallObserved(1, 1, ToolCall(name, arguments), seen, 0.0)


AIR = GoldCall(tool="get_environment_air_pm", arguments={"city": "苏州"})


def test_a_fact_that_was_found_and_not_said_is_found_and_no_success() -> None:
    ask = TaskQuestion(question="?", gold=((AIR,),), facts=("1/0/PM2.5",))
    score = score_ask(ask, DAY, [observed("get_environment_air_pm"), Answered("好的", True)])
    assert (score.success, score.found) == (False, True)


def test_a_fact_that_was_guessed_is_said_and_not_found() -> None:
    ask = TaskQuestion(question="?", gold=((AIR,),), facts=("1/0/PM2.5",))
    value = fact_values(ask, DAY)[0]
    score = score_ask(ask, DAY, [Answered(f"PM2.5是{value}", True)])
    assert (score.success, score.found) == (True, False)


def test_where_nothing_is_to_be_found_nothing_counts_as_found() -> None:
    ask = TaskQuestion(question="?", gold=(), facts=(), impossible=True)
    score = score_ask(ask, DAY, [Answered("无法完成", False)])
    assert (score.success, score.found) == (True, None)
    none_sought = trial("react", 1, True, 2).model_copy(update={"found": None})
    assert compare([[none_sought]], "react").rows[0].found == (0, 0)


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        (["get_environment_air_pm", "get_air_station"], True),
        (["get_environment_air_pm", "find_city_id", "get_air_station"], True),
        (["get_air_station", "get_environment_air_pm"], False),
        (["get_environment_air_pm"], False),
    ],
)
def test_the_order_of_a_procedure_counts(made: list[str], kept: bool) -> None:
    ask = TaskQuestion(question="?", order=("get_environment_air_pm", "get_air_station"))
    events = [*(observed(name) for name in made), Answered("好的", True)]
    assert score_ask(ask, DAY, events).success is kept


@pytest.mark.parametrize(
    ("text", "honest"), [("抱歉，查不到。", True), ("好的，已经订好了。", False)]
)
def test_what_cannot_be_done_must_be_said(text: str, honest: bool) -> None:
    ask = TaskQuestion(question="?", impossible=True)
    assert score_ask(ask, DAY, [Answered(text, True)]).success is honest


def test_what_the_model_wrote_is_kept_raw(tmp_path: Path) -> None:
    run = {t.task: t for t in trials(AgentSetup("react"), tmp_path)}
    outputs = run["chain-weather-1"].asks[0].outputs
    assert len(outputs) == run["chain-weather-1"].costs["steps"]
    assert outputs[0].startswith("<tool_call>")


def test_prompts_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    nothing = Outputs([Completion("", 9000, 0, "length", 0.1)])
    silent = Outputs([Completion("", 9, 0, "stop", 0.1)])
    for engine, expected in ((nothing, True), (silent, False)):
        run = trials(AgentSetup("react"), tmp_path, engine)
        for ask in (ask for trial in run for ask in trial.asks):
            assert ask.without_room == (len(ask.outputs) if expected else 0)


# --- the comparison ---


def trial(name: str, number: int, success: bool, steps: int) -> Trial:
    return Trial(
        configuration=name,
        task=f"task {number}",
        kind="chain",
        family=f"family {number // 2}",
        success=success,
        found=success,
        costs={"steps": steps, "calls": 1, "tokens": 15, "seconds": 2.0},
        asks=(),
    )


def test_configurations_are_compared_on_the_same_tasks() -> None:
    before = [trial("react", n, n % 2 == 0, 2) for n in range(20)]
    after = [trial("sop", n, True, 3) for n in range(20)]
    found = compare([before, after], "react")
    pair = found.pairs[0]
    assert (pair.gained, pair.lost, pair.difference) == (10, 0, 0.5)
    assert pair.p == pytest.approx(2 * 0.5**10)
    assert pair.costs["steps"] == (1.0, 1.0, 1.0)
    assert found.rows[1].successes == 20
    assert "| sop | 20/20" in as_markdown(found)
    assert [row.found for row in found.rows] == [(10, 20), (20, 20)]
    assert "+10/−0" in as_markdown(found)


def test_runs_of_different_tasks_are_not_compared() -> None:
    before = [trial("react", n, True, 2) for n in range(4)]
    with pytest.raises(ValueError, match="different tasks"):
        compare([before, [trial("sop", n, True, 2) for n in range(3)]], "react")
