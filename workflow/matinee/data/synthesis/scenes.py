"""The kinds of conversation: each scene writes one, or says that its list cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matinee.config.synthesis import Category
from matinee.data.synthesis import replies, wording
from matinee.data.synthesis.catalogue import CatalogueTool, Parameter
from matinee.data.synthesis.dates import system_date
from matinee.data.synthesis.requests import Call, RequestPlan, Wording, draw, word_without
from matinee.data.synthesis.stage import Stage
from matinee.data.synthesis.toollists import ToolList
from matinee.data.synthesis.values import join_words
from matinee.messages.conversations import Message

Scene = Callable[[Stage], bool]


def _self_contained(stage: Stage) -> list[CatalogueTool]:
    return [tool for tool in stage.tools.tools if not tool.supplied]


def is_coded(tool: CatalogueTool) -> bool:
    """Whether the tool alone can show a word that becomes a code."""
    return not tool.supplied and any(parameter.codes for parameter in tool.parameters)


def is_sparing(tool: CatalogueTool) -> bool:
    """Whether a complete request can leave something unsaid, or the tool needs nothing."""
    optional = any(not parameter.required for parameter in tool.parameters)
    return not tool.supplied and (optional or not tool.parameters)


def variable(tool: CatalogueTool) -> list[Parameter]:
    """Required parameters for which a user can name several values in a row."""
    return [
        item for item in tool.parameters if item.required and item.maker and item.maker.nameable
    ]


def is_repeatable(tool: CatalogueTool) -> bool:
    """Whether one request may ask the tool for two things."""
    return not tool.supplied and bool(variable(tool))


def is_chained(tool: CatalogueTool) -> bool:
    """Whether another tool must be called first."""
    return bool(tool.supplied)


def is_omitting(tool: CatalogueTool) -> bool:
    """Whether something needed can be left out of the request."""
    return bool(tool.droppable("zh") or tool.droppable("en"))


def _one_call(stage: Stage, tool: CatalogueTool, **options: Any) -> bool:
    worded = stage.word(tool, **options)
    plan = stage.planner.plan(tool, worded.given)
    stage.ask(worded.text, plan.words)
    stage.play(plan)
    return True


def single(stage: Stage) -> bool:
    """One request, one call."""
    tools = _self_contained(stage)
    return bool(tools) and _one_call(stage, stage.target(tools))


def coded(stage: Stage) -> bool:
    """A word that must become a code."""
    tools = [tool for tool in stage.tools.tools if is_coded(tool)]
    if not tools:
        return False
    tool = stage.target(tools)
    coded_names = [item.name for item in tool.parameters if item.codes]
    offered = [
        name
        for name in coded_names
        if any(name in wording.slots_of(text) for text in tool.ask[stage.language])
    ]
    want = frozenset({stage.rng.choice(offered)}) if offered else frozenset()
    return _one_call(stage, tool, want=want)


def complete(stage: Stage) -> bool:
    """Nothing optional is said, and nothing needs to be asked."""
    tools = [tool for tool in stage.tools.tools if is_sparing(tool)]
    return bool(tools) and _one_call(stage, stage.target(tools), optional_share=0.0)


def chain(stage: Stage) -> bool:
    """A parameter that other tools must supply first."""
    tools = [tool for tool in stage.tools.tools if is_chained(tool)]
    if not tools:
        return False
    tool = stage.target(tools)
    worded = stage.word(tool)
    plan = stage.planner.plan(tool, worded.given)
    if len(tool.supplied) == 1 and stage.rng.random() < 0.2:
        _fan_out(stage, plan, tool.supplied[0])
    stage.ask(worded.text, plan.words)
    stage.play(plan)
    return True


def _fan_out(stage: Stage, plan: RequestPlan, parameter: Parameter) -> None:
    """The last call for two rows of the supplying tool instead of one, when it gave several."""
    source = stage.catalogue.tools[parameter.source_tool]
    if not plan.rows[parameter.name] or source.rows is None:
        return
    row = plan.rows[parameter.name][0]
    values = {**plan.final.values, parameter.name: row[parameter.source_field]}
    plan.levels[-1].append(Call(plan.final.tool, values))
    both = [plan.words[parameter.name], str(row[source.rows.name])]
    plan.words[parameter.name] = join_words(both, stage.language)


def parallel(stage: Stage) -> bool:
    """Two independent requests in one message."""
    tools = _self_contained(stage)
    if len(tools) < 2:
        return False
    first = stage.target(tools)
    second = stage.target([tool for tool in tools if tool is not first])
    plans, texts = [], []
    for tool in (first, second):
        worded = stage.word(tool, optional_share=0.15)
        plans.append(stage.planner.plan(tool, worded.given))
        texts.append(wording.fill(worded.text, plans[-1].words))
    text = wording.join_requests(stage.rng, texts[0], texts[1], stage.language)
    stage.user(wording.manner(stage.rng, text, stage.language))
    stage.finish([plan.final for plan in plans], [plan.words for plan in plans])
    return True


@dataclass(frozen=True)
class _TwoValues:
    """A planned request, and the same with a second value for one of its parameters."""

    text: str
    parameter: Parameter
    calls: tuple[Call, Call]
    words: tuple[dict[str, str], dict[str, str]]

    @property
    def said(self) -> tuple[str, str]:
        """The user's words for both values."""
        first, second = self.words
        return first[self.parameter.name], second[self.parameter.name]


