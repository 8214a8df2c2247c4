"""Requests: the words of a user with the calls that fulfil them, chains resolved."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from matinee.config.synthesis import Language
from matinee.data.synthesis.catalogue import (
    Catalogue,
    CatalogueTool,
    Parameter,
    slots_needed,
)
from matinee.data.synthesis.simulator import World
from matinee.data.synthesis.values import Drawn, Setting
from matinee.data.synthesis.wording import droppable_alone, must_drop, roughen, shape, slots_of
from matinee.messages.conversations import canonical_json


@dataclass(frozen=True)
class Call:
    """One call, with the catalogue's own names."""

    tool: CatalogueTool
    values: dict[str, Any]

    @property
    def key(self) -> str:
        """The same for equal calls."""
        return f"{self.tool.name} {canonical_json(self.values)}"


@dataclass
class RequestPlan:
    """What must be called to fulfil a request.

    `levels[n]` are calls that need only results of earlier levels; the last level holds the
    request's own call. `words` has the user's word for each value; `rows` the rows among which
    a supplied value was chosen.
    """

    levels: list[list[Call]] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def final(self) -> Call:
        """The call that the request is about."""
        return self.levels[-1][-1]

    def add(self, level: int, call: Call) -> None:
        """Puts the call on its level, once."""
        while len(self.levels) <= level:
            self.levels.append([])
        if all(call.key != other.key for other in self.levels[level]):
            self.levels[level].append(call)


@dataclass(frozen=True)
class Wording:
    """A template with choices made, the values it names and those that it leaves out."""

    text: str
    given: frozenset[str]
    missing: tuple[str, ...] = ()


class RequestPlanner:
    """Draws values and resolves what other tools must supply, within one conversation."""

    def __init__(self, catalogue: Catalogue, world: World, setting: Setting) -> None:
        self._catalogue = catalogue
        self._world = world
        self._setting = setting

    def plan(self, tool: CatalogueTool, given: frozenset[str]) -> RequestPlan:
        """Values for the named parameters (optional ones that are not named stay away)."""
        plan = RequestPlan()
        self._resolve(tool, given, plan)
        return plan

    def _resolve(
        self, tool: CatalogueTool, given: frozenset[str], plan: RequestPlan
    ) -> tuple[int, Call]:
        values: dict[str, Any] = {}
        level = 0
        shared: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        for parameter in tool.parameters:
            if not parameter.required and parameter.name not in given:
                continue
            if parameter.source_tool:
                below, drawn = self._supply(parameter, given, plan, shared)
                level = max(level, below + 1)
            else:
                drawn = _draw_other(parameter, self._setting, values)
            values[parameter.name] = drawn.value
            plan.words[parameter.name] = drawn.words
        call = Call(tool, values)
        plan.add(level, call)
        return level, call

    def _supply(
        self,
        parameter: Parameter,
        given: frozenset[str],
        plan: RequestPlan,
        shared: dict[str, tuple[int, list[dict[str, Any]]]],
    ) -> tuple[int, Drawn]:
        """A value out of the supplying tool's rows, with the name by which users know it."""
        source = self._catalogue.tools[parameter.source_tool]
        spec = source.rows
        if spec is None:
            raise ValueError(f"{source.name} supplies {parameter.name} but has no rows")
        if source.name not in shared or spec.echo:
            level, call = self._resolve(source, given, plan)
            shared[source.name] = level, list(self._world.observe(source.name, call.values))
        level, rows = shared[source.name]
        row = rows.pop(self._setting.rng.randrange(len(rows)))
        plan.rows[parameter.name] = rows
        words = plan.words.pop(spec.echo) if spec.echo else str(row[spec.name])
        return level, Drawn(words, row[parameter.source_field])


def _draw_other(parameter: Parameter, setting: Setting, values: dict[str, Any]) -> Drawn:
    """A value that no other parameter has: nobody travels from a place to the same place."""
    drawn = draw(parameter, setting)
    for _ in range(8):
        if not isinstance(drawn.value, str) or drawn.value not in values.values():
            break
        drawn = draw(parameter, setting)
    return drawn


def draw(parameter: Parameter, setting: Setting) -> Drawn:
    """A value of the parameter's own maker, as text where its type is string."""
    if parameter.maker is None:
        raise ValueError(f"{parameter.name} is supplied by another tool")
    drawn = parameter.maker.draw(setting)
    if parameter.json_type == "string" and not isinstance(drawn.value, str):
        return Drawn(drawn.words, str(drawn.value))
    return drawn


def word(
    rng: random.Random,
    catalogue: Catalogue,
    tool: CatalogueTool,
    language: Language,
    noise: float,
    want: frozenset[str] = frozenset(),
    optional_share: float = 0.5,
) -> Wording:
    """A way to ask that names all that is needed, and the `want`ed optional parameters."""
    needed = slots_needed(catalogue, tool)
    fitting = [text for text in tool.ask[language] if want <= slots_of(text)]
    template = rng.choice(fitting)
    extra = sorted(slots_of(template) - needed - want)
    given = needed | want | {name for name in extra if rng.random() < optional_share}
    text = shape(rng, template, given)
    if not needed <= slots_of(text):
        text, given = shape(rng, template, slots_of(template)), slots_of(template)
    return Wording(_maybe_rough(rng, text, language, noise), given & slots_of(text))


def word_without(
    rng: random.Random,
    catalogue: Catalogue,
    tool: CatalogueTool,
    language: Language,
    noise: float,
) -> Wording | None:
    """A way to ask that leaves something needed out; None when the tool has no such way."""
    needed = slots_needed(catalogue, tool)
    ways = [
        (template, name)
        for template in tool.ask[language]
        for name in sorted(needed)
        if droppable_alone(template, name)
    ]
    if not ways:
        return None
    template, name = rng.choice(ways)
    given = needed - must_drop(template, name)
    text = shape(rng, template, given)
    missing = tuple(sorted(needed - slots_of(text)))
    return Wording(_maybe_rough(rng, text, language, noise), given & slots_of(text), missing)


def _maybe_rough(rng: random.Random, text: str, language: Language, noise: float) -> str:
    return roughen(rng, text, language) if rng.random() < noise else text
