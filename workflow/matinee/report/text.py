"""Model text made safe to look at: escaped, invisible characters shown, very long texts cut."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

# Controls but tab and newline; soft hyphen, Arabic letter mark, zero-width and directional marks,
# line and paragraph separators, isolates, byte-order mark, interlinear marks, tags, surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
LONGEST = 12_000
HEAD, TAIL = 8_000, 2_000


def visible(text: str) -> Markup:
    """Escaped text in which each invisible or direction-changing character is a visible mark.

    Zero-width joiners inside emoji become marks too; this is a record, not a rendering.
    """
    return Markup(_HIDDEN.sub(_mark, str(escape(text))))


def _mark(match: re.Match[str]) -> str:
    return f'<span class="hid">U+{ord(match.group()):04X}</span>'


def shortened(text: str) -> tuple[str, int, str]:
    """Head, number of characters left out, and tail; (text, 0, "") for a text of usual length."""
    if len(text) <= LONGEST:
        return text, 0, ""
    return text[:HEAD], len(text) - HEAD - TAIL, text[-TAIL:]


def plain(text: str) -> str:
    """Text without invisible characters, for attributes and labels."""
    return _HIDDEN.sub("", text)
