"""YAML and JSON files as plain values, within bounds, and the line of any node in them.

What comes out is what JSON can hold: keys are texts as they are written, numbers are finite, a day
is a text. Scalars are read by the core schema of YAML 1.2 (`no` is a text, 010 is ten); `<<` merges
as in YAML 1.1.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from matinee.messages.conversations import canonical_json
from matinee.messages.strict_json import DECODER, SURROGATE, deeper_than

Place = tuple[str | int, ...]

LARGEST_FILE = 8 * 2**20  # bytes
DEEPEST = 64
MOST_NODES = 500_000  # what aliases repeat is counted each time
_LONGEST_NUMBER = 40


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where in which file, in which case, and what is allowed.

    `line` counts from 1. `case` is empty where the problem is not one case's.
    """

    file: Path
    line: int
    case: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.case + ': ' if self.case else ''}{self.text}"


@dataclass
class Document:
    """A file as plain values, with the line of every node."""

    file: Path
    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    _root: _Node | None = None

    def report(self, text: str, at: Place = (), case: str = "") -> None:
        """Notes a problem at the node that `at` leads to, or the nearest one that exists."""
        self.problems.append(Problem(self.file, self.line(at), case, text))

    def line(self, at: Place) -> int:
        """The line, from 1, of the node that `at` leads to, or of the nearest one that exists."""
        node, line = self._root, 0
        for step in at:
            found = node.inside.get(step) if node is not None else None
            if found is None:
                break
            line, node = found
        return line + 1


@dataclass
class _Node:
    """A value; `inside`: the line and node of each key or position; `size`: nodes in all."""

    value: Any
    inside: dict[str | int, tuple[int, _Node]] = field(default_factory=dict)
    size: int = 1


class _Unfit(ValueError):
    """The file cannot be read; `line` counts from 0."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


def open_document(file: Path, kind: type = dict, *, only_json: bool = False) -> Document:
    """The file's plain values; where they are not of that kind, a problem that says why.

    A file whose name ends in `.json` is read as JSON, and so is any where `only_json` is set.
    """
    document = Document(file)
    try:
        text = _text(file)
        if only_json or file.suffix.casefold() == ".json":
            # The values are JSON's; YAML, which reads nearly all of JSON, knows the lines.
            with contextlib.suppress(yaml.YAMLError):
                document._root = _yaml(text)
            document.value = _json(text)
        else:
            document._root = _yaml(text)
            document.value = document._root.value
        _refuse_halves(document.value, text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        document.problems.append(Problem(file, line + 1, "", f"not YAML: {error.problem}"))
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes.
        line = text.encode()[: error.position].count(b"\n")
        said = f"not YAML: the character U+{int(error.character):04X} is not allowed"
        document.problems.append(Problem(file, line + 1, "", said))
    except _Unfit as error:
        document.problems.append(Problem(file, error.line + 1, "", str(error)))
    except OSError as error:
        document.problems.append(Problem(file, 1, "", f"cannot be read: {error}"))
    if not document.problems and not isinstance(document.value, kind):
        text = "must be a list" if kind is list else "must be a mapping of keys to values"
        document.report(text)
    if document.problems:
        document.value = None
    return document


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise _Unfit(f"larger than {LARGEST_FILE // 2**20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        raise _Unfit("not UTF-8; save the file in that encoding", line) from error


def _json(text: str) -> Any:
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        text = f"not JSON: {error.msg} in column {error.colno}"
        raise _Unfit(text, error.lineno - 1) from error
    except RecursionError as error:
        raise _Unfit(_TOO_DEEP) from error
    except ValueError as error:
        raise _Unfit(str(error)) from error
    if deeper_than(DEEPEST, value):
        raise _Unfit(_TOO_DEEP)
    return value


_TOO_DEEP = f"nested deeper than {DEEPEST} levels"
_TOO_MUCH = f"more than {MOST_NODES:,} values, counting what aliases repeat"
_HALF = re.compile(r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]")


def _refuse_halves(value: Any, text: str) -> None:
    """Refuses lone surrogates, which JSON can spell and UTF-8 cannot."""
    if SURROGATE.search(canonical_json(value)):
        half = _HALF.search(text)
        line = text.count("\n", 0, half.start()) if half else 0
        raise _Unfit("half of a surrogate pair, which is no character", line)


def _yaml(text: str) -> _Node:
    """The nodes of one document. Raises YAMLError and _Unfit."""
    # libyaml's parser is ten times faster; it is missing in some builds of PyYAML.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    next(events)
    if isinstance(next(events), yaml.StreamEndEvent):
        return _Node(None)
    root = _Builder(events).node(next(events), DEEPEST)
    next(events)
    if not isinstance(event := next(events), yaml.StreamEndEvent):
        raise _Unfit("holds more than one document", event.start_mark.line)
    return root


class _Builder:
    """Makes nodes of a parser's events, at most DEEPEST within one another."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str | None, _Node | None] = {}
        self._read = 0

    def node(self, event: Any, levels: int) -> _Node:
        """The node that begins with the event; `levels`: how many may yet lie in one another."""
        line = event.start_mark.line
        self._read += 1
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(event.anchor)
            if known is None:
                inside = event.anchor in self._anchors
                raise _Unfit(
                    f"*{event.anchor} {'contains itself' if inside else 'is not defined'}", line
                )
            return known
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(_scalar(event, line))
        else:
            _refuse_tag(event.tag, ("map", "seq"), line)
            if levels == 0:
                raise _Unfit(_TOO_DEEP, line)
            self._anchors[event.anchor] = None
            is_list = isinstance(event, yaml.SequenceStartEvent)
            node = self._list(levels - 1) if is_list else self._mapping(levels - 1)
        self._anchors[event.anchor] = node
        if node.size > MOST_NODES or self._read > 2 * MOST_NODES:
            raise _Unfit(_TOO_MUCH, line)
        return node

    def _list(self, levels: int) -> _Node:
        node = _Node([])
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            inner = self.node(event, levels)
            node.inside[len(node.value)] = (event.start_mark.line, inner)
            node.value.append(inner.value)
            node.size += inner.size
        return node

    def _mapping(self, levels: int) -> _Node:
        node, inherited = _Node({}), set[str]()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unfit("a key must be a text", line)
            self.node(event, levels)
            key = event.value
            if key in node.value and key not in inherited:
                raise _Unfit(f"found duplicate key {key!r}", line)
            inner = self.node(next(self._events), levels)
            node.size += inner.size
            if key == "<<" and event.implicit[0] and isinstance(inner.value, dict | list):
                inherited |= _merge(node, inner, line)
                continue
            node.value[key] = inner.value
            node.inside[key] = (line, inner)
            inherited.discard(key)
        return node


