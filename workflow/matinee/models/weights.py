"""A model's weight files: what they hold, and whether they are whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.runtime.errors import DataError

INDEX = "model.safetensors.index.json"
# The format's own bound; a longer header is no header.
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Entry:
    """One tensor: its file, type name in safetensors, shape, and where it lies, in bytes."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def require_whole(folder: Path, advice: str = "") -> None:
    """Raises DataError for weights that are missing, cut short or no safetensors at all.

    Reads the headers only. `advice` is what to do; left out, it is to delete the folder.
    """
    read_entries(folder, advice)


def read_entries(folder: Path, advice: str = "") -> list[Entry]:
    """Every tensor of a single-file or sharded safetensors folder, in file order.

    Raises DataError as `require_whole` does.
    """
    advice = advice or f"Delete {folder} and give the same command again: it is made anew."
    try:
        index = _read_index(folder)
        # Files beside those of the index are looked at too: a copy may have broken off there.
        named = sorted({folder / name for name in index.values()})
        files = sorted({*folder.glob("*.safetensors"), *named})
        found = {file: _read_header(file) for file in files}
        held = {(entry.file.name, entry.name) for entries in found.values() for entry in entries}
        for tensor, name in index.items():
            if (name, tensor) not in held:
                raise _Broken(f"{folder / name} lacks {tensor}, which the index has there")
    except _Broken as error:
        raise DataError(f"{error}. {advice}") from None
    return [entry for file in named or files for entry in found[file]]


class _Broken(Exception):
    """What is wrong with which file."""


def _read_index(folder: Path) -> dict[str, str]:
    """The file of each tensor; empty where there is no index."""
    path = folder / INDEX
    if not path.exists():
        return {}
    try:
        named = json.loads(path.read_bytes())["weight_map"]
        for name in named.values():
            if Path(name).name != name:
                raise _Broken(f"{path} names a file outside of its folder: {name!r}")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _Broken(f"{path} is no index of weights") from None
    missing = sorted({name for name in named.values() if not (folder / name).exists()})
    if missing:
        raise _Broken(f"{folder} lacks {', '.join(missing)}, which its index names")
    return dict(named)


def _read_header(file: Path) -> list[Entry]:
    """The tensors by their place (https://huggingface.co/docs/safetensors, "Format")."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise _Broken(f"{file} is no safetensors file, or cut short ({size:,} bytes)")
        try:
            header = json.loads(opened.read(length))
            entries = [
                _entry(name, file, described, 8 + length)
                for name, described in header.items()
                if name != "__metadata__"
            ]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise _Broken(f"{file} has a damaged header") from None
    if not entries:
        raise _Broken(f"{file} holds no weights")
    entries.sort(key=lambda entry: entry.offset)
    expected = 8 + length
    for entry in entries:
        if entry.offset != expected or entry.size < 0:
            raise _Broken(f"{file} has a damaged header")
        expected += entry.size
    if size != expected:
        raise _Broken(f"{file} has {size:,} bytes and should have {expected:,}")
    return entries


def _entry(name: str, file: Path, described: dict[str, Any], start: int) -> Entry:
    first, last = map(int, described["data_offsets"])
    shape = tuple(map(int, described["shape"]))
    return Entry(name, file, str(described["dtype"]), shape, start + first, last - first)