def _two_values(stage: Stage) -> _TwoValues | None:
    tools = [tool for tool in stage.tools.tools if is_repeatable(tool)]
    if not tools:
        return None
    tool = stage.target(tools)
    worded = stage.word(tool, optional_share=0.15)
    plan = stage.planner.plan(tool, worded.given)
    parameter = stage.rng.choice(variable(tool))
    name = parameter.name
    for _ in range(8):
        other = draw(parameter, stage.setting)
        if other.value != plan.final.values[name]:
            call = Call(tool, {**plan.final.values, name: other.value})
            words = (plan.words, {**plan.words, name: other.words})
            return _TwoValues(worded.text, parameter, (plan.final, call), words)
    return None


def repeated(stage: Stage) -> bool:
    """The same tool for two things in one message."""
    two = _two_values(stage)
    if two is None:
        return False
    both = join_words(list(two.said), stage.language)
    stage.ask(two.text, {**two.words[0], two.parameter.name: both})
    stage.finish([*two.calls], [*two.words])
    return True


def changed(stage: Stage) -> bool:
    """The user takes a value back in the same message."""
    two = _two_values(stage)
    if two is None:
        return False
    stage.ask(two.text, two.words[0])
    said = stage.messages.pop().content
    label = replies.plain_label(two.parameter, stage.language)
    wrong, right = two.said
    correction = stage.phrase("correct", label=label, wrong=wrong, right=right)
    separator = "" if said.endswith(("。", "？", "！")) else "，"
    separator = separator if stage.language == "zh" else " "
    stage.user(said + separator + correction)
    stage.finish([two.calls[1]], [two.words[1]])
    return True


def follow_up(stage: Stage) -> bool:
    """A second request that names only the new value."""
    two = _two_values(stage)
    if two is None:
        return False
    stage.ask(two.text, two.words[0])
    stage.finish([two.calls[0]], [two.words[0]], answer=True)
    stage.user(stage.phrase("follow_up", right=two.said[1]))
    stage.finish([two.calls[1]], [two.words[1]])
    return True


