"""Reads the data files of the simulated world."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml

from matinee.messages.conversations import Tool
from matinee.runtime.places import RESOURCES


@cache
def world_file(name: str) -> Any:
    """The decoded content of `resources/world/<name>.yaml`. Shared: do not change it."""
    path = RESOURCES / "world" / f"{name}.yaml"
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())


@cache
def eleven_tools() -> tuple[Tool, ...]:
    """The eleven tools of `resources/tools.json`."""
    listed = json.loads((RESOURCES / "tools.json").read_text(encoding="utf-8"))
    return tuple(Tool.from_openai(tool) for tool in listed)


def _loader() -> Any:
    # The C loader reads the 400 cities ten times faster; it is missing in some builds of PyYAML.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
