"""Held-out tools of the catalogue: the split by domain, rows over them, and a model's score.

No tool, domain or small talk of one half stands in the other.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import yaml

from matinee.data.synthesis import SynthesisSettings, generate
from matinee.messages.conversations import Conversation
from matinee.messages.rendering import Renderer
from matinee.models.attention import PackedLayout, use_layouts
from matinee.models.packing import shared_groups
from matinee.training.loss import collate

Half = Literal["train", "held_out"]

# Every fourth domain, in the order of their names, is held out.
EVERY, FIRST = 4, 1
# Categories of rows as the table shows them.
GROUPS = {
    "single": "one call",
    "coded": "one call",
    "complete": "one call",
    "parallel": "several calls",
    "repeated": "several calls",
    "chain": "chain",
    "missing_complete": "missing parameter",
    "no_tool": "none fits",
}
# Positions whose losses are computed at a time: a large vocabulary makes logits large.
BLOCK = 64
# The least probability that is told from 0.
SMALLEST = 1e-6
# Short descriptions, nothing beside the parameters: what makes lists long is not compared.
PLAIN_LISTS = {"written_out_share": 0.0, "extras_share": 0.0, "shuffled_share": 0.0}
MIX = {
    "single": 8,
    "coded": 6,
    "complete": 6,
    "parallel": 12,
    "repeated": 8,
    "chain": 20,
    "missing_complete": 20,
    "no_tool": 20,
}


def split_catalogue(catalogue: Path, half: Half, folder: Path) -> Path:
    """Writes one half of the catalogue to `folder`: its domains, its small talk, all word lists."""
    folder.mkdir(parents=True)
    shutil.copy(catalogue / "_values.yaml", folder)
    talk = yaml.safe_load((catalogue / "_talk.yaml").read_text(encoding="utf-8"))
    chosen = {language: _half(pairs, half) for language, pairs in talk.items()}
    text = yaml.safe_dump(chosen, allow_unicode=True)
    (folder / "_talk.yaml").write_text(text, encoding="utf-8")
    for path in _half(sorted(catalogue.glob("[!_]*.yaml")), half):
        shutil.copy(path, folder)
    return folder


def _half(entries: Sequence[Any], half: Half) -> list[Any]:
    return [
        entry
        for number, entry in enumerate(entries)
        if (number % EVERY == FIRST) == (half == "held_out")
    ]


def held_out_rows(catalogue: Path, count: int, seed: int) -> list[Conversation]:
    """Rows over held-out tools, four to a list; names are as the catalogue has them."""
    settings = SynthesisSettings.model_validate(
        {
            "conversations": count,
            "conversations_per_list": 4,
            "tools_per_list": (3, 4),
            "masked_share": 0.0,
            "answer_share": 0.0,
            "system_share": 0.7,
            **PLAIN_LISTS,
            "mix": MIX,
            # Seeds of training start at 1.
            "seed": 1000 + seed,
        }
    )
    return list(generate(settings, catalogue))


@dataclass(frozen=True)
class Outcome:
    """How a model took one row.

    `nats`: the mean over the row's turns of -log p(doing right), see `evaluate`. `right`: at each
    turn the right thing was the most probable one.
    """

    row: str
    tools: str
    group: str
    nats: float
    right: bool


def evaluate(model: Any, renderer: Renderer, rows: Sequence[Conversation]) -> list[Outcome]:
    """Judges every turn of the assistant behind the right turns before it, without generating.

    Where the row calls, doing right is the whole text of its calls: p is the product over its
    tokens, and right means that greedy decoding would have written it to the letter. Where the row
    speaks, doing right is not to begin a call: p = 1 - p(first token of a call).
    Rows of one list are computed together, their common beginning once.
    """
    use_layouts(model)
    model.eval()
    opening = renderer.call_opening("tool")[0]
    found: list[Outcome] = []
    for name in dict.fromkeys(row.labels["list"] for row in rows):
        mine = [row for row in rows if row.labels["list"] == name]
        found += _judge(model, renderer, mine, opening)
    return found


def _judge(
    model: Any, renderer: Renderer, rows: Sequence[Conversation], opening: int
) -> Iterator[Outcome]:
    import torch

    encoded = [renderer.row(row) for row in rows]
    pairs = [(row.ids, row.mask) for row in encoded]
    batch = collate(pairs, "shared_prefix", 0)
    with torch.inference_mode():
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            layout=PackedLayout(batch["groups"]),
            logits_to_keep=batch["sources"],
            use_cache=False,
        ).logits[0]
        targets = batch["targets"]
        losses = torch.cat(
            [
                torch.nn.functional.cross_entropy(part.float(), wanted, reduction="none")
                for part, wanted in zip(logits.split(BLOCK), targets.split(BLOCK), strict=True)
            ]
        ).tolist()
        likeliest = logits.argmax(dim=-1)
        calling = (logits[:, opening] - logits.logsumexp(dim=-1)).exp().tolist()
    hits = (likeliest == targets).tolist()
    calls = (likeliest == opening).tolist()
    place = 0
    for number in (member for _, members in shared_groups(pairs) for member in members):
        row = rows[number]
        turns = [message for message in row.messages if message.role == "assistant"]
        lengths = [len(list(run)) for kept, run in itertools.groupby(encoded[number].mask) if kept]
        nats, right = [], []
        for turn, length in zip(turns, lengths, strict=True):
            end = place + length
            if turn.tool_calls:
                assert int(targets[place]) == opening, "calls begin with another token"
                nats.append(sum(losses[place:end]))
                right.append(all(hits[place:end]))
            else:
                nats.append(-math.log(max(SMALLEST, 1 - calling[place])))
                right.append(not calls[place])
            place = end
        group = GROUPS.get(row.category, row.category)
        yield Outcome(row.id, row.labels["list"], group, fmean(nats), all(right))
