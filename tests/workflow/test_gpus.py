"""`--resources gpu=2`: both variants train at once, each on a device of its own.

The devices are numbers only: a lease is taken before anything looks for the hardware.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clones import SMOKE, Clone

from matinee.runtime import records

pytestmark = pytest.mark.extended


@pytest.fixture
def copied(finished: Clone, tmp_path: Path) -> Clone:
    """A finished run whose trainings are still to be done."""
    folder = shutil.copytree(finished.folder, tmp_path / "clone", symlinks=True)
    shutil.rmtree(folder / "results/training")
    return Clone(folder)


def test_two_variants_train_at_once_on_different_devices(copied: Clone) -> None:
    targets = [f"results/training/{variant}/s42/metrics.json" for variant in ("chat", "base")]
    run = copied.snakemake(
        *("--configfile", *SMOKE, "--cores", "8", "--resources", "gpu=2", "--", *targets),
        CUDA_VISIBLE_DEVICES="4,6",
        MATINEE_CPU="1",
    )
    assert run.returncode == 0, run.stderr[-3000:]
    devices = [
        records.read_json(path)["hardware"]["visible_devices"]
        for path in sorted(copied.folder.glob("results/training/*/s42/run.json"))
    ]
    # The second took the second device because the first was still at work on the first.
    assert sorted(devices) == [["4"], ["6"]]
