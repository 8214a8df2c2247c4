"""Whether a model's files are whole: a copy that broke off must not be computed with."""

from __future__ import annotations

import json
from pathlib import Path

from matinee.runtime.errors import DataError

INDEX = "model.safetensors.index.json"
# The format's own bound; a longer header is no header.
LONGEST_HEADER = 100_000_000


def require_whole(folder: Path, advice: str = "") -> None:
    """Raises DataError for weights that are missing, cut short or no safetensors at all.

    Reads the headers only (https://huggingface.co/docs/safetensors, "Format"): a file must be as
    long as its header says. `advice` is what to do; left out, it is to delete the folder.
    """
    advice = advice or f"Delete {folder} and give the same command again: it is made anew."
    for file in sorted(folder.glob("*.safetensors")):
        if problem := _problem(file):
            raise DataError(f"{file} {problem}. {advice}")
    index = folder / INDEX
    if index.exists():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in shards if not (folder / name).exists())
        if missing:
            raise DataError(f"{folder} lacks {', '.join(missing)}, which its index names. {advice}")


def _problem(file: Path) -> str | None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size):
            return f"is no safetensors file, or cut short ({size:,} bytes)"
        try:
            header = json.loads(opened.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return "has a damaged header"
    expected = 8 + length + max(ends, default=0)
    return None if size == expected else f"has {size:,} bytes and should have {expected:,}"
