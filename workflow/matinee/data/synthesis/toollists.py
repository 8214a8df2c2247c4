"""Tool lists: which tools stand together, under which names and with which schemas."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from matinee.config.synthesis import Language, SynthesisSettings
from matinee.data.synthesis.catalogue import Catalogue, CatalogueTool
from matinee.data.synthesis.dates import draw_today
from matinee.data.synthesis.describing import Describer, Dialect, draw_dialect
from matinee.data.synthesis.naming import Names, mask_tools, rename_parameters
from matinee.data.synthesis.texts import Bilingual
from matinee.messages.conversations import Tool, canonical_json

# Optional parameters that many interfaces have and few users mention: names, type, default, label.
_EXTRAS: tuple[tuple[tuple[str, ...], str, Any, Bilingual], ...] = (
    (("page", "page_no", "pageNum", "p"), "integer", 1, Bilingual("页码", "page")),
    (("limit", "size", "rows", "count"), "integer", 20, Bilingual("每页条数", "results a page")),
    (("lang", "locale"), "string", "zh", Bilingual("返回语言", "language of the answer")),
    (("format", "fmt"), "string", "json", Bilingual("返回格式", "format of the answer")),
    (("sort", "order_by"), "string", "asc", Bilingual("排序方式", "order of the results")),
)


@dataclass(frozen=True)
class ToolList:
    """Tools in the order in which the prompt shows them, and what their conversations share."""

    id: str
    tools: tuple[CatalogueTool, ...]
    names: Names
    language: Language
    today: date | None
    dialect: Dialect
    rendered: tuple[Tool, ...]

    def arguments(self, tool: str, values: dict[str, Any]) -> dict[str, Any]:
        """The values under the names and in the order that the list gives the tool's parameters."""
        name = self.names.tool(tool)
        shown = next(one for one in self.rendered if one.name == name).schema["properties"]
        named = {self.names.parameter(tool, key): value for key, value in values.items()}
        return {key: named[key] for key in shown if key in named}


@dataclass
class Composer:
    """Draws tool lists so that all tools of the catalogue come up about equally often."""

    catalogue: Catalogue
    settings: SynthesisSettings
    uses: Counter[str] = field(default_factory=Counter)

    def compose(
        self, rng: random.Random, list_id: str, wanted: Iterable[tuple[CatalogueTool, ...]]
    ) -> ToolList:
        """A list with, as far as there is room, one tool out of each group of `wanted`."""
        language = _weighted(rng, self.settings.languages)
        tools = list(self._choose(rng, wanted).values())
        rng.shuffle(tools)
        names = self._names(rng, tools)
        # Drawn apart: without them, a seed gives the rows that it gave before there were any.
        layout = random.Random(f"{list_id}|layout")
        shuffled = layout.random() < self.settings.shuffled_share
        dialect = draw_dialect(rng, layout, self.settings.written_out_share)
        today = draw_today(rng) if rng.random() < self.settings.system_share else None
        describer = Describer(rng, language, dialect, names, today)
        rendered = []
        for tool in tools:
            extras = _draw_extras(layout, tool, language, self.settings.extras_share)
            shown = describer.tool(tool, extras)
            rendered.append(_with_shuffled_parameters(layout, shown) if shuffled else shown)
        return ToolList(list_id, tuple(tools), names, language, today, dialect, tuple(rendered))

    def _choose(
        self, rng: random.Random, wanted: Iterable[tuple[CatalogueTool, ...]]
    ) -> dict[str, CatalogueTool]:
        size = rng.randint(*self.settings.tools_per_list)
        chosen: dict[str, CatalogueTool] = {}
        for group in wanted:
            if group and not any(tool.name in chosen for tool in group):
                self._add(rng, chosen, group, size)
        everything = tuple(self.catalogue.tools.values())
        for _ in range(60):
            if len(chosen) >= size:
                break
            domains = {tool.domain for tool in chosen.values()}
            near = tuple(tool for tool in everything if tool.domain in domains)
            self._add(rng, chosen, near if near and rng.random() < 0.4 else everything, size)
        return chosen

    def _add(
        self,
        rng: random.Random,
        chosen: dict[str, CatalogueTool],
        group: tuple[CatalogueTool, ...],
        size: int,
    ) -> None:
        """Adds the least used of a few tools of the group, with its suppliers, if they fit."""
        drawn = rng.sample(group, min(6, len(group)))
        tool = min(drawn, key=lambda item: self.uses[item.name])
        added = [item for item in self.catalogue.closure(tool) if item.name not in chosen]
        if len(chosen) + len(added) <= size:
            for item in added:
                chosen[item.name] = item
                self.uses[item.name] += 1

    def _names(self, rng: random.Random, tools: list[CatalogueTool]) -> Names:
        if rng.random() >= self.settings.masked_share:
            return Names()
        masked = mask_tools(rng, [tool.name for tool in tools])
        if rng.random() >= self.settings.masked_parameters_share:
            return Names(masked)
        parameters = [(tool.name, item.name) for tool in tools for item in tool.parameters]
        return Names(masked, rename_parameters(rng, parameters))


def _weighted(rng: random.Random, weights: dict[Language, float]) -> Language:
    return rng.choices(list(weights), list(weights.values()))[0]


def _draw_extras(
    rng: random.Random, tool: CatalogueTool, language: Language, share: float
) -> dict[str, dict[str, Any]]:
    """Schemas, by name, of one or two parameters that nobody will ask about; mostly none."""
    if rng.random() >= share:
        return {}
    extras: dict[str, dict[str, Any]] = {}
    for names, kind, default, label in rng.sample(_EXTRAS, rng.randint(1, 2)):
        name = rng.choice(names)
        if name not in tool.args:
            told = f"，默认{default}" if language == "zh" else f", default {default}"
            extras[name] = {"type": kind, "description": label[language] + told}
            if rng.random() < 0.5:
                extras[name]["default"] = default
    return extras


def _with_shuffled_parameters(rng: random.Random, tool: Tool) -> Tool:
    """The tool with its parameters in another order, not with the most important ones first."""
    schema = tool.schema
    order = list(schema["properties"])
    rng.shuffle(order)
    properties = {name: schema["properties"][name] for name in order}
    return replace(tool, parameters=canonical_json(schema | {"properties": properties}))
