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
            document.value = _json(text)
            # The values are JSON's; YAML, which reads nearly all of JSON, knows the lines.
            with contextlib.suppress(yaml.YAMLError):
                document._root = _yaml(text)
        else:
            document._root = _yaml(text)
            document.value = document._root.value
        _refuse_halves(document)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        document.problems.append(Problem(file, line + 1, "", f"not YAML: {error.problem}"))
    except yaml.YAMLError as error:
        document.problems.append(Problem(file, 1, "", f"not YAML: {error}"))
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
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            keys = [key for key, _ in pairs]
            key = next(key for key in keys if keys.count(key) > 1)
            places = [found.start() for found in re.finditer(re.escape(json.dumps(key)), text)]
            line = text.count("\n", 0, places[1]) if len(places) > 1 else 0
            raise _Unfit(f"the key {key!r} stands twice in one object", line)
        return made

    try:
        value = json.loads(
            text,
            object_pairs_hook=once,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_number,
        )
    except json.JSONDecodeError as error:
        text = f"not JSON: {error.msg} in column {error.colno}"
        raise _Unfit(text, error.lineno - 1) from error
    except RecursionError as error:
        raise _Unfit(_TOO_DEEP) from error
    size, layer = 0, [value]
    for _ in range(DEEPEST):
        size += len(layer)
        layer = [part for one in layer for part in _parts(one)]
    if layer or size > MOST_NODES:
        raise _Unfit(_TOO_DEEP if layer else _TOO_MUCH)
    return value


_TOO_DEEP = f"nested deeper than {DEEPEST} levels"
_TOO_MUCH = f"more than {MOST_NODES:,} values, counting what aliases repeat"


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _refuse_halves(document: Document) -> None:
    """Refuses lone surrogates, which JSON can spell and UTF-8 cannot."""
    waiting: list[tuple[Place, Any]] = [((), document.value)]
    while waiting:
        at, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*at, key), part) for key, part in value.items()]
            value = "".join(value)
        elif isinstance(value, list):
            waiting += [((*at, position), part) for position, part in enumerate(value)]
        if isinstance(value, str) and any("\ud800" <= mark <= "\udfff" for mark in value):
            raise _Unfit("half of a surrogate pair, which is no character", document.line(at) - 1)


def _yaml(text: str) -> _Node:
    """The nodes of one document, built without recursion. Raises YAMLError and _Unfit."""
    # libyaml's parser is ten times faster; it is missing in some builds of PyYAML.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    anchors: dict[str, _Node | None] = {}
    finished: list[_Node] = []
    stack: list[_Open] = []
    total = 0
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _refuse_tag(event.tag, ("map", "seq"), line)
            if len(stack) == DEEPEST:
                raise _Unfit(_TOO_DEEP, line)
            is_list = isinstance(event, yaml.SequenceStartEvent)
            stack.append(_Open(_Node([] if is_list else {}), line, event.anchor))
            if event.anchor:
                anchors[event.anchor] = None
            continue
        if isinstance(event, yaml.AliasEvent):
            known = anchors.get(str(event.anchor))
            if known is None:
                inside = event.anchor in anchors
                raise _Unfit(
                    f"*{event.anchor} {'contains itself' if inside else 'is not defined'}", line
                )
            node, start = known, line
        elif isinstance(event, yaml.ScalarEvent):
            node, start = _Node(_scalar(event, line)), line
            if event.anchor:
                anchors[event.anchor] = node
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            ended = stack.pop()
            node, start = ended.node, ended.line
            if ended.anchor:
                anchors[ended.anchor] = node
        elif isinstance(event, yaml.DocumentStartEvent) and finished:
            raise _Unfit("holds more than one document", line)
        else:
            continue
        total += 1 if isinstance(event, yaml.ScalarEvent) else node.size
        if node.size > MOST_NODES or total > 4 * MOST_NODES:
            raise _Unfit(_TOO_MUCH, start)
        if stack:
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            stack[-1].take(node, start, key)
        else:
            finished.append(node)
    return finished[0] if finished else _Node(None)


@dataclass
class _Open:
    """A mapping or sequence that has begun."""

    node: _Node
    line: int
    anchor: str | None
    key: tuple[str, int] | None = None
    merged: list[_Node] = field(default_factory=list)

    def take(self, node: _Node, line: int, text: str | None) -> None:
        """Adds the next key, value or element. `text`: of a scalar, as it is written."""
        own = self.node
        if isinstance(own.value, list):
            own.inside[len(own.value)] = (line, node)
            own.value.append(node.value)
        elif self.key is None:
            if text is None:
                raise _Unfit("a key must be a text", line)
            if text in own.value and text not in self._inherited:
                raise _Unfit(f"found duplicate key {text!r}", line)
            self.key = (text, line)
            return
        else:
            (key, line), self.key = self.key, None
            if key == "<<" and isinstance(node.value, dict | list):
                self._merge(node, line)
            else:
                own.value[key] = node.value
                own.inside[key] = (line, node)
                self._inherited.discard(key)
        own.size += node.size

    _inherited: set[str] = field(default_factory=set)

    def _merge(self, node: _Node, line: int) -> None:
        sources = (
            [node] if isinstance(node.value, dict) else [one for _, one in node.inside.values()]
        )
        for source in sources:
            if not isinstance(source.value, dict):
                raise _Unfit("<< merges mappings only", line)
            for key, value in source.value.items():
                if key not in self.node.value:
                    self.node.value[key] = value
                    self.node.inside[key] = (line, source.inside[key][1])
                    self._inherited.add(key)


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


def _integer(text: str) -> float:
    return int(text) if len(text) < _LONGEST_NUMBER else _number(text)


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
