"""Draws that depend on nothing but their key: the same question gets the same answer for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


def share(*key: object) -> float:
    """A number in [0, 1), spread evenly over keys."""
    text = "\x1f".join(map(str, key))
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=b"matinee").digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def between(low: int, high: int, *key: object) -> int:
    """A whole number from `low` to `high`, both included."""
    return low + int(share(*key) * (high - low + 1))


def pick(choices: Sequence[Choice], *key: object) -> Choice:
    """One of the choices."""
    return choices[between(0, len(choices) - 1, *key)]
