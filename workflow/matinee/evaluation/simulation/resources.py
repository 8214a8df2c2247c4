"""The data files of the simulated world, and draws that depend on nothing but their key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import yaml

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
