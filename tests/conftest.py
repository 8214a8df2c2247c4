"""Settings of every test: few threads, no network, no uploads. Read before torch is imported."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
# A test that reads these must set them itself.
for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MATINEE_TERMINAL"):
    os.environ.pop(name, None)

from pathlib import Path  # noqa: E402 (after the environment is set)

import pytest  # noqa: E402
from clones import SMOKE, Clone, Interruption, copy_repository, interrupt  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# No timed assertions: a busy machine must not fail a test.
settings.register_profile(
    "matinee", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("matinee")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests stay on one core: all that use one costly fixture, so that it is made once.

    Read by `--dist loadgroup`. Other tests go to whichever core is free.
    """
    for item in items:
        if "interruption" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("finished"))
        elif any(
            definition.scope in ("module", "session") and definition.baseid
            for definitions in item._fixtureinfo.name2fixturedefs.values()
            for definition in definitions
        ):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(scope="session")
def interruption(tmp_path_factory: pytest.TempPathFactory) -> Interruption:
    """The smoke preset, whose driver was killed in the midst and called again."""
    return interrupt(copy_repository(tmp_path_factory.mktemp("finished")))


@pytest.fixture(scope="session")
def finished(interruption: Interruption) -> Clone:
    """A clone in which the smoke preset has run to its end. Not to be changed for good."""
    assert interruption.last.returncode == 0, interruption.last.stderr[-4000:]
    return interruption.clone


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The same, in one go."""
    clone = copy_repository(tmp_path_factory.mktemp("undisturbed"))
    run = clone.snakemake("--configfile", *SMOKE)
    assert run.returncode == 0, run.stderr[-4000:]
    return clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone in which nothing has run."""
    return copy_repository(tmp_path / "clone")
