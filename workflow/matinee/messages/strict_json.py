"""JSON as RFC 8259 has it, no key twice, finite numbers: for whatever strangers wrote."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from matinee.messages.details import said
from matinee.messages.transcripts import Detail

SURROGATE = re.compile("[\ud800-\udfff]")


class NotStrict(ValueError):
    """JSON that says too much; `key` and `what` of the sentence in `details.yaml`."""

    def __init__(self, key: str, what: str) -> None:
        self.detail = Detail(key=key, values={"what": what[:40]})
        super().__init__(said(self.detail))


def _refuse_constant(name: str) -> NoReturn:
    raise NotStrict("json_constant", name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrict("json_too_large", text)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise NotStrict("json_key_twice", key)
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
