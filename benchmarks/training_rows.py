"""Token rows that every system in benchmarks/training.py trains on, and the file they travel in.

Tokens and not text: each system spells prompts in its own way, and would train on something else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(WORKFLOW))

CATALOGUE = WORKFLOW / "resources/catalogue"
TEMPLATE = "chatml_hermes"
Row = tuple[list[int], list[int]]


def published_rows(model: Path, file: Path, count: int, cutoff: int) -> list[Row]:
    """The first rows of a sharegpt file, such as glaive_toolcall_en_demo.json."""
    from matinee.data.readers import read_dataset

    conversations = read_dataset("sharegpt", [file], source=file.stem, on_bad_row="skip")
    return tokenized(model, conversations, count, cutoff)


def glaive_like_rows(model: Path, count: int, cutoff: int) -> list[Row]:
    """Made rows in the manner of glaive: English, one or two tools, a list of its own to each."""
    return synthesized(
        model,
        {
            "conversations": count,
            "conversations_per_list": 1,
            "tools_per_list": [1, 2],
            "languages": {"en": 1.0},
            "answer_share": 1.0,
        },
        cutoff,
    )


def shared_list_rows(model: Path, count: int, cutoff: int) -> list[Row]:
    """Made rows for people's own tools: eleven tools to a list, twenty conversations to each."""
    return synthesized(
        model,
        {
            "conversations": count,
            "conversations_per_list": 20,
            "tools_per_list": [11, 11],
        },
        cutoff,
    )


def synthesized(model: Path, settings: dict[str, Any], cutoff: int) -> list[Row]:
    from matinee.data.synthesis import SynthesisSettings, generate

    made = generate(SynthesisSettings.model_validate(settings), CATALOGUE)
    return tokenized(model, made, settings["conversations"], cutoff)


def tokenized(model: Path, conversations: Iterable[Any], count: int, cutoff: int) -> list[Row]:
    from transformers import AutoTokenizer

    from matinee.messages.rendering import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(model), TEMPLATE)
    cut = (row for one in conversations for row in renderer.rows_within([one], cutoff)[0])
    return list(islice(((row.ids, row.mask) for row in cut), count))


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    with file.open("w", encoding="ascii") as lines:
        for ids, mask in rows:
            lines.write(json.dumps({"ids": ids, "mask": mask}) + "\n")


def read_rows(file: Path) -> Iterator[Row]:
    with file.open(encoding="ascii") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["ids"], row["mask"]
