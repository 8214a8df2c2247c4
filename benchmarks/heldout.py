"""Held-out tools of the catalogue: the split by domain, rows over them, and a model's score.

No tool, domain or small talk of one half stands in the other. A row counts as right when every
turn of the assistant is right, each written behind the right turns before it: where the row calls,
the same calls (in any order, values compared by what they mean); where it speaks, no call.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from matinee import values
from matinee.config import CallForm
from matinee.conversations import Conversation, Message
from matinee.engines.base import Completion, Engine, Request
from matinee.parsing import parse
from matinee.scoring.schemas import ToolSchemas
from matinee.synthesis import SynthesisSettings, generate
from matinee.transcripts import Parse

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
    """Rows over held-out tools, in lists of ten; names are as the catalogue has them."""
    settings = SynthesisSettings.model_validate(
        {
            "conversations": count,
            "conversations_per_list": 10,
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
    """Whether a row was right, and what the model wrote at each of its turns."""

    row: str
    group: str
    right: bool
    written: tuple[str, ...]


def evaluate(
    engine: Engine, rows: Sequence[Conversation], form: CallForm, max_new_tokens: int
) -> list[Outcome]:
    """Lets the model write every assistant turn of every row. Rows of one list are served
    together, so that their common beginning is computed once."""
    written: dict[str, str] = {}

    def keep(request: Request, completion: Completion) -> None:
        written[request.key] = completion.text

    for name in dict.fromkeys(row.labels["list"] for row in rows):
        requests = [
            Request(
                key=f"{row.id}/{turn}",
                messages=tuple(message.as_openai() for message in row.messages[:turn]),
                tools=tuple(tool.as_openai() for tool in row.tools),
                max_new_tokens=max_new_tokens,
            )
            for row in rows
            if row.labels["list"] == name
            for turn in _turns(row)
        ]
        engine.serve(requests, keep)
    return [_outcome(row, written, form) for row in rows]


def _turns(row: Conversation) -> list[int]:
    return [number for number, message in enumerate(row.messages) if message.role == "assistant"]


def _outcome(row: Conversation, written: dict[str, str], form: CallForm) -> Outcome:
    texts = tuple(written[f"{row.id}/{turn}"] for turn in _turns(row))
    schemas = ToolSchemas([tool.as_openai() for tool in row.tools])
    right = all(
        is_right(row.messages[turn], parse(form, text), schemas)
        for turn, text in zip(_turns(row), texts, strict=True)
    )
    return Outcome(row.id, GROUPS.get(row.category, row.category), right, texts)


def is_right(wanted: Message, found: Parse, schemas: ToolSchemas) -> bool:
    """Whether what was written calls what the row calls, or speaks where the row speaks."""
    if found.error is not None or len(found.calls) != len(wanted.tool_calls):
        return False
    if not wanted.tool_calls:
        return bool(found.content.strip())
    left = [(call.name, call.values) for call in wanted.tool_calls]
    for call in found.calls:
        written = (call.name, json.loads(call.arguments))
        same = next((one for one in left if _same_call(one, written, schemas)), None)
        if same is None:
            return False
        left.remove(same)
    return True


def _same_call(
    wanted: tuple[str, dict[str, Any]], found: tuple[str, dict[str, Any]], schemas: ToolSchemas
) -> bool:
    tool, arguments = wanted
    if tool != found[0] or schemas.problem(tool, found[1]) is not None:
        return False
    for name in arguments.keys() | found[1].keys():
        schema = dict(schemas.parameter(tool, name))
        # What is left unsaid means its default.
        sides = [side.get(name, schema.get("default")) for side in (arguments, found[1])]
        if not values.equal(values.kind_of(tool, name, schema), *sides):
            return False
    return True
