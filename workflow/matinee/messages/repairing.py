"""What the lenient parser forgives in a model's JSON.

Single or typographic quotes, full-width punctuation, a comma too many, Python's constants, raw
line breaks in strings, a code fence, text behind the value, a brace missing at the end. Order:
the standard decoder on the text as it is; then on its punctuation and digits in ASCII; then
json-repair. What is right in the text is so never changed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from matinee.messages.transcripts import Detail

# json-repair's time can grow with the square of a broken text; longer ones are left broken.
REPAIR_LIMIT = 2_000

_FENCE = re.compile(r"^[ \t]{0,8}```[\w-]{0,20}[ \t]*$", re.MULTILINE)
# What may stand before a value and between two.
_GAP = re.compile(r"(?:[\s,]|```[a-zA-Z]{0,20})*")
_STRING_OR_BRACE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_FULL_WIDTH = str.maketrans("｛｝［］：，０１２３４５６７８９．－", "{}[]:,0123456789.-")
_QUOTES = {'"': '"', "＂": "＂", "“": "”", "”": "”", "'": "'", "＇": "＇", "‘": "’"}
_DECODER = json.JSONDecoder(strict=False)


class RepairError(ValueError):
    """The text is not JSON, and no usual slip explains why; `detail` in `details.yaml`."""

    def __init__(self, key: str, **values: str | int) -> None:
        super().__init__(key)
        self.detail = Detail(key=key, values=dict(values))


def read_values(text: str, start: int) -> tuple[list[Any], int]:
    """The JSON value at `start`, the objects that follow it directly, and where the last one ends.

    What is not JSON as it is written ends the reading; nothing is repaired.
    """
    values: list[Any] = []
    end = start
    while not values or goes_on(text, end):
        try:
            value, end = _DECODER.raw_decode(text, _after_gap(text, end))
        except (ValueError, RecursionError):
            break
        values.append(value)
    return values, end


def goes_on(text: str, end: int) -> bool:
    """Whether a further object begins where a value has ended."""
    return text.startswith(("{", "｛"), _after_gap(text, end))


def repair_values(text: str) -> list[Any]:
    """The first JSON value of `text` and the objects that follow it directly.

    Raises RepairError. Linear time in the text's length, each object up to REPAIR_LIMIT.
    """
    values, end = read_values(text, 0)
    if values and not goes_on(text, end):
        return values
    text, end = ascii_punctuation(text[end:]), 0
    while not values or goes_on(text, end):
        more, end = read_values(text, end)
        if not more:
            # One object at a time: of two that are alike the library keeps only the last.
            begin = _after_gap(text, end)
            end = _end_of_object(text, begin)
            more = _repaired(text[begin:end])
        values += more
    return values


def _after_gap(text: str, start: int) -> int:
    gap = _GAP.match(text, start)
    return gap.end() if gap else start


def _end_of_object(text: str, start: int) -> int:
    """Where the braces that open after `start` are closed; the text's end where they are not."""
    depth = 0
    for found in _STRING_OR_BRACE.finditer(text, start):
        if found[0] in ("{", "["):
            depth += 1
        elif found[0] in ("}", "]"):
            depth -= 1
            if depth <= 0:
                return found.end()
    return len(text)


def _repaired(text: str) -> list[Any]:
    """The objects of a text of ASCII punctuation that is not JSON."""
    bare = text.strip().removesuffix("```").rstrip()
    if not bare:
        raise RepairError("json_missing")
    if len(bare) > REPAIR_LIMIT:
        raise RepairError("json_too_long", number=REPAIR_LIMIT)
    return _by_library(bare)


def _by_library(text: str) -> list[Any]:
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    # The library meets arbitrary text here: however it fails, that is the parse error.
    except Exception as error:
        raise RepairError("json_hopeless", what=type(error).__name__) from error
    # Text behind the object makes it a list of what was found.
    parts = value if isinstance(value, list) else [value]
    found = [part for part in parts if isinstance(part, dict)]
    if not found:
        raise RepairError("json_no_object")
    return found


def ascii_punctuation(text: str) -> str:
    """Full-width digits and punctuation outside strings, and quotes around them, as ASCII.

    Inside a string every character stays; an ASCII quote in a string that other quotes enclose
    is escaped. Strings in single quotes become strings in double quotes.
    """
    out: list[str] = []
    closing: str | None = None
    escaped = False
    for character in text:
        if closing is None:
            closing = _QUOTES.get(character)
            out.append('"' if closing else character.translate(_FULL_WIDTH))
        elif escaped:
            # \' is no JSON escape: the quote needs none inside double quotes.
            out.append("'" if character == "'" else "\\" + character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == closing:
            closing = None
            out.append('"')
        else:
            out.append('\\"' if character == '"' else character)
    return "".join(out)


def close_fences(text: str, lenient: bool) -> str:
    """The text without surrounding space and, lenient, without the lines of a code fence."""
    return (_FENCE.sub("", text) if lenient else text).strip()
