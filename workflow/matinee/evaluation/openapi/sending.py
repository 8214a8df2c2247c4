"""How the arguments of an operation are spelled in its address (OpenAPI 3, "Style Values")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

# Between the parts of a list that is one value.
_BETWEEN = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}
STYLES = {
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "path": ("simple", "label", "matrix"),
}


@dataclass(frozen=True)
class Spelling:
    """`style` and `explode` as the document gives them; `as_json`: the parameter has `content`."""

    style: str
    explode: bool
    as_json: bool = False


def query(spellings: Mapping[str, Spelling], values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The query's names and texts, not yet encoded; null is left out."""
    return [
        pair
        for name, value in values.items()
        if name in spellings and value is not None
        for pair in _pairs(name, value, spellings[name])
    ]


def _pairs(name: str, value: Any, how: Spelling) -> Iterator[tuple[str, str]]:
    if how.as_json:
        yield name, json.dumps(value, ensure_ascii=False)
    elif isinstance(value, dict):
        if how.style == "deepObject":
            yield from ((f"{name}[{key}]", text(part)) for key, part in value.items())
        elif how.explode:
            yield from ((key, text(part)) for key, part in value.items())
        else:
            yield name, _BETWEEN[how.style].join(_flat(value))
    elif isinstance(value, list):
        if how.explode or how.style == "deepObject":
            yield from ((name, text(part)) for part in value)
        else:
            yield name, _BETWEEN[how.style].join(map(text, value))
    else:
        yield name, text(value)


def path_part(name: str, value: Any, how: Spelling) -> str:
    """What stands in the path for a parameter, encoded so that it stays one part."""
    if isinstance(value, dict) and how.explode:
        parts = [f"{_coded(key)}={_coded(part)}" for key, part in value.items()]
    else:
        whole: Sequence[Any] = _flat(value) if isinstance(value, dict) else value
        parts = [_coded(part) for part in (whole if isinstance(whole, list) else [whole])]
    if how.style == "label":
        return "." + ("." if how.explode else ",").join(parts)
    if how.style == "matrix":
        if how.explode and not isinstance(value, dict):
            return "".join(f";{name}={part}" for part in parts)
        return ";" + (";".join(parts) if how.explode else f"{name}={','.join(parts)}")
    return ",".join(parts)


def text(value: Any) -> str:
    """A value as it stands in an address or a form: true, not True."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _coded(value: Any) -> str:
    return quote(text(value), safe="")


def _flat(value: Mapping[str, Any]) -> list[str]:
    return [text(part) for pair in value.items() for part in pair]
