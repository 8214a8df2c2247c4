"""What a reader is, and how it accounts for every key of a row."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from matinee.messages.conversations import Conversation, canonical_json
from matinee.messages.strict_json import DECODER, deeper_than

BadKind = Literal[
    "not_json",
    "wrong_columns",
    "unknown_key",
    "not_supported",
    "not_to_learn",
    "roles_out_of_order",
    "wrong_answers",
    "unlisted_tool",
    "repeated_tool",
    "broken_schema",
    "broken_arguments",
    "empty",
    "over_long",
    "lost_content",
    "unread_file",
]

Row = Mapping[str, Any]


def words(text: str) -> frozenset[str]:
    """The words of a text, for tables of keys."""
    return frozenset(text.split())


# Deeper values end Python's own recursion somewhere behind the readers.
DEEPEST = 100
# Where a list in a text is not JSON, so many of the last closing brackets are tried as its end.
LAST_BRACKETS = 20


class BadRow(Exception):
    """A row that cannot be used; `kind` is its class, `reason` one sentence."""

    def __init__(self, kind: BadKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: BadKind = kind
        self.reason = reason


@dataclass
class Account:
    """What became of a row's keys: `unknown` ones by path, those `left` on purpose, and `notes` of
    what was changed, by name."""

    unknown: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    # Values that do not come out again, with a reason.
    spent: list[Any] = field(default_factory=list)

    def leave(self, value: Any, name: str) -> None:
        """Counts a value that is left out."""
        self.left[name] += 1
        self.spent.append(value)


@dataclass(frozen=True)
class Level:
    """The keys that a reader knows at one level of its format; all but nulls is accounted for.

    `reads`: what comes out again, by meaning, with its spellings. `steers`: the same for what
    decides how the rest is read. `leaves`: what is left out on purpose. `refuses`: what cannot be
    honoured, with the reason, unless it is empty.
    """

    name: str
    reads: Mapping[str, tuple[str, ...]]
    steers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leaves: frozenset[str] = frozenset()
    refuses: Mapping[str, str] = field(default_factory=dict)

    def read(self, value: Any, account: Account, at: str = "") -> dict[str, Any]:
        """The values that are not null, by meaning. Raises BadRow."""
        if not isinstance(value, dict):
            raise BadRow("wrong_columns", f"{at or self.name} is no object: {shorten(str(value))}")
        found: dict[str, Any] = {}
        for key, content in value.items():
            if content is None:
                continue
            path = f"{at}.{key}" if at else str(key)
            name = self._meanings.get(key)
            if name is not None:
                if name in found and found[name] != content:
                    raise BadRow(
                        "unknown_key", f"{path}: another key gave its {name} already, and otherwise"
                    )
                if name in found or name in self.steers:
                    account.spent.append(content)
                found[name] = content
            elif key in self.leaves:
                account.leave(content, f"{self.name}.{key}")
            elif key in self.refuses:
                if content not in ("", [], {}):
                    raise BadRow("not_supported", f"{path}: {self.refuses[key]}")
            else:
                account.unknown.append(f"{path} ({shorten(str(content), 40)})")
                account.spent.append({key: content})
        return found

    @cached_property
    def _meanings(self) -> dict[str, str]:
        both = {**self.reads, **self.steers}
        return {spelling: name for name, spellings in both.items() for spelling in spellings}

    @property
    def words(self) -> Iterable[str]:
        """Every key that it knows."""
        return (*self._meanings, *self.leaves, *self.refuses)


@dataclass(frozen=True)
class Numbered:
    """A raw row with its file and number in it, from 1; `problem` where it could not be had."""

    number: int
    value: Any = None
    problem: str = ""
    kind: BadKind = "not_json"
    file: Path = Path()


@dataclass(frozen=True)
class Reader:
    """How one published format is read.

    `columns`: those a row must have, each with its spellings. `convert` makes the conversation, or
    raises BadRow. `words`: those that only mark what stands where. `gather`: for formats where
    several rows, of all files, make one conversation.
    """

    columns: tuple[tuple[str, ...], ...]
    convert: Callable[[Row, Account], Conversation]
    levels: tuple[Level, ...]
    words: frozenset[str] = frozenset()
    gather: Callable[[Iterable[Numbered]], Iterator[Numbered]] | None = None

    def fits(self, row: Row) -> bool:
        """Whether the row has the reader's columns."""
        return all(any(row.get(key) is not None for key in names) for names in self.columns)


