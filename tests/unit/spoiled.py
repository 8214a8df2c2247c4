"""Sound input files with random harm done to them: to their text, or to a value in them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import yaml

STRANGE: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1e300,
        10**30,
        "",
        " ",
        "null",
        "\u202e",
        "x" * 5000,
        "江苏",
        "2024-02-30",
    ),
    *([], [[]], [None], {}, {"": None}, {"$ref": "#"}, {"$ref": "#/x"}, {"$ref": "file:///x"}),
    *({"type": "object"}, {"type": ["string", "null"]}, {"pattern": "("}, {"pattern": "^(a|a)*$"}),
    *({"null": True}, {"as_written": 3}, {"lookup": "city_id", "name": "x"}, {"fields": {"a": 1}}),
    *({"oneOf": []}, {"items": [{}]}, {"required": "x"}, {"enum": []}, {"nullable": True}),
)
PIECES = (
    *(
        "\t",
        "\0",
        "\ufeff",
        "&a ",
        "*a",
        "<<: *a\n",
        "!!python/object:x ",
        "---\n",
        "? ",
        ": ",
        "- ",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\ud800",
        "\\u0000",
        ".inf",
        "1e999",
        "9" * 500,
        "#",
        "%YAML 9\n",
    ),
    *("[" * 200, "\udcff", "|\n", "\r", ",", "~", "yes", "0x1f", "1:30"),
)


def spoiled(value: Any, seed: int, *, as_json: bool) -> bytes:
    """The value as a JSON or YAML file, harmed once to thrice."""
    draw = random.Random(seed)
    value = json.loads(json.dumps(value))
    for _ in range(draw.randrange(3)):
        _harm(value, draw)
    text = (
        json.dumps(value, ensure_ascii=draw.random() < 0.5, indent=1)
        if as_json
        else yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    )
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        a, b = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + draw.randrange(80))
        text = text[:a] + draw.choice(("", text[a:b] * 2, draw.choice(PIECES), "\n")) + text[b:]
    content = text.encode("utf-8", "surrogatepass")
    return content if draw.random() < 0.97 else text.encode("utf-16", "surrogatepass")


def _harm(value: Any, draw: random.Random) -> None:
    """Changes one place: another value, a key renamed or taken out, a place copied elsewhere."""
    owner, key = draw.choice(list(_places(value)))
    if draw.random() < 0.25:
        del owner[key]
    elif draw.random() < 0.2 and isinstance(owner, dict):
        owner[draw.choice((key + "x", "type", "tool", "after", "enum", ""))] = owner.pop(key)
    elif draw.random() < 0.3:
        other, name = draw.choice(list(_places(value)))
        owner[key] = json.loads(json.dumps(other[name]))
    else:
        owner[key] = copy.deepcopy(draw.choice(STRANGE))  # or later harm would change the table


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inside:
        yield value, key
        if isinstance(part, dict | list):
            yield from _places(part)
    if not value:
        yield {"x": 1}, "x"
