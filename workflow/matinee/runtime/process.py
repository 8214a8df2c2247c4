"""A stage as a process: in the right environment, ended with its driver, alone at its work."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from matinee.runtime import progress
from matinee.runtime.errors import UserError

CONDA = "MATINEE_CONDA"
DRIVER = "MATINEE_DRIVER"
STOPPED = 128 + signal.SIGTERM


def begin() -> None:
    """What every stage does first. Raises UserError in the wrong environment."""
    require_environment()
    # So that `finally` blocks run, and nothing half-written stays beside the artefacts.
    signal.signal(signal.SIGTERM, _stop)
    stop_with_driver()


def _stop(number: int, frame: Any) -> NoReturn:
    raise SystemExit(STOPPED)


def require_environment() -> None:
    """Raises UserError where --use-conda is on, but this is not the Python of its environment.

    Snakemake does not notice an activation that failed: the job would run with whatever Python
    comes first in the PATH, and other versions than the pinned ones.
    """
    folder = os.environ.get(CONDA)
    if folder and not Path(sys.prefix).resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"This job should run in the conda environment below {folder}, but runs in "
            f"{sys.prefix}: the activation failed. Try `conda activate` on this machine with an "
            "environment of that folder; delete the folder to have it made anew."
        )


def stop_with_driver() -> None:
    """Sends this process SIGTERM when the Snakemake that started it is gone, even killed.

    Otherwise a stage whose driver was killed would compute on unseen, beside the one that the
    next driver starts. Where the system has no process descriptors (only Linux has), nothing.
    """
    driver = os.environ.get(DRIVER, "")
    if not driver or not hasattr(os, "pidfd_open"):
        return
    try:
        watched = os.pidfd_open(int(driver))
    except (OSError, ValueError):
        # Another process namespace: a container cannot see its driver.
        return

    def watch() -> None:
        select.select([watched], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch-driver", daemon=True).start()


@contextlib.contextmanager
def sole(work: Path) -> Iterator[bool]:
    """Holds a piece of work, named by a path, for this process; yields whether another had it.

    Waits while another process holds it, on this machine or, where the file system knows locks,
    on another one. The lock ends with the process.
    """
    lock = work.with_name(f"{work.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with lock.open("a+") as file:
            waited = _acquire(file.fileno(), lock, waited) or waited
            if _is_current(file.fileno(), lock):
                try:
                    yield waited
                finally:
                    lock.unlink(missing_ok=True)
                return


def _acquire(descriptor: int, lock: Path, told: bool) -> bool:
    """Takes the lock; True when it had to wait."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not told:
            progress.say(f"waiting: another process works on {lock.stem}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    except OSError:
        # A file system without locks: taken on trust.
        return False
    return False


def _is_current(descriptor: int, lock: Path) -> bool:
    """Whether the locked file is still the one under that name: its holder deletes it."""
    try:
        return os.fstat(descriptor).st_ino == lock.stat().st_ino
    except FileNotFoundError:
        return False
