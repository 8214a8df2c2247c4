"""Keeps freed memory in the process, where giving it back costs more than it saves."""

from __future__ import annotations

import ctypes
import sys

# mallopt(3), glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_MEBIBYTE = 2**20


def keep_freed() -> bool:
    """Tells glibc to reuse freed blocks instead of unmapping them; False where there's no glibc.

    By default every tensor above 32 MB is mapped afresh, and each of its pages is faulted in and
    zeroed at first touch. In training on a CPU, where the same sizes come back at every step, that
    can take more time than the arithmetic (benchmarks/memory.py). Peak memory stays what it was,
    but is held until the process ends. All threads share one arena, so that what one of them has
    freed serves the others too.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    # The trim threshold is an int in mallopt; its largest value is 2 GiB.
    settings = (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 * _MEBIBYTE),
        (_M_ARENA_MAX, 1),
    )
    accepted = [library.mallopt(option, value) == 1 for option, value in settings]
    return all(accepted)