def _missing(stage: Stage) -> tuple[Wording, RequestPlan] | None:
    """A request with something left out, and the question back."""
    tools = [tool for tool in stage.tools.tools if tool.droppable(stage.language)]
    if not tools:
        return None
    tool = stage.target(tools)
    worded = word_without(
        stage.rng, stage.catalogue, tool, stage.language, stage.settings.noise_share
    )
    if worded is None:
        return None
    plan = stage.planner.plan(tool, worded.given)
    stage.ask(worded.text, plan.words)
    asked = [_parameter(stage, tool, name) for name in worded.missing]
    labels = [replies.plain_label(item, stage.language) for item in asked]
    own = asked[0].question[stage.language] if asked[0].question else None
    stage.say(wording.question_back(stage.rng, labels, own, stage.language))
    return worded, plan


def _parameter(stage: Stage, tool: CatalogueTool, name: str) -> Parameter:
    """The parameter of that name: the tool's own or a supplier's."""
    for item in reversed(stage.catalogue.closure(tool)):
        if name in item.args:
            return item.args[name]
    raise KeyError(name)


def missing_asked(stage: Stage) -> bool:
    """Ends with the question back, or with a user who does not answer it."""
    if _missing(stage) is None:
        return False
    if stage.rng.random() < 0.25:
        declined, reply = stage.rng.choice(wording.phrases("declines", stage.language))
        stage.user(declined)
        stage.say(reply)
    return True


def missing_complete(stage: Stage) -> bool:
    """Question back, answer, call."""
    found = _missing(stage)
    if found is None:
        return False
    worded, plan = found
    comma = "，" if stage.language == "zh" else ", "
    words = comma.join(plan.words[name] for name in worded.missing)
    stage.user(stage.phrase("answers", words=words))
    stage.play(plan)
    return True


def recovery(stage: Stage) -> bool:
    """The tool fails: try again when that may help, else say so."""
    tools = _self_contained(stage)
    if not tools:
        return False
    tool = stage.target(tools)
    worded = stage.word(tool)
    plan = stage.planner.plan(tool, worded.given)
    stage.ask(worded.text, plan.words)
    stage.call([plan.final])
    if stage.rng.random() < 0.6:
        error = stage.phrase("transient")
        stage.observe(plan.final, {"error": error})
        stage.finish([plan.final], [plan.words])
        return True
    error, answer = stage.rng.choice(wording.phrases("lasting", stage.language))
    stage.observe(plan.final, {"error": error})
    stage.say(answer)
    return True


def no_tool(stage: Stage) -> bool:
    """Small talk, or a request for which the list has no tool."""
    if stage.rng.random() < 0.35:
        asked, answer = stage.rng.choice(stage.catalogue.talk[stage.language])
        stage.user(asked)
        stage.say(answer)
        return True
    listed = {tool.name for tool in stage.tools.tools}
    domains = {tool.domain for tool in stage.tools.tools}
    absent = [tool for tool in stage.catalogue.tools.values() if tool.name not in listed]
    near = [tool for tool in absent if tool.domain in domains]
    tool = stage.rng.choice(near if near and stage.rng.random() < 0.4 else absent)
    worded = stage.word(tool)
    plan = stage.planner.plan(tool, worded.given)
    stage.ask(worded.text, plan.words)
    does = tool.does[stage.language]
    stage.say(stage.phrase("refuse", does=does))
    return True


_ALL = (
    *(single, coded, complete, parallel, repeated, chain),
    *(missing_asked, missing_complete, changed, follow_up, recovery, no_tool),
)
SCENES: dict[Category, Scene] = {scene.__name__: scene for scene in _ALL}  # type: ignore[misc]
NEEDS: dict[Category, Callable[[CatalogueTool], bool]] = {
    "coded": is_coded,
    "complete": is_sparing,
    "repeated": is_repeatable,
    "chain": is_chained,
    "missing_asked": is_omitting,
    "missing_complete": is_omitting,
    "changed": is_repeatable,
    "follow_up": is_repeatable,
}
"""What a tool must be like so that a list that has it can show the category."""


def opening(tools: ToolList) -> list[Message]:
    """The system message, where the list has one."""
    if tools.today is None:
        return []
    return [Message("system", system_date(tools.today, tools.language))]
