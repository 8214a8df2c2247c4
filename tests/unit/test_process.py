"""A stage runs in its environment, ends with its driver, and is alone at its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from matinee.runtime import process
from matinee.runtime.errors import UserError

WORKFLOW = Path(__file__).parents[2] / "workflow"
START = f"import sys; sys.path.insert(0, {str(WORKFLOW)!r}); from matinee.runtime import process\n"


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START + code],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def line(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


class TestTheEnvironment:
    def test_without_conda_any_python_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(process.CONDA, "")
        process.require_environment()

    def test_an_activation_that_failed_is_seen(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(process.CONDA, str(tmp_path))
        with pytest.raises(UserError, match="the activation failed"):
            process.require_environment()

    def test_an_environment_of_the_folder_will_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(process.CONDA, str(tmp_path))
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "d41d8cd9_"))
        process.require_environment()

    def test_a_stage_refuses_to_run_in_the_wrong_one(self, tmp_path: Path) -> None:
        run = subprocess.run(
            [sys.executable, str(WORKFLOW / "run.py"), "schema"],
            env={**os.environ, process.CONDA: str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 1
        assert str(tmp_path) in run.stderr
        assert "Traceback" not in run.stderr


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of a process's end")
class TestTheDriver:
    STAGE = """
import signal, threading
try:
    process.begin()
    print("begun", flush=True)
    threading.Event().wait(60)
finally:
    print("cleaned up", flush=True)
"""

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_its_death_ends_the_stage_cleanly(self, number: signal.Signals) -> None:
        driver = python("sys.stdin.read()")
        stage = python(self.STAGE, **{process.DRIVER: str(driver.pid)})
        assert line(stage) == "begun"
        driver.send_signal(number)
        driver.wait()
        assert line(stage) == "cleaned up"
        assert stage.wait() == process.STOPPED

    def test_a_stage_run_by_hand_has_none(self) -> None:
        stage = python("process.begin(); print('done')")
        assert line(stage) == "done"
        assert stage.wait() == 0


class TestSoleWork:
    HOLD = """
import pathlib
with process.sole(pathlib.Path({work!r})) as waited:
    print(waited, flush=True)
    sys.stdin.readline()
"""

    def hold(self, work: Path) -> subprocess.Popen[str]:
        return python(self.HOLD.format(work=str(work)))

    def test_the_second_waits_for_the_first_and_knows_it(self, tmp_path: Path) -> None:
        first = self.hold(tmp_path / "work")
        assert line(first) == "False"
        second = self.hold(tmp_path / "work")
        assert line(second) == "waiting: another process works on work"
        first.communicate("\n")
        assert line(second) == "True"
        second.communicate("\n")
        assert list(tmp_path.iterdir()) == []

    def test_death_frees_the_work(self, tmp_path: Path) -> None:
        first = self.hold(tmp_path / "work")
        assert line(first) == "False"
        first.kill()
        first.wait()
        second = self.hold(tmp_path / "work")
        assert line(second) == "False"
        second.communicate("\n")

    def test_other_work_goes_on_beside_it(self, tmp_path: Path) -> None:
        first, second = self.hold(tmp_path / "one"), self.hold(tmp_path / "two")
        assert line(first) == line(second) == "False"
        first.communicate("\n")
        second.communicate("\n")
