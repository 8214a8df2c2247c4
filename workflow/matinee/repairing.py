"""What the lenient parser forgives in a model's JSON.

Single or typographic quotes, full-width punctuation, a comma too many, Python's constants, raw
line breaks in strings, a code fence, text behind the value, a brace missing at the end. Order:
the standard decoder on the text as it is; then on its punctuation in ASCII; then json-repair.
"""

from __future__ import annotations

import json
import re
from typing import Any

# json-repair's time can grow with the square of a broken text; longer ones are left broken.
REPAIR_LIMIT = 2_000

_FENCE = re.compile(r"^[ \t]{0,8}```[\w-]{0,20}[ \t]*$", re.MULTILINE)
_INLINE_FENCE = re.compile(r"```(?:json)?")
_FULL_WIDTH = str.maketrans("｛｝［］：，", "{}[]:,")
_QUOTES = {'"': '"', "＂": "＂", "“": "”", "”": "”", "'": "'", "＇": "＇", "‘": "’"}


class RepairError(ValueError):
    """The text is not JSON, and no usual slip explains why."""


def repair_json(text: str) -> Any:
    """The first JSON value of `text`. Raises RepairError. Linear time up to REPAIR_LIMIT."""
    bare = _INLINE_FENCE.sub(" ", text).strip()
    if not bare:
        raise RepairError("nothing where JSON was expected")
    decoder = json.JSONDecoder(strict=False)
    for candidate in (bare, ascii_punctuation(bare)):
        try:
            return decoder.raw_decode(candidate)[0]
        except (ValueError, RecursionError):
            continue
    if len(bare) > REPAIR_LIMIT:
        raise RepairError(f"not JSON, and too long to repair (over {REPAIR_LIMIT} characters)")
    return _by_library(ascii_punctuation(bare))


def _by_library(text: str) -> Any:
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    # The library meets arbitrary text here: however it fails, that is the parse error.
    except Exception as error:
        raise RepairError(f"not JSON, and not to be repaired ({type(error).__name__})") from error
    if isinstance(value, list):  # text behind the object makes it a list of what was found
        value = next((item for item in value if isinstance(item, dict)), value)
    if not isinstance(value, dict):
        raise RepairError("not a JSON object, and not to be repaired")
    return value


def ascii_punctuation(text: str) -> str:
    """Full-width and typographic punctuation outside strings, and around them, as ASCII.

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
