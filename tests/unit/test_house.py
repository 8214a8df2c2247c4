"""The house: twelve rooms in the order of the data, small functions, and one meaning per name."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow/matinee"
ROOMS = (
    *("runtime", "messages", "config", "models", "data", "training"),
    *("export", "engines", "evaluation", "report", "apps", "stages"),
)
MOST_EDGES = 45
MOST_ARGUMENTS = 7

SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their room"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def edges() -> dict[tuple[str, str], set[str]]:
    """Which room imports which, and in which files."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path, tree in TREES.items():
        room = path.relative_to(PACKAGE).parts[0]
        for name in imports(tree):
            if name.startswith("matinee.") and (other := name.split(".")[1]) in ROOMS:
                found[room, other].add(path.relative_to(PACKAGE).as_posix())
    return {edge: files for edge, files in found.items() if edge[0] in ROOMS and len(set(edge)) > 1}


def test_there_are_the_rooms_and_nothing_loose() -> None:
    found = {path.relative_to(PACKAGE).parts[0] for path in SOURCES}
    assert found == {"__init__.py", *ROOMS}


def test_a_room_imports_only_rooms_before_it() -> None:
    found = edges()
    print(f"{len(found)} edges between rooms")
    upward = {
        edge: files for edge, files in found.items() if ROOMS.index(edge[1]) > ROOMS.index(edge[0])
    }
    assert upward == {}
    assert len(found) <= MOST_EDGES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_has_the_name_of_a_standard_one(path: Path) -> None:
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names


def test_the_name_of_a_class_means_one_thing() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(PACKAGE)))
    twice = {name for name, places in found.items() if len(places) > 1}
    assert {name: found[name] for name in twice} == {}


def test_no_function_takes_more_than_seven_arguments() -> None:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                count = len([name for name in names if name not in ("self", "cls")])
                assert count <= MOST_ARGUMENTS, f"{path}:{node.lineno} {node.name}"
