"""Progress bars and one line per finished stage, for whoever watches the workflow run.

The rules send a stage's output to its log file and keep the terminal open as file descriptor 3
(`3>&2 > log 2>&1`); run by hand, a stage has no descriptor 3 and uses standard error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

TERMINAL = 3


def terminal() -> TextIO:
    """The stream that a person watches. Not to be closed."""
    # A launcher of several processes does not pass the descriptor on: it may be anything there.
    given = os.environ.get("MATINEE_TERMINAL") == str(TERMINAL) and "WORLD_SIZE" not in os.environ
    if given:
        with contextlib.suppress(OSError):
            return os.fdopen(TERMINAL, "w", encoding="utf-8", closefd=False)
    return sys.stderr


def bar(total: int, description: str, unit: str) -> tqdm[Any]:
    """A progress bar; on a stream that is no terminal it writes a line every half minute."""
    from tqdm import tqdm

    stream = terminal()
    made: tqdm[Any] = tqdm(
        total=total,
        desc=f"  {description}",
        unit=f" {unit}",
        file=stream,
        mininterval=0.5 if stream.isatty() else 30.0,
        dynamic_ncols=True,
        leave=False,
        smoothing=0.1,
    )
    return made


def say(line: str) -> None:
    """One line for the person who watches, and for the log."""
    stream = terminal()
    stream.write(line + "\n")
    stream.flush()
    if stream is not sys.stderr:
        # The log may lie on a disk that is full, which is then what is being said.
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def duration(seconds: float) -> str:
    """`7.3 s`, `2 min 05 s` or `1 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
