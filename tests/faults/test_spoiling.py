"""Five thousand spoiled scenario files, tool lists, OpenAPI documents and rows each, by seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from test_spoiled_inputs import try_documents, try_rows, try_suites  # type: ignore[import-not-found]

pytestmark = pytest.mark.faults
SEEDS = range(10_000, 15_000)


@pytest.mark.parametrize("spoil", ["a", "tools"])
def test_suites(tmp_path: Path, spoil: str) -> None:
    assert try_suites(tmp_path, SEEDS, spoil) > 500


def test_documents(tmp_path: Path) -> None:
    assert try_documents(tmp_path, SEEDS) > 500


def test_rows(tmp_path: Path) -> None:
    assert try_rows(tmp_path, SEEDS) > 500
