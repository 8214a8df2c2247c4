"""Raw rows of JSON, JSON Lines and Parquet files, one by one, with their numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from matinee.data.readers.base import Numbered
from matinee.runtime.errors import DataError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")
BLOCK_CHARACTERS = 1 << 20
LONGEST_ELEMENT = 64 << 20


def data_files(folder: Path) -> list[Path]:
    """The data files of a fetched folder, in the order in which they are read."""
    # Not rglob(): what comes out of Snakemake's cache are links to folders.
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    ]
    return sorted(path for path in found if path.suffix in SUFFIXES and path.name != "run.json")


def read_rows(path: Path) -> Iterator[Numbered]:
    """The rows of a file; what it is (Parquet, JSON array, JSON Lines) is seen in its content.

    Rows are read as they are needed. Raises DataError where the rest cannot be read at all.
    """
    with path.open("rb") as file:
        beginning = file.read(4096)
    if beginning.startswith(b"PAR1"):
        yield from _parquet(path)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as text:
            if beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                yield from _array(path, text)
            else:
                yield from _lines(text)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}). Convert the file to UTF-8.") from error


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=512):
                for value in batch.to_pylist():
                    number += 1
                    yield Numbered(number, value)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({error}). Delete it and fetch it again."
        ) from error


def _lines(text: TextIO) -> Iterator[Numbered]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            yield Numbered(number, json.loads(line))
        except ValueError as error:
            yield Numbered(number, problem=f"not JSON ({error})")


def _array(path: Path, text: TextIO) -> Iterator[Numbered]:
    """The elements of a JSON array, decoded one at a time from a moving window of the file."""
    decoder = json.JSONDecoder()
    window = text.read(BLOCK_CHARACTERS)
    position = window.index("[") + 1
    number = 0
    while True:
        position, window = _skip(window, position, text, " \t\r\n,")
        if window[position : position + 1] == "]":
            return
        while True:
            try:
                value, end = decoder.raw_decode(window, position)
                # A number at the window's end may go on in the next block.
                if end < len(window):
                    break
            except ValueError as error:
                problem = str(error)
            else:
                problem = "the list is not closed"
            block = text.read(BLOCK_CHARACTERS)
            if not block or len(window) - position > LONGEST_ELEMENT:
                raise DataError(
                    f"{path}, row {number + 1}: not JSON ({problem}), and what follows cannot be "
                    "read. Mend the file, or delete it and fetch it again."
                )
            window, position = window[position:] + block, 0
        number += 1
        yield Numbered(number, value)
        position = end


def _skip(window: str, position: int, text: TextIO, characters: str) -> tuple[int, str]:
    while True:
        while position < len(window) and window[position] in characters:
            position += 1
        if position < len(window):
            return position, window
        window, position = text.read(BLOCK_CHARACTERS), 0
        if not window:
            return 0, ""
