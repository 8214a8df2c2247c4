"""A finished run that the tests of the workflow share, and fresh clones."""

from __future__ import annotations

from pathlib import Path

import pytest
from clones import SMOKE, Clone, copy_repository


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the smoke preset has run to its end."""
    clone = copy_repository(tmp_path_factory.mktemp("finished"))
    run = clone.snakemake("--configfile", *SMOKE)
    assert run.returncode == 0, run.stderr[-4000:]
    return clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone in which nothing has run."""
    return copy_repository(tmp_path)
