"""The package's own rules about errors, imports and evaluation, checked on its source."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from matinee.runtime import errors

PACKAGE = Path(errors.__file__).parents[1]
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "pandas",
    "matplotlib",
    "peft",
    "snakemake",
    "pyarrow",
}
each_source = pytest.mark.parametrize(
    "source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def nodes(source: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(source.read_text(encoding="utf-8")))


def test_every_error_is_a_user_error_with_a_docstring() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(kinds) > 5
    for kind in kinds:
        assert issubclass(kind, errors.UserError)
        assert kind.__doc__


@each_source
def test_no_error_is_swallowed(source: Path) -> None:
    for node in nodes(source):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            broad = ast.unparse(node.type) in {"Exception", "BaseException"}
            silent = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not (broad and silent), f"line {node.lineno}: an error is dropped"


@each_source
def test_nothing_is_evaluated(source: Path) -> None:
    for node in nodes(source):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile"}, f"line {node.lineno}"


@each_source
def test_the_package_never_imports_snakemake(source: Path) -> None:
    for node in nodes(source):
        if isinstance(node, ast.Import):
            assert not any(name.name.split(".")[0] == "snakemake" for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "snakemake"


def test_validation_and_help_load_nothing_heavy() -> None:
    code = (
        "import sys; import matinee.config.plan, matinee.training.batching, matinee.export.merging;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert HEAVY & set(loaded) == set()
