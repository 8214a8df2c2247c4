"""A driver that is killed in the midst, with all that can go wrong at once, and called again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clones import Clone, Interruption


def test_a_second_driver_in_the_folder_is_refused(interruption: Interruption) -> None:
    run = interruption.second_driver
    assert run.returncode == 1
    assert "Another snakemake (process" in run.stderr
    assert "Traceback" not in run.stderr


def test_no_stage_outlives_its_driver(interruption: Interruption) -> None:
    assert interruption.orphans_left == []


def test_the_same_command_goes_on_without_doing_finished_work_again(
    interruption: Interruption,
) -> None:
    assert interruption.last.returncode == 0, interruption.last.stderr[-4000:]
    for path, file in interruption.early.items():
        assert path.stat().st_ino == file


@pytest.mark.extended
def test_the_results_are_those_of_an_undisturbed_run(finished: Clone, undisturbed: Clone) -> None:
    assert finished.summary() == undisturbed.summary()


def test_nothing_half_written_stays(interruption: Interruption) -> None:
    left = [*interruption.clone.folder.glob("results/**/.*.part"), *locks(interruption.clone)]
    assert left == []


def locks(clone: Clone) -> list[Path]:
    return list(clone.folder.glob("results/**/*.lock"))


def test_a_folder_that_was_moved_reruns_nothing(finished: Clone) -> None:
    elsewhere = finished.folder.with_name("elsewhere")
    finished.folder.rename(elsewhere)
    try:
        assert Clone(elsewhere).planned() == set()
    finally:
        elsewhere.rename(finished.folder)


def test_a_missing_conda_is_said_at_once(clone: Clone, tmp_path: Path) -> None:
    # A PATH with the shell's programs and no conda; Snakemake's SLURM plugin asks for `which`.
    for name in ("bash", "sh", "env", "which"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    run = clone.snakemake("--use-conda", PATH=str(tmp_path))
    assert run.returncode == 1
    assert "--use-conda: there is no `conda` in the PATH." in run.stderr
    assert "--sdm env-modules" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (clone.folder / "results").exists()


def test_a_stage_that_is_asked_to_end_leaves_nothing_behind(finished: Clone) -> None:
    output = finished.folder / "another"
    stage = subprocess.Popen(
        [
            *(sys.executable, "workflow/run.py", "fetch-model", "--output", str(output)),
            *("--params", finished.plan().fetch_model("tiny")),
        ],
        cwd=finished.folder,
        stderr=subprocess.DEVNULL,
    )
    while stage.poll() is None and not list(finished.folder.glob(".another.*.part")):
        time.sleep(0.01)
    stage.terminate()
    stage.wait()
    assert not output.exists()
    assert list(finished.folder.glob(".another.*")) == []
