"""How to read a turn's accepted calls: in which order they come, and what must be looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matinee.scenarios import GoldCall, Lookup


def levels(calls: Sequence[GoldCall]) -> tuple[tuple[int, ...], ...]:
    """Positions of the calls to make, grouped: a group needs only what earlier groups return.

    Optional calls are left out unless a required one comes after them. The fewest model outputs
    that make all calls are as many as there are groups. The order must be free of circles.
    """
    depths: dict[int, int] = {}

    def depth(position: int) -> int:
        if position not in depths:
            depths[position] = 1 + max(map(depth, calls[position].after), default=-1)
        return depths[position]

    for position, call in enumerate(calls):
        if not call.optional:
            depth(position)
    groups: list[list[int]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for position in sorted(depths):
        groups[depths[position]].append(position)
    return tuple(tuple(group) for group in groups)


def as_lookup(value: Any) -> Lookup | None:
    """A Lookup, also where the loader left it as a mapping."""
    if isinstance(value, Lookup):
        return value
    if isinstance(value, dict) and set(value) == {"lookup", "name"}:
        return Lookup.model_validate(value)
    return None
