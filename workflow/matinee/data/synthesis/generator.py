"""The loop that makes the rows: draw categories, compose a tool list, write its conversations."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from matinee.config.synthesis import Category, SynthesisSettings
from matinee.data.synthesis.catalogue import Catalogue, load_catalogue
from matinee.data.synthesis.scenes import NEEDS, SCENES, opening
from matinee.data.synthesis.simulator import World
from matinee.data.synthesis.stage import Stage
from matinee.data.synthesis.toollists import Composer, ToolList
from matinee.messages.conversations import Conversation


def generate(settings: SynthesisSettings, catalogue_folder: Path) -> Iterator[Conversation]:
    """`settings.conversations` rows, in blocks that share one tool list.

    Labels: `list` (id of the tool list, the same for all rows of a block). The row's id is the
    seed of the simulated world that its observations come from. Raises DataError when the
    catalogue cannot be used.
    """
    catalogue = load_catalogue(catalogue_folder)
    composer = Composer(catalogue, settings)
    suited = {
        category: tuple(tool for tool in catalogue.tools.values() if need(tool))
        for category, need in NEEDS.items()
    }
    made = 0
    for number in range(settings.conversations):
        if made >= settings.conversations:
            return
        list_id = f"list-{settings.seed}-{number:05d}"
        rng = random.Random(list_id)
        count = min(settings.conversations_per_list, settings.conversations - made)
        categories = _draw_categories(rng, settings, count)
        tools = composer.compose(rng, list_id, [suited.get(item, ()) for item in categories])
        uses: Counter[str] = Counter()
        for category in categories:
            row_id = f"synthesis-{settings.seed}-{made:06d}"
            yield _write(row_id, category, settings, catalogue, tools, uses)
            made += 1


def _draw_categories(rng: random.Random, settings: SynthesisSettings, count: int) -> list[Category]:
    return rng.choices(list(settings.mix), list(settings.mix.values()), k=count)


def _write(
    row_id: str,
    category: Category,
    settings: SynthesisSettings,
    catalogue: Catalogue,
    tools: ToolList,
    uses: Counter[str],
) -> Conversation:
    """One row. Where the list cannot show the category, another one of the mix is written."""
    rng = random.Random(row_id)
    wanted = [category, *_draw_categories(rng, settings, 20), "single", "no_tool"]
    for candidate in wanted:
        world = World(catalogue, row_id, tools.language)
        stage = Stage(rng, settings, catalogue, tools, world, uses)
        if SCENES[candidate](stage):
            return Conversation(
                id=row_id,
                messages=tuple(opening(tools) + stage.messages),
                tools=tools.rendered,
                source="synthesis",
                category=candidate,
                language=tools.language,
                labels={"list": tools.id},
            )
    raise AssertionError("no_tool is always possible")
