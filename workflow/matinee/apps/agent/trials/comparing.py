"""Runs the tasks under several configurations of the agent, all with the same model."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

from matinee.apps.agent.driving import serve
from matinee.apps.agent.events import AgentLimits, Event, PlannerName, Task
from matinee.apps.agent.loop import Agent
from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.agent.planning import Planner, read_procedures
from matinee.apps.agent.thinking import Play
from matinee.apps.agent.trials.scoring import COSTS, AskScore, score_ask
from matinee.apps.agent.trials.tasks import PROCEDURES, Kind, TaskQuestion, TaskSuite, TrialTask
from matinee.apps.agent.trials.tools import task_tools, task_world
from matinee.engines.base import Engine
from matinee.messages.parsing import CallForm
from matinee.runtime.strict import Strict

_HOUR = datetime.time(9, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class AgentSetup:
    """One way of running the agent."""

    planner: PlannerName
    memory: bool = False
    reflection: bool = False

    @property
    def name(self) -> str:
        """Such as react+memory+reflection."""
        parts = [self.planner, *["memory"] * self.memory, *["reflection"] * self.reflection]
        return "+".join(parts)


BASELINE = AgentSetup("react")
ALL = tuple(
    AgentSetup(*parts) for parts in product(get_args(PlannerName), (False, True), (False, True))
)


class Trial(Strict):
    """One task under one configuration. `costs`: sums over its asks; see `AskScore`.

    `found`: the facts of all its asks were returned by tools or memory; None where there are none.
    """

    configuration: str
    task: str
    kind: Kind
    family: str
    success: bool
    found: bool | None
    costs: dict[str, float]
    asks: tuple[AskScore, ...]


def run_configuration(
    engine: Engine,
    configuration: AgentSetup,
    suite: TaskSuite,
    *,
    folder: Path,
    form: CallForm = "hermes",
    limits: AgentLimits | None = None,
    on_finished: Callable[[Trial], object] = lambda trial: None,
) -> list[Trial]:
    """Every task of the suite, in its order. `folder`: for long-term memory; begins empty."""
    store = LongTermMemory(folder) if configuration.memory else None
    procedures = read_procedures(PROCEDURES, [tool.name for tool in task_tools()])

    seen: defaultdict[str, list[Event]] = defaultdict(list)

    def agent(ask: TaskQuestion, day: datetime.date) -> Agent:
        return Agent(
            task_world(day, ask.all_faults),
            Planner(configuration.planner, procedures),
            form=form,
            memory=store,
            reflection=configuration.reflection,
            limits=limits,
        )

    def play(task: TrialTask) -> Play[Trial]:
        scores: list[AskScore] = []
        for ask, day in zip(task.asks, task.days(suite.today), strict=True):
            now = datetime.datetime.combine(day, _HOUR)
            asked = Task(ask.question, task.id, today=day, now=now, key=task.id)
            yield from agent(ask, day).play(asked)
            scores.append(score_ask(ask, day, seen.pop(task.id)))
        trial = _trial(task, configuration.name, scores)
        on_finished(trial)
        return trial

    plays = {task.id: play(task) for task in suite.tasks}
    results = serve(engine, plays, lambda key, event: seen[key].append(event))
    return [results[task.id] for task in suite.tasks]


def _trial(task: TrialTask, configuration: str, scores: Sequence[AskScore]) -> Trial:
    sought = [score.found for score in scores if score.found is not None]
    return Trial(
        configuration=configuration,
        task=task.id,
        kind=task.kind,
        family=task.family,
        success=all(score.success for score in scores),
        found=all(sought) if sought else None,
        costs={name: sum(score.costs[name] for score in scores) for name in COSTS},
        asks=tuple(scores),
    )
