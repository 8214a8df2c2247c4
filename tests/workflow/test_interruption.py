"""A driver that is killed in the midst, with all that can go wrong at once, and called again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from clones import SMOKE, Clone, copy_repository

HOUR = 3600.0


def stages(clone: Clone) -> list[psutil.Process]:
    """The stages that run in a clone, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            if "workflow/run.py" in process.cmdline() and process.cwd() == str(clone.folder):
                found.append(process)
        except psutil.Error:
            # It ended while we looked.
            continue
    return found


class Interrupted:
    """One run: a second driver is tried, the first killed, the clock set back, and on it goes."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        driver = clone.start_snakemake("--cores", "2", "--configfile", *SMOKE)
        try:
            clone.watch(driver, self._trains, 3000)
            self.second_driver = clone.snakemake("--configfile", *SMOKE)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        orphans = stages(clone)
        psutil.wait_procs(orphans, timeout=120)
        self.orphans_left = [process for process in orphans if process.is_running()]
        self.early = self._set_clock_back()
        self.last = clone.snakemake("--configfile", *SMOKE)

    def _trains(self) -> bool:
        checkpoints = self.clone.folder / "results/.checkpoints"
        return any(checkpoints.glob("chat-*/checkpoint-*"))

    def _set_clock_back(self) -> dict[Path, int]:
        """All that there is was made in what is now the future; a file of it and its node."""
        suite = self.clone.folder / "results/suite/zh.json"
        for path in (self.clone.folder / "results").rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() + HOUR, path.stat().st_mtime + HOUR))
        return {suite: suite.stat().st_ino}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    return Interrupted(copy_repository(tmp_path_factory.mktemp("interrupted")))


def test_a_second_driver_in_the_folder_is_refused(interrupted: Interrupted) -> None:
    run = interrupted.second_driver
    assert run.returncode == 1
    assert "Another snakemake (process" in run.stderr
    assert "Traceback" not in run.stderr


def test_no_stage_outlives_its_driver(interrupted: Interrupted) -> None:
    assert interrupted.orphans_left == []


def test_the_same_command_goes_on_without_doing_finished_work_again(
    interrupted: Interrupted,
) -> None:
    assert interrupted.last.returncode == 0, interrupted.last.stderr[-4000:]
    for path, file in interrupted.early.items():
        assert path.stat().st_ino == file


def test_the_results_are_those_of_an_undisturbed_run(
    interrupted: Interrupted, finished: Clone
) -> None:
    assert interrupted.clone.summary() == finished.summary()


def test_nothing_half_written_stays(interrupted: Interrupted) -> None:
    left = [*interrupted.clone.folder.glob("results/**/.*.part"), *locks(interrupted.clone)]
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
    assert "--use-conda: there is no `conda` in the PATH. Install Miniforge" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (clone.folder / "results").exists()


def test_a_stage_that_is_asked_to_end_leaves_nothing_behind(finished: Clone) -> None:
    output = finished.folder / "another"
    stage = subprocess.Popen(
        [
            *(sys.executable, "workflow/run.py", "fetch-model", "--output", str(output)),
            *("--params", finished.plan().model("tiny")),
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
