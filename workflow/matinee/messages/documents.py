"""YAML and JSON files as plain values, and the line of any node in them, for messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

Place = tuple[str | int, ...]


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
    """A file as plain values, with the line of every node found only when asked for."""

    file: Path
    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    _marked: Any = None

    def report(self, text: str, at: Place = (), case: str = "") -> None:
        """Notes a problem at the node that `at` leads to, or the nearest one that exists."""
        self.problems.append(Problem(self.file, self.line(at), case, text))

    def line(self, at: Place) -> int:
        """The line, from 1, of the node that `at` leads to, or of the nearest one that exists."""
        node = self._nodes()
        line = 0
        for step in at:
            try:
                marks: Any = node.lc
                mark = marks.key(step) if isinstance(node, dict) else marks.item(step)
                node = node[step]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
            line = mark[0]
        return line + 1

    def _nodes(self) -> Any:
        if self._marked is None:
            try:
                self._marked = YAML().load(self.file.read_text(encoding="utf-8"))
            except YAMLError:
                self._marked = {}  # JSON that YAML does not take, such as a key twice
        return self._marked


def open_document(file: Path, kind: type = dict) -> Document:
    """The file's plain values; where they are not of that kind, a problem that says why."""
    document = Document(file)
    try:
        document.value = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        document.problems.append(Problem(file, line, "", f"not YAML: {error.problem}"))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        document.problems.append(Problem(file, 1, "", f"cannot be read: {error}"))
    else:
        if not isinstance(document.value, kind):
            document.value = None
            text = "must be a list" if kind is list else "must be a mapping of keys to values"
            document.problems.append(Problem(file, 1, "", text))
    return document
