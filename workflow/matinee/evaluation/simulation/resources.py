"""The world's data files, draws that depend on nothing but their key, and what tools refuse."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, TypeVar

import yaml

from matinee.evaluation.simulation.api import ApiProblem, Refusal, echo
from matinee.messages.conversations import Tool
from matinee.runtime.places import RESOURCES

Choice = TypeVar("Choice")


@cache
def world_file(name: str) -> Any:
    """The decoded content of `resources/world/<name>.yaml`. Shared: do not change it."""
    path = RESOURCES / "world" / f"{name}.yaml"
    # The C loader reads the 400 cities ten times faster; it is missing in some builds of PyYAML.
    return yaml.load(
        path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )


@cache
def eleven_tools() -> tuple[Tool, ...]:
    """The eleven tools of `resources/tools.json`."""
    listed = json.loads((RESOURCES / "tools.json").read_text(encoding="utf-8"))
    return tuple(Tool.from_openai(tool) for tool in listed)


def share(*key: object) -> float:
    """A number in [0, 1), spread evenly over keys."""
    text = "\x1f".join(map(str, key))
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=b"matinee").digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def between(low: int, high: int, *key: object) -> int:
    """A whole number from `low` to `high`, both included."""
    return low + int(share(*key) * (high - low + 1))


def pick(choices: Sequence[Choice], *key: object) -> Choice:
    """One of the choices."""
    return choices[between(0, len(choices) - 1, *key)]


def required_page(page: int) -> None:
    """Raises Refusal where a page comes before the first, which is 1."""
    if page < 1:
        raise Refusal(ApiProblem.out_of_range, f"page应大于等于1，收到“{page}”")


def required_date(name: str, text: str) -> datetime.date:
    """The date of a `YYYY-MM-DD` text. Raises Refusal."""
    # Not fromisoformat alone: it also takes 20230501 and 2023-W18-1.
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            pass  # 2023-02-30: refused below like any other text that is no date
    raise Refusal(
        ApiProblem.out_of_range, f"{name}应为YYYY-MM-DD格式的有效日期，收到“{echo(text)}”"
    )


def required_number(name: str, text: str, low: int, high: int) -> int:
    """The whole number that a text spells, `low` to `high` included. Raises Refusal."""
    if re.fullmatch(r"[0-9]{1,6}", text) and low <= int(text) <= high:
        return int(text)
    raise Refusal(ApiProblem.out_of_range, f"{name}应为{low}到{high}之间的整数，收到“{echo(text)}”")


def required_choice(name: str, value: object, choices: Collection[Any]) -> None:
    """Raises Refusal where a value is none of the choices."""
    if value not in choices:
        allowed = "、".join(map(str, choices))
        raise Refusal(ApiProblem.out_of_range, f"{name}只能是{allowed}之一，收到“{echo(value)}”")
