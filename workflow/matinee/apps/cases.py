"""Conversations as test cases: the parts of a scenario file that are written out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from matinee.messages.scenarios import Category


def due_call(tool: str, values: Mapping[str, Any], after: Sequence[int]) -> dict[str, Any]:
    """A call as a case lists it. `after`: numbers of the turn's calls that must come before."""
    # A value that is a list means "any of these": an array stands in a list of its own.
    arguments = {
        name: [value] if isinstance(value, list) else value for name, value in values.items()
    }
    return {"tool": tool, "arguments": arguments, **({"after": list(after)} if after else {})}


def category_of(turns: Sequence[Sequence[int]], asked_back: bool = False) -> Category:
    """The category that fits; only for counting, whoever edits the case may change it.

    `turns`: for each, how many calls each output made. `asked_back`: the first answer asks.
    """
    if not any(turns):
        return "no_tool"
    if len(turns) > 1:
        return "missing_answered" if asked_back and not turns[0] else "change_of_mind"
    if len(turns[0]) > 1:
        return "chain_two" if len(turns[0]) == 2 else "chain_three"
    return "single_tool" if turns[0][0] == 1 else "parallel_calls"


def as_yaml(value: object) -> str:
    """The value as people edit it."""
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100)