def _merge(node: _Node, merged: _Node, line: int) -> set[str]:
    """Takes over what the merged mappings have and the node has not; returns these keys."""
    is_one = isinstance(merged.value, dict)
    taken = set()
    for source in [merged] if is_one else [one for _, one in merged.inside.values()]:
        if not isinstance(source.value, dict):
            raise _Unfit("<< merges mappings only", line)
        for key in source.value.keys() - node.value.keys():
            node.value[key] = source.value[key]
            node.inside[key] = (line, source.inside[key][1])
            taken.add(key)
    return taken


def _refuse_tag(tag: str | None, allowed: tuple[str, ...], line: int) -> None:
    if tag not in (None, "!", *(f"tag:yaml.org,2002:{name}" for name in allowed)):
        raise _Unfit(f"the tag {tag} is not read", line)


_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))"
    r"|\.(?:nan|NaN|NAN)|0o[0-7]+|0x[0-9a-fA-F]+"
)


def _scalar(event: Any, line: int) -> Any:
    """What a scalar means by the core schema of YAML 1.2."""
    _refuse_tag(event.tag, ("str",), line)
    text: str = event.value
    if not event.implicit[0]:  # quoted, in block style, or tagged
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return _number(text)
    except _Unfit as error:
        raise _Unfit(str(error), line) from error


def _number(text: str) -> float:
    """A finite number of usual length. Raises _Unfit."""
    if len(text) > _LONGEST_NUMBER:
        raise _Unfit(f"a number of {len(text)} characters; put it in quotes if it is a text")
    if text[:2] in ("0o", "0x"):
        return int(text, 0)
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    try:
        value = float(text.lstrip("+").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        value = math.nan  # .Inf, .NaN
    if not math.isfinite(value):
        raise _Unfit(f"{text} is not a finite number")
    return value
