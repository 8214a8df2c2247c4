"""Texts without secrets and without marks that steer a terminal: for logs, records and pages."""

from __future__ import annotations

import os
import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
SECRET_VARIABLE = re.compile(r"TOKEN$|API_KEY$|SECRET|PASSWORD", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without tokens, passwords in addresses, and signatures in query strings."""
    for variable, secret in os.environ.items():
        if len(secret) >= 8 and SECRET_VARIABLE.search(variable):
            text = text.replace(secret, "[token]")
    text = re.sub(r"\bhf_[A-Za-z0-9]{8,}", "[token]", text)
    text = re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)


def visible(text: str) -> str:
    """Foreign text for a terminal or a page: marks that steer it are named, not obeyed.

    Controls but tab and newline, and characters that turn the direction or cannot be seen.
    """
    return _HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)
