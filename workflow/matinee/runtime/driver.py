"""What a driver (a running snakemake) checks and holds before its first job."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time as clock
from pathlib import Path
from typing import TextIO

from matinee.runtime.errors import UserError

HOLD = Path(".snakemake/matinee.lock")
LOCKS = Path(".snakemake/locks")
# Clocks of the machines that share a disk differ by less.
TOLERATED_SECONDS = 5


def require_conda() -> None:
    """Raises UserError where --use-conda is asked for and there is no conda."""
    if shutil.which("conda") is None:
        raise UserError(
            "--use-conda: there is no `conda` in the PATH. Without it: `make setup`, and then "
            "`snakemake --cores all` in that environment, on a cluster `snakemake --profile slurm "
            "--sdm env-modules` (the jobs use this environment) or `--sdm apptainer`. With it: "
            "Miniforge, https://conda-forge.org/download/, and a new shell."
        )


def require_writable(results: Path) -> None:
    """Raises UserError where the results cannot be written."""
    place = results if results.exists() else results.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(
            f"{place.resolve()} cannot be written (read-only file system, or another owner). "
            "Make it writable, or run in another folder: snakemake --directory FOLDER "
            "--configfile config.yaml."
        )


def hold(folder: Path) -> TextIO | None:
    """Holds the working folder as long as the returned file is open: one driver at a time.

    Where the last driver died on this machine (killed, power cut), the locks that Snakemake left
    are removed, so that the same command goes on. None where the file system knows no locks.
    Raises UserError while another driver is at work.
    """
    path = folder / HOLD
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"Another snakemake ({who}) works in {folder.resolve()}. Wait until it has finished, "
            "stop it, or run this one in another folder."
        ) from None
    except OSError:
        file.close()
        return None
    file.seek(0)
    last = file.read().strip()
    # A lock need not reach other machines: what a driver there left is not ours to remove.
    if last.endswith(f" on {socket.gethostname()}"):
        shutil.rmtree(folder / LOCKS, ignore_errors=True)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def mend_clock(results: Path) -> str | None:
    """Moves the times of all results back where some lie in the future; a sentence that says so.

    Snakemake refuses what is older than what it was made from. After the clock was set back that
    would be everything that is made now from what was made before. The order of times is kept.
    """
    paths = [results, *results.rglob("*")] if results.exists() else []
    times = [(path, path.lstat().st_mtime_ns) for path in paths]
    ahead = max((time for _, time in times), default=0) - clock.time_ns()
    if ahead < TOLERATED_SECONDS * 1_000_000_000:
        return None
    # Children before their folders, whose times would change with them.
    for path, time in reversed(times):
        moved = time - ahead
        os.utime(path, ns=(moved, moved), follow_symlinks=False)
    return (
        f"The newest results were {ahead // 1_000_000_000:,} s in the future: the clock was set "
        "back, or is that of another machine. The times of all results were moved back by that."
    )
