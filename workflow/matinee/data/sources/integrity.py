"""What arrives is checked before it counts: checksums, files kept aside, and clean messages."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from matinee.runtime.errors import SourceError
from matinee.runtime.redaction import redact

Algorithm = Literal["sha256", "sha1", "git"]


def checksum(path: Path, algorithm: Algorithm = "sha256") -> str:
    """The file's checksum, hexadecimal; `git`: the id of its content (a blob's SHA-1)."""
    with path.open("rb") as file:
        if algorithm != "git":
            return hashlib.file_digest(file, algorithm).hexdigest()
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def cache_folder() -> Path:
    """Where downloads wait until they are whole: `MATINEE_CACHE`, or `~/.cache/matinee`."""
    if chosen := os.environ.get("MATINEE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "matinee"


def require(path: Path, algorithm: Algorithm, promised: str, origin: str) -> None:
    """Checks the file. A file that differs is kept aside, and SourceError names it."""
    found = checksum(path, algorithm)
    if found == promised:
        return
    real = path.resolve()
    aside = cache_folder() / "rejected" / f"{found[:12]}-{path.name}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(real, aside)
    if path.is_symlink():
        path.unlink()
    raise SourceError(
        f"{path.name} from {redact(origin)} has {algorithm} checksum {found}, expected "
        f"{promised}; it was kept for inspection as {aside}"
    )


def in_cache(
    path: Path, algorithm: Algorithm, promised: str, offline: bool, make: Callable[[], None]
) -> None:
    """Sees to it that the file, which `make` puts there, is in the cache and right. Raises
    SourceError."""
    if not path.exists():
        if offline:
            raise SourceError("not in the cache on this machine")
        path.parent.mkdir(parents=True, exist_ok=True)
        make()
    require(path, algorithm, promised, "the cache")


def link_or_copy(source: Path, target: Path, *, copy: bool = False) -> None:
    """A hard link, which costs nothing, or a copy: where it is asked for, and across disks."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if not copy:
        with contextlib.suppress(OSError):
            os.link(source.resolve(), target)
            return
    shutil.copyfile(source, target)


def link_all(base: Path, names: Iterable[str], folder: Path, *, copy: bool = False) -> None:
    """Links (or copies) files of `base` into `folder`, to be called when all have been checked.

    Raises SourceError for a link that leads out of `base`: the file of a stranger's choice would
    be published with the model. In a hub's cache a snapshot links to the blobs beside it.
    """
    inside = [base.resolve()]
    if inside[0].parent.name == "snapshots":
        inside.append(inside[0].parents[1] / "blobs")
    names = list(names)
    for name in names:
        real = (base / name).resolve()
        if not any(map(real.is_relative_to, inside)):
            raise SourceError(
                f"{name} is a link that leads out of the folder, to {real}. Put the file itself "
                "there, or take the link away"
            )
    for name in names:
        link_or_copy(base / name, folder / name, copy=copy)


def make_readable(folder: Path) -> None:
    """Lets everyone read the weights: safetensors writes 0600, of no use in a shared folder."""
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether the file's first bytes are these."""
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file of the folder, for `run.json`."""
    return {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": checksum(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def file_name(last: str) -> str:
    """The name under which a file with such a name at its source is kept."""
    return "data" if last in ("", "..") else last