def decode(text: Any, what: str, kind: BadKind = "not_json") -> Any:
    """The value of a JSON text; a value that is no string is taken as decoded already."""
    if not isinstance(text, str):
        return text
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(kind, f"{what} is not JSON ({error}): {shorten(text)}") from error


def literal(text: str, kind: BadKind) -> Any:
    """JSON or, as in some sets, Python's way of writing the same; nothing is run."""
    for read in (DECODER.decode, ast.literal_eval):
        try:
            value = read(text.strip())
            json.dumps(value, allow_nan=False)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value
    raise BadRow(kind, f"neither JSON nor a literal: {shorten(text)}")


def list_in(text: str, start: int) -> tuple[list[Any], int] | None:
    """The list, JSON's or Python's, that begins with the bracket at `start`, and where it ends."""
    try:
        return DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        ends = [match.end() for match in re.finditer(r"\]", text)]
    for end in ends[: -LAST_BRACKETS - 1 : -1]:
        try:
            return literal(text[start:end], "not_json"), end
        except BadRow:
            continue
    return None


def list_of(value: Any, what: str) -> list[Any]:
    """A list, or the list that a JSON text holds; none if it is empty or null."""
    decoded = decode(value, what) if value != "" else None
    if decoded is None:
        return []
    if not isinstance(decoded, list):
        raise BadRow("wrong_columns", f"{what} is not a list: {shorten(str(value))}")
    return decoded


def flag_of(value: Any) -> bool | None:
    """True or false, also as a number or in words, as tables of text have it; None for others."""
    written = str(value).strip().lower()
    return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(
        written
    )


def text_of(value: Any, what: str) -> str:
    """The text; BadRow for anything else, whose spelling would be Python's."""
    if not isinstance(value, str):
        raise BadRow("wrong_columns", f"{what} is not text: {shorten(str(value))}")
    return value


def require_shallow(value: Any, deepest: int = DEEPEST) -> None:
    """Raises BadRow for lists and objects nested deeper than `deepest`."""
    if deeper_than(deepest, value):
        raise BadRow("not_json", f"nested deeper than {deepest} levels")


def shorten(text: str, length: int = 120) -> str:
    """The beginning of a text, on one line, with halves of characters shown."""
    flat = re.sub(r"\s+", " ", text[: 4 * length]).encode(errors="backslashreplace").decode()
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def language_of(text: str) -> str:
    """`zh`, `en` or `other`, by which letters are most: Han counts double, for its density."""
    han = 2 * len(re.findall(r"[\u4e00-\u9fff]", text))
    latin = len(re.findall(r"[A-Za-z]", text))
    letters = sum(map(str.isalpha, text))
    if han and han >= latin:
        return "zh"
    return "en" if latin and 2 * latin >= letters else "other"


# Numbers, Latin words, single characters of other scripts; escapes only separate them, so that a
# text is told by the same pieces inside of JSON, inside of JSON in JSON, and outside.
_PIECE = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|[a-z]+|[^\x00-\x7f\s]")
_ESCAPE = re.compile(r"\\+(?:u[0-9a-fA-F]{4}|[nrtbf])?")
# A key without a value says nothing, in JSON, in JSON in JSON, and as Python writes it.
_NULL = re.compile(r"""\\*["'][^"'\\]*\\*["']\s*:\s*(?:null|None)\b""")
_EMPTY_WORDS = frozenset({"true", "false", "null", "none"})


def pieces(value: Any) -> Counter[str]:
    """How often each word, number and character stands in a value, keys included."""
    text = value if isinstance(value, str) else canonical_json(value)
    found = Counter(_PIECE.findall(_ESCAPE.sub(" ", text).casefold()))
    for piece in [piece for piece in found if "0" <= piece[0] <= "9"]:
        count = found.pop(piece)
        found[str(float(piece))] += count
    return found


def lost_pieces(
    row: Any, draft: Conversation, account: Account, known: frozenset[str]
) -> list[str]:
    """What stands in the row and neither comes out again nor is accounted for.

    Blind to how the row was read: it compares words, not the conversion's own counts.
    """
    out: list[Any] = [account.spent]
    for message in draft.messages:
        out += [message.content, message.reasoning, message.name]
        out += [call.name + " " + call.arguments for call in message.tool_calls]
    for tool in draft.tools:
        out += [tool.name, tool.description, tool.parameters]
    missing = pieces(_NULL.sub(" ", canonical_json(row)))
    missing.subtract(pieces(out))
    return [
        piece
        for piece, count in missing.items()
        if count > 0 and piece not in known and piece not in _EMPTY_WORDS
    ]
