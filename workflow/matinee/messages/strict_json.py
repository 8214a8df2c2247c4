"""JSON as RFC 8259 has it, no key twice, finite numbers: for whatever strangers wrote."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key[:40]!r} stands twice in one object")
    return made


# Raises ValueError, and RecursionError for what is nested some thousand levels deep.
DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=_finite, parse_constant=_refuse_constant
)


def deeper_than(levels: int, value: Any) -> bool:
    """Whether lists and objects lie in one another more than so many levels deep."""
    layer: list[Any] = [value]
    for _ in range(levels + 1):
        layer = [one for one in layer if isinstance(one, dict | list)]
        if not layer:
            return False
        layer = [part for one in layer for part in (one.values() if type(one) is dict else one)]
    return True
