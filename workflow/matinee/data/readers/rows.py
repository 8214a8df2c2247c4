"""Raw rows of the files of a data set, one by one, with their numbers; no file is passed over."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from matinee.data.readers.base import Numbered, words
from matinee.messages.strict_json import DECODER
from matinee.runtime.errors import DataError

PACKED: dict[str, tuple[bytes, Callable[..., Any]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ", lzma.open),
}
TABLES = {".csv": ",", ".tsv": "\t"}
# What lies beside published data and holds no rows: beginnings, endings and whole names.
COMPANIONS = ("readme", "license", "licence", "notice", "citation", "changelog", "sha256sums", ".")
COMPANION_SUFFIXES = words(".md .rst .py .ipynb .lock .yaml .yml .png .jpg .pdf")
COMPANION_NAMES = words(
    "run.json dataset_info.json dataset_infos.json state.json dataset_dict.json"
)
# Keys around a list of rows, in a file that is one object.
ROWS = words("data rows train examples items")
ABOUT = words("version name description license split count num_rows features")
BLOCK_CHARACTERS = 1 << 20
LONGEST_ELEMENT = 64 << 20


def data_files(folder: Path) -> list[Path]:
    """The data files of a fetched folder, in the order in which they are read.

    Raises DataError that names files which are neither data that can be read nor known companions
    (README, licence …): passing them over would lose their rows without a word.
    """
    # Not rglob(): what comes out of Snakemake's cache are links to folders.
    found = sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if not _is_companion(name)
    )
    if unread := [path.name for path in found if not _is_readable(path)]:
        raise DataError(
            f"{folder} has files that cannot be read as data: {', '.join(unread)}. Read are JSON, "
            "JSON Lines, Parquet, Arrow, CSV and TSV, also packed by gzip, bzip2 or xz. Convert "
            "them, take them out of the folder, or name the others in `files` of the source."
        )
    return found


def _is_companion(name: str) -> bool:
    name = name.lower()
    return (
        name in COMPANION_NAMES
        or name.startswith(COMPANIONS)
        or name.endswith(tuple(COMPANION_SUFFIXES))
    )


def _is_readable(path: Path) -> bool:
    """By its contents, whatever its name; a table of text by its name only."""
    if suffix_of(path) in TABLES:
        return True
    with _open(path, "rb") as file:
        try:
            beginning = file.read(4096)
        except (OSError, EOFError, zlib.error, lzma.LZMAError):
            return True  # damaged: reading says so, with the reason
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    known = (b"PAR1", b"ARROW1", b"[", b"{", b"\xff\xfe", b"\xfe\xff")
    named = suffix_of(path) in (".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
    return named or not text or text.startswith(known)


def suffix_of(path: Path) -> str:
    """The ending in lower case, without that of a packed file."""
    suffixes = [suffix.lower() for suffix in path.suffixes] or [""]
    return suffixes[-2] if suffixes[-1] in PACKED and len(suffixes) > 1 else suffixes[-1]


def _open(path: Path, mode: str, **settings: Any) -> Any:
    with path.open("rb") as file:
        beginning = file.read(6)
    for magic, opener in PACKED.values():
        if beginning.startswith(magic):
            return opener(path, mode, **settings)
    return path.open(mode, **settings)


def read_rows(path: Path) -> Iterator[Numbered]:
    """The rows of a file; what it is is seen in its content, whatever its name.

    Rows are read as they are needed. Raises DataError where the rest cannot be read at all.
    """
    try:
        yield from _read(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: cannot be read to its end ({error}). Fetch or make it again."
        ) from error


def _read(path: Path) -> Iterator[Numbered]:
    with _open(path, "rb") as file:
        beginning = file.read(6)
    if beginning.startswith((b"PAR1", b"ARROW1")):
        yield from _columnar(path, "parquet" if beginning.startswith(b"PAR1") else "arrow")
        return
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: not UTF-8 text but UTF-16. Convert the file to UTF-8.")
    # A byte that is no UTF-8 becomes half of a character, which makes its row a bad one.
    settings = {"encoding": "utf-8-sig", "newline": "\n", "errors": "surrogateescape"}
    if suffix_of(path) in TABLES:
        settings["newline"] = ""
        with _open(path, "rt", **settings) as text:
            yield from _table(path, text, TABLES[suffix_of(path)])
    else:
        with _open(path, "rt", **settings) as text:
            yield from _Values(path, text).rows()


def _columnar(path: Path, kind: str) -> Iterator[Numbered]:
    """Rows of Parquet or Arrow, through `datasets`, which knows its own columns of JSON."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    import datasets
    import pyarrow

    try:
        rows = datasets.load_dataset(kind, data_files=[str(path)], split="train", streaming=True)
        for number, value in enumerate(rows, start=1):
            yield Numbered(number, value, file=path)
    except (pyarrow.ArrowException, datasets.exceptions.DatasetsError, ValueError) as error:
        raise DataError(
            f"{path}: not a whole {kind} file ({str(error)[:200]}). Delete it and fetch it again."
        ) from error


