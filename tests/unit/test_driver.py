"""What a driver checks before its first job, and how the next one goes on after its death."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from matinee.runtime import driver
from matinee.runtime.errors import UserError

WORKFLOW = Path(__file__).parents[2] / "workflow"
HOLD = f"""
import sys
import time
sys.path.insert(0, {str(WORKFLOW)!r})
from pathlib import Path
from matinee.runtime import driver
held = driver.hold(Path.cwd())
print("held", flush=True)
sys.stdin.read()
"""


def other_driver(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder, with the locks that Snakemake would leave there."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    locks = folder / driver.LOCKS
    locks.mkdir()
    (locks / "0.output.lock").write_text("results/report.html\n")
    return process


def test_two_drivers_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    other = other_driver(tmp_path)
    with pytest.raises(UserError, match=f"process {other.pid} on {socket.gethostname()}"):
        driver.hold(tmp_path)
    assert (tmp_path / driver.LOCKS).exists()
    other.communicate()


def test_a_killed_driver_leaves_no_lock(tmp_path: Path) -> None:
    other = other_driver(tmp_path)
    other.kill()
    other.communicate()
    assert driver.hold(tmp_path) is not None
    assert not (tmp_path / driver.LOCKS).exists()


def test_locks_of_a_driver_on_another_machine_stay(tmp_path: Path) -> None:
    other = other_driver(tmp_path)
    other.communicate()
    (tmp_path / driver.HOLD).write_text("process 1 on elsewhere")
    assert driver.hold(tmp_path) is not None
    assert (tmp_path / driver.LOCKS).exists()


def test_a_missing_conda_is_said_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="Miniforge"):
        driver.require_conda()


def test_results_that_cannot_be_written_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Root may write everywhere, except where the file system says no.
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(UserError, match="cannot be written"):
        driver.require_writable(tmp_path / "results")


class TestTheClock:
    def age(self, path: Path, seconds: float) -> None:
        made = time.time() - seconds
        os.utime(path, (made, made))

    def test_results_of_the_past_stay_as_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "old").touch()
        self.age(tmp_path / "old", 10)
        made = (tmp_path / "old").stat().st_mtime_ns
        assert driver.mend_clock(tmp_path) is None
        assert (tmp_path / "old").stat().st_mtime_ns == made

    def test_results_of_the_future_move_to_now_in_their_order(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        ages = {"first": 7200, "model/second": 60, "third": -1800, "last": -3600}
        for name, seconds in ages.items():
            (tmp_path / name).touch()
            self.age(tmp_path / name, seconds)
        self.age(tmp_path / "model", 30)
        said = driver.mend_clock(tmp_path)
        assert said is not None
        assert "3,6" in said or "3,5" in said
        times = [(tmp_path / name).stat().st_mtime for name in ages]
        assert times == sorted(times)
        assert times[-1] <= time.time()
        # Everything moved by the same, folders as well.
        assert times[-1] - times[0] == pytest.approx(10_800, abs=5)
        moved = (tmp_path / "model").stat().st_mtime - (tmp_path / "model/second").stat().st_mtime
        assert moved == pytest.approx(30, abs=5)

    def test_without_results_there_is_nothing_to_mend(self, tmp_path: Path) -> None:
        assert driver.mend_clock(tmp_path / "results") is None
