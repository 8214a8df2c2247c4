"""The SLURM of the tests, and a clone whose profile is filled in for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import Clone
from single_host import Cluster, NotHere, running
from sites import site_clone


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    state = tmp_path_factory.mktemp("slurm")
    manager = running(state)
    try:
        started = manager.__enter__()
    except NotHere as reason:
        if os.environ.get("MATINEE_NEED_SLURM") == "1":
            raise
        pytest.skip(f"no SLURM for the test: {reason}")
    try:
        yield started
    finally:
        manager.__exit__(None, None, None)


@pytest.fixture
def site(tmp_path: Path) -> Clone:
    """A fresh clone, filled in for the SLURM of the tests."""
    return site_clone(tmp_path / "clone")
