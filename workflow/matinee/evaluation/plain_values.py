"""Whether an argument is written as it was accepted: for benchmarks that judge the writing.

Where `values` asks what a value means, this asks for the same JSON type and the same value:

- whole numbers are written without a fraction where the schema says integer (5.0 is not 5);
- text counts without case, quotes of the two ASCII kinds and composed or decomposed accents;
- separators in text (space , . / - _ * ^) do not count, except where they decide what it says:
  between digits, as a sign or a decimal point, in a path or a file name, as an exponent;
- a date in digits counts without its separators, 2024-05-01 as 20240501;
- lists count element by element, objects key by key (`Fields`).

No-break spaces, full-width letters, Chinese numerals and units are other writings here. BFCL's
checker, whose rule for text this refines, drops all separators: there "1.5" is "15". docs/bfcl.md
compares the two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from matinee.evaluation.gold import as_fields, is_null
from matinee.messages.scenarios import Fields

_NO_SCHEMA: Mapping[str, Any] = {}
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_DATE = re.compile(
    r"(?<!\d)(?:(\d{4})([-/. ])(\d{1,2})\2(\d{1,2})|(\d{1,2})([-/. ])(\d{1,2})\6(\d{4}))(?!\d)"
)
_INITIALS = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.)+(?:[^\W\d_](?![^\W_]))?")
# Separators: those that carry meaning where they stand, then every other one.
_SEPARATORS = re.compile(
    r"""
      (?P<numbers>(?<=\d)[ ,./\-_*^]+(?=\d))   # 1.5, 1/2, 555-1234, 3*4
    | (?P<sign>(?<![^\W_])[-.](?=\d))          # -5, .5
    | (?P<name>(?<=[^\W_])\.(?=[^\W_]))        # file.txt
    | (?P<path>[/^])                           # a/b, m/s, /home, x^2
    | [ ,./\-_*^]
    """,
    re.VERBOSE,
)


def equal(schema: Mapping[str, Any], accepted: Any, found: Any) -> bool:
    """Whether a JSON value is written as an accepted one; `schema` is that of the parameter.

    Never raises on JSON values.
    """
    if is_null(accepted):
        return found is None
    fields = as_fields(accepted)
    if fields is not None:
        return isinstance(found, dict) and _same_fields(schema, fields, found)
    if isinstance(accepted, str):
        return isinstance(found, str) and wording(accepted) == wording(found)
    if isinstance(accepted, bool) or isinstance(found, bool):
        return accepted is found
    if isinstance(accepted, int | float) and isinstance(found, int | float):
        return accepted == found and not _fraction_of_integer(schema, accepted, found)
    if isinstance(accepted, list):
        return isinstance(found, list) and _same_list(schema, accepted, found)
    return type(accepted) is type(found) and bool(accepted == found)


def wording(text: str) -> str:
    """The text without what does not count; equal for texts that say the same alike."""
    plain = unicodedata.normalize("NFC", text.casefold()).replace("'", '"')
    plain = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), plain)
    plain = _DATE.sub(_digits_of, plain)
    plain = _INITIALS.sub(lambda letters: letters[0].replace(".", ""), plain)
    return _SEPARATORS.sub(_meaning_of, plain.replace("**", "^"))


def _meaning_of(separator: re.Match[str]) -> str:
    if separator.lastgroup == "numbers":
        return "".join(separator[0].split()) or " "
    return separator[0] if separator.lastgroup else ""


def _digits_of(date: re.Match[str]) -> str:
    parts = [part for part in date.groups() if part is not None and part.isdigit()]
    return "".join(part.zfill(2) for part in parts)


def _fraction_of_integer(schema: Mapping[str, Any], accepted: float, found: float) -> bool:
    integer = schema.get("type") == "integer" and isinstance(accepted, int)
    return integer and isinstance(found, float)


def _same_list(schema: Mapping[str, Any], accepted: list[Any], found: list[Any]) -> bool:
    items = schema.get("items")
    inner = items if isinstance(items, Mapping) else _NO_SCHEMA
    return len(accepted) == len(found) and all(
        equal(inner, one, other) for one, other in zip(accepted, found, strict=True)
    )


def _same_fields(schema: Mapping[str, Any], fields: Fields, found: dict[str, Any]) -> bool:
    properties = schema.get("properties", _NO_SCHEMA)
    if not found.keys() <= fields.fields.keys():
        return False
    for name, options in fields.fields.items():
        if name not in found:
            if None not in options:
                return False
            continue
        due = properties.get(name, _NO_SCHEMA)
        if not any(equal(due, one, found[name]) for one in options if one is not None):
            return False
    return True
