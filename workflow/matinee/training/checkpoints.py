"""Checkpoints that survive a kill: which are whole, and which to go on from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from matinee.runtime import records
from matinee.runtime.errors import DataError

COMPLETE = "complete"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end and is still whole."""
    named = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"\D+-\d+", path.name)]
    return next(filter(_is_whole, sorted(named, key=step_of, reverse=True)), None)


def discard_broken(folder: Path) -> None:
    """Removes what a kill left half-written: Trainer counts it when it deletes old checkpoints."""
    for path in folder.glob("checkpoint-*"):
        if not path.is_dir():
            path.unlink()
        elif not _is_whole(path):
            shutil.rmtree(path)


def discard_run(folder: Path) -> None:
    """Removes a finished run's checkpoints, and what abandoned runs of its variant and seed left.

    Folders are named VARIANT-sSEED-SETTINGS-ROWS, the last two being hashes; other names stay.
    """
    shutil.rmtree(folder, ignore_errors=True)
    hashes = r"-[0-9a-f]{16}-[0-9a-f]{8}"
    if named := re.fullmatch(f"(.+){hashes}", folder.name):
        for other in folder.parent.glob("*"):
            if re.fullmatch(re.escape(named[1]) + hashes, other.name):
                shutil.rmtree(other, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which it was written."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def mark_complete(checkpoint: Path) -> None:
    """Notes every file of a finished checkpoint with its size."""
    files = {
        path.relative_to(checkpoint).as_posix(): path.stat().st_size
        for path in checkpoint.rglob("*")
        if path.is_file()
    }
    files.pop(COMPLETE, None)
    records.write_json(checkpoint / COMPLETE, {"files": files})


def _is_whole(checkpoint: Path) -> bool:
    try:
        files = records.read_json(checkpoint / COMPLETE)["files"]
        return all((checkpoint / name).stat().st_size == size for name, size in files.items())
    except (DataError, OSError, KeyError, TypeError, AttributeError):
        return False
