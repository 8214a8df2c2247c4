"""How to read a turn's accepted calls: in which order they come, and what must be looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matinee.messages.scenarios import Fields, GoldCall, Lookup, Null, Verbatim


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


def as_fields(value: Any) -> Fields | None:
    """Fields, also where the loader left them as a mapping."""
    if isinstance(value, Fields):
        return value
    inner = value.get("fields") if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(inner, dict) and all(isinstance(options, list) for options in inner.values()):
        return Fields(fields=inner)
    return None


def as_verbatim(value: Any) -> str | None:
    """The text of a Verbatim, also where the loader left it as a mapping."""
    if isinstance(value, Verbatim):
        return value.as_written
    if isinstance(value, dict) and set(value) == {"as_written"}:
        return str(value["as_written"])
    return None


def is_null(value: Any) -> bool:
    """Whether an accepted value is `null` itself, not absence."""
    return isinstance(value, Null) or value == {"null": True}


def written(accepted: Any) -> Any:
    """A value as a call writes it: objects with the first accepted value of each key."""
    if is_null(accepted):
        return None
    if (text := as_verbatim(accepted)) is not None:
        return text
    fields = as_fields(accepted)
    if fields is not None:
        first = {
            name: next((option for option in options if option is not None), None)
            for name, options in fields.fields.items()
        }
        return {name: written(option) for name, option in first.items() if option is not None}
    return [written(part) for part in accepted] if isinstance(accepted, list) else accepted
