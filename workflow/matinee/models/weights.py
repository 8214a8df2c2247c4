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
    if not index.exists():
        return
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
        outside = sorted(name for name in shards if Path(name).name != name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{index} is no index of weights ({error!r}). {advice}") from error
    if outside:
        raise DataError(f"{index} names a file outside of its folder: {outside[0]!r}. {advice}")
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
            expected = 8 + length + max(ends)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "has a damaged header, or holds no weights"
    return None if size == expected else f"has {size:,} bytes and should have {expected:,}"