def _table(path: Path, text: TextIO, delimiter: str) -> Iterator[Numbered]:
    """Rows of CSV: every cell is text, and an empty one is none."""
    csv.field_size_limit(min(sys.maxsize, LONGEST_ELEMENT))
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(rows, [])
        if header and not header[0] and "index" not in header:
            header[0] = "index"  # as pandas writes it
        if len(set(header)) < len(header) or not all(header):
            raise DataError(f"{path}: its first line must name each column once: {header}")
        for number, cells in enumerate(rows, start=2):
            if not cells:
                continue
            if len(cells) != len(header):
                problem = f"{len(cells)} cells, with {len(header)} columns"
                yield Numbered(number, problem=problem, kind="wrong_columns", file=path)
                continue
            pairs = zip(header, cells, strict=True)
            yield Numbered(number, {name: cell for name, cell in pairs if cell}, file=path)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {rows.line_num}: no CSV ({error}). Mend the file."
        ) from error


class _Values:
    """The JSON values of a file, one after another, from a moving window of it.

    A list gives its elements, an object around a list of rows the list's; what stands between
    values and is no JSON is a bad row.
    """

    def __init__(self, path: Path, text: TextIO) -> None:
        self._path = path
        self._text = text
        self._window = text.read(BLOCK_CHARACTERS)
        self._position = 0
        self._line = 1

    def rows(self) -> Iterator[Numbered]:
        """Objects are numbered by the line where they begin, elements of a list by their place."""
        number = 0
        while self._skip(" \t\r\n\0"):
            line = self._line
            if self._window[self._position] == "[":
                self._move(1)
                for value in self._elements(number):
                    number += 1
                    yield Numbered(number, value, file=self._path)
                continue
            value, problem = self._value()
            if problem:
                # Where a line is broken, the next may be whole.
                self._skip_line()
                yield Numbered(line, problem=f"not JSON ({problem})", file=self._path)
            else:
                for place, row in enumerate(unwrapped(value, self._path), start=1):
                    yield Numbered(line if row is value else place, row, file=self._path)

    def _elements(self, before: int) -> Iterator[Any]:
        number = before
        while True:
            if not self._skip(" \t\r\n,"):
                self._stop(number + 1, "the list is not closed")
            if self._window[self._position] == "]":
                self._move(1)
                return
            number += 1
            value, problem = self._value()
            if problem:
                self._stop(number, problem)
            yield value

    def _stop(self, number: int, problem: str) -> None:
        raise DataError(
            f"{self._path}, row {number}: not JSON ({problem}), and what follows cannot be read. "
            "Mend the file, or delete it and fetch it again."
        )

    def _value(self) -> tuple[Any, str]:
        """The value that begins here, or what is wrong with it."""
        while True:
            problem, torn = "", False
            try:
                value, end = DECODER.raw_decode(self._window, self._position)
                # A number at the window's end may go on in the next block.
                if end < len(self._window) or not self._more():
                    self._move(end - self._position)
                    return value, ""
                continue
            except json.JSONDecodeError as error:
                problem = str(error)
                torn = error.pos >= len(self._window) - 8 or "Unterminated" in error.msg
            except RecursionError:
                problem = "nested too deep"
            except ValueError as error:
                problem = str(error)
            if not torn or len(self._window) - self._position > LONGEST_ELEMENT or not self._more():
                return None, problem

    def _more(self) -> bool:
        block = self._text.read(max(BLOCK_CHARACTERS, len(self._window) - self._position))
        self._window, self._position = self._window[self._position :] + block, 0
        return bool(block)

    def _move(self, length: int) -> None:
        end = self._position + length
        self._line += self._window.count("\n", self._position, end)
        self._position = end

    def _skip(self, characters: str) -> bool:
        while True:
            while self._position < len(self._window) and self._window[self._position] in characters:
                self._move(1)
            if self._position < len(self._window):
                return True
            if not self._more():
                return False

    def _skip_line(self) -> None:
        while (end := self._window.find("\n", self._position)) < 0:
            self._position = len(self._window)
            if not self._more():
                return
        self._move(end - self._position)


def unwrapped(value: Any, path: Path) -> list[Any]:
    """The rows of a file that is one object around a list of them; else the value itself.

    Raises DataError where such an object holds more than the list and words about it.
    """
    if not isinstance(value, dict):
        return [value]
    inner = [key for key in value if key in ROWS and isinstance(value[key], list)]
    if len(inner) == 1 and all(isinstance(row, dict) for row in value[inner[0]]):
        others = [key for key in value if key != inner[0] and key not in ABOUT]
        if not others:
            return list(value[inner[0]])
        raise DataError(
            f"{path}: an object around the list `{inner[0]}`, with {', '.join(others)} beside it, "
            f"which would be lost. Give the list alone as a file."
        )
    if value and all(key.isdecimal() and isinstance(row, dict) for key, row in value.items()):
        return list(value.values())
    return [value]
