"""Was a task's question answered? What must be said, in which order what was done, and honesty."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from matinee.apps.agent.events import Answered, CallObserved, Event, ModelWrote
from matinee.apps.agent.trials.tasks import TaskQuestion
from matinee.apps.agent.trials.tools import task_world
from matinee.evaluation.gold import as_lookup
from matinee.evaluation.simulation import lookup
from matinee.evaluation.simulation.places import plain
from matinee.messages.conversations import canonical_json
from matinee.messages.scenarios import GoldCall
from matinee.runtime.errors import ScenarioError
from matinee.runtime.strict import Strict

COSTS = ("steps", "calls", "tokens", "seconds")
_NUMBER = re.compile(r"(?<![\d.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\d,]*\d)")
_DATE = re.compile(r"(\d{4})\s?[-/年.]\s?(\d{1,2})\s?[-/月.]\s?(\d{1,2})")
_LEADING_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)\D{0,3}")
_HONEST = re.compile(
    r"无法|不能|没有|没能|未能|未找到|未查|查不到|不到相关|找不到|不支持|失败|抱歉|对不起|超出|不在"
    r"|做不到|办不到|有误|错误|暂无|应为|应从|不了|没法|不可|cannot|can't|unable|sorry|not found",
    re.IGNORECASE,
)


class AskScore(Strict):
    """One answered question.

    `success`: the answer holds every fact, the order was kept, and an impossible question was
    answered honestly. `found`: the facts stood in what the tools or memory returned, whether or
    not the answer repeats them; None for a question without facts. `wrong`: the first thing that
    is wrong, or empty. `outputs`: all that the model wrote, raw. `without_room`: how many prompts
    did not fit into the model's context. `costs`: steps, calls, tokens (read and written), seconds.
    """

    question: str
    answer: str
    complete: bool
    reused: bool
    success: bool
    found: bool | None
    wrong: str
    outputs: tuple[str, ...] = ()
    without_room: int = 0
    costs: dict[str, float]


def score_ask(ask: TaskQuestion, day: datetime.date, events: Sequence[Event]) -> AskScore:
    """Judges the events of one ask, the last of which is its `Answered`."""
    answered = events[-1]
    if not isinstance(answered, Answered):
        raise ValueError("the events do not end in an answer")
    used = answered.usage
    facts = fact_values(ask, day)
    seen = [event.observation for event in events if isinstance(event, CallObserved)]
    material = [one.content for one in seen if one.error is None]
    material += [answered.text] if answered.reused else []
    written = [event for event in events if isinstance(event, ModelWrote)]
    unsaid = [fact for fact in facts if not says(answered.text, fact)]
    wrong = ""
    if unsaid:
        wrong = f"the answer does not hold {unsaid[0]}"
    elif not _in_order(ask.order, [one.tool for one in seen if one.error is None]):
        wrong = f"the order {' → '.join(ask.order)} was not kept"
    elif ask.impossible and not _HONEST.search(answered.text):
        wrong = "the answer does not say that it cannot be done"
    return AskScore(
        question=ask.question,
        answer=answered.text,
        complete=answered.complete,
        reused=answered.reused,
        success=not wrong,
        found=all(any(says(text, fact) for text in material) for fact in facts) if facts else None,
        wrong=wrong,
        outputs=tuple(event.text for event in written),
        without_room=sum(event.no_room for event in written),
        costs={
            "steps": used.steps,
            "calls": used.calls,
            "tokens": used.prompt_tokens + used.completion_tokens,
            "seconds": used.seconds,
        },
    )


def fact_values(ask: TaskQuestion, day: datetime.date) -> tuple[Any, ...]:
    """What the answer must hold, from the gold calls in a world where no tool fails.

    Raises ScenarioError where a fact leads nowhere.
    """
    source = task_world(day)
    calls = [call for group in ask.gold for call in group]
    values = []
    for fact in ask.facts:
        number, _, path = fact.partition("/")
        call = calls[int(number) - 1]
        observation = source.call(call.tool, arguments_of(call))
        values.append(_at(json.loads(observation.content)["result"], path, ask.question))
    return tuple(values)


def arguments_of(call: GoldCall) -> str:
    """A gold call's arguments as JSON text, with what it names by lookup put in."""
    values = {}
    for name, value in call.arguments.items():
        wanted = as_lookup(value)
        values[name] = value if wanted is None else lookup(wanted.lookup, wanted.name)
    return canonical_json(values)


def says(text: str, fact: Any) -> bool:
    """Whether a text holds a fact: numbers by value (a unit may differ), dates as days, text as is.

    A whole number must stand alone: 7 is not said by 17 or 7.5.
    """
    if isinstance(fact, str):
        day = _DATE.fullmatch(fact)
        if day is not None:
            wanted = tuple(map(int, day.groups()))
            return any(tuple(map(int, found)) == wanted for found in _DATE.findall(text))
        measure = _LEADING_NUMBER.fullmatch(fact)
        if measure is None:
            return plain(fact) in plain(text)
        fact = measure[1]
    wanted_number = Decimal(str(fact))
    # A full-width comma parts numbers, a plain one may part thousands.
    read = plain(text.replace("，", " "))
    found_numbers = (found.replace(",", "") for found in _NUMBER.findall(read))
    return any(Decimal(found) == wanted_number for found in found_numbers)


def _at(value: Any, path: str, question: str) -> Any:
    for key in path.split("/"):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ScenarioError(f"{question!r}: the fact {path} leads nowhere.") from error
    return value


def _in_order(order: Sequence[str], called: Sequence[str]) -> bool:
    """Whether the tools of `order` stand in `called` one after the other, others between them."""
    rest = iter(called)
    return all(any(tool == one for one in rest) for tool in order)
