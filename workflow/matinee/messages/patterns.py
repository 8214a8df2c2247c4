"""Regular expressions as JSON Schema means them (ECMA-262), in bounded time.

Source of the syntax: ECMA-262, "RegExp (Regular Expression) Objects", with the u flag where it
gives a meaning and leniently where it would refuse.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import regex

_SECONDS = 0.05  # a search looks at its clock now and then, and so ends within about a second
_LONGEST = 4000
_WORD = "A-Za-z0-9_"
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "f": "\f", "0": "\0"}
_EDGE = rf"(?:(?<![{_WORD}])(?=[{_WORD}])|(?<=[{_WORD}])(?![{_WORD}]))"
_CLASSES = {"d": "[0-9]", "D": "[^0-9]", "w": f"[{_WORD}]", "W": f"[^{_WORD}]"}
_CLASSES |= {"s": r"[\s\ufeff]", "S": r"[^\s\ufeff]"}
_ASSERTIONS = {"b": _EDGE, "B": f"(?!{_EDGE})", "A": r"\A", "Z": r"\Z", "z": r"\Z"}
_TOKEN = re.compile(
    r"\\(?:u\{(?P<point>[0-9A-Fa-f]{1,6})\}"
    r"|u(?P<pair>[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|u(?P<unit>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})|c(?P<control>[A-Za-z])"
    r"|(?P<property>[pP]\{[A-Za-z_=]+\})|k<(?P<name>\w+)>|(?P<number>[1-9][0-9]?)"
    r"|(?P<escaped>.))"
    r"|(?P<quantifier>\{[0-9]+(?:,[0-9]*)?\})|(?P<plain>.)",
    re.DOTALL,
)


class PatternError(ValueError):
    """The pattern is none that can be read."""


def check_pattern(pattern: str) -> None:
    """Raises PatternError where a pattern cannot be used."""
    _compiled(pattern)


def found(pattern: str, text: str) -> bool:
    """Whether a pattern matches somewhere in a text. Raises TimeoutError where that takes long."""
    return _compiled(pattern).search(text, timeout=_SECONDS) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    if len(pattern) > _LONGEST:
        raise PatternError(f"a pattern of {len(pattern)} characters; at most {_LONGEST}")
    try:
        return regex.compile(_translated(pattern), regex.VERSION1)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        said = str(error) or type(error).__name__
        raise PatternError(f"the pattern {pattern!r} cannot be read: {said}") from error


def _translated(pattern: str) -> str:
    """An ECMA pattern as the `regex` package writes it (version 1)."""
    made: list[str] = []
    in_class = False
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise PatternError(f"the pattern {pattern!r} ends in a backslash")
        start, position = position, token.end()
        plain = token["plain"]
        if plain is None:
            made.append(_escape(token, in_class=in_class))
        elif in_class:
            if plain == "]":
                in_class = False
                made.append("]")
            elif plain == "-":
                is_range = (
                    pattern[start - 1] not in "[^-" and pattern[position : position + 1] != "]"
                )
                made.append("-" if is_range else r"\-")
            else:
                made.append(_literal(plain))
        elif plain == "[":
            opening = "[^" if pattern.startswith("[^", start) else "["
            position = start + len(opening)
            if pattern.startswith("]", position):  # nothing, or anything
                position += 1
                made.append("(?s:.)" if opening == "[^" else "(?!)")
            else:
                in_class = True
                made.append(opening)
        else:
            made.append(
                {".": r"[^\n\r\u2028\u2029]", "^": r"\A", "$": r"\Z", "{": r"\{"}.get(plain, plain)
            )
    return "".join(made)


def _literal(text: str) -> str:
    return str(regex.escape(text))


def _escape(token: re.Match[str], *, in_class: bool) -> str:
    code = token["point"] or token["unit"] or token["byte"]
    if code is not None:
        if int(code, 16) > 0x10FFFF:
            raise PatternError(f"{token[0]!r} is no character")
        return _literal(chr(int(code, 16)))
    if token["pair"] is not None:
        high, low = (int(part, 16) for part in token["pair"].split("\\u"))
        return _literal(chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)))
    if token["control"] is not None:
        return _literal(chr(ord(token["control"]) % 32))
    if token["name"] is not None:
        return f"(?P={token['name']})"
    if token["property"] is not None or token["number"] is not None:
        return token[0]
    if token["quantifier"] is not None:
        return _literal(token[0]) if in_class else token[0]
    escaped = token["escaped"]
    if escaped in _CLASSES:
        return _CLASSES[escaped]
    if escaped in _CONTROLS:
        return _literal(_CONTROLS[escaped])
    if in_class and escaped == "b":
        return r"\x08"
    if not in_class and escaped in _ASSERTIONS:
        return _ASSERTIONS[escaped]
    return _literal(escaped)
