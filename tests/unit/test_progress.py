"""What a person sees while a stage runs, and where it goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matinee.runtime import progress

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (7.34, "7.3 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (125.4, "2 min 05 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


def test_run_by_hand_a_line_goes_to_standard_error_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say("done")
    assert capsys.readouterr() == ("", "done\n")


def say_in_a_job(environment: dict[str, str], redirect: str, folder: Path) -> None:
    code = (
        "from matinee.runtime import progress; progress.say('done');"
        " progress.bar(3, 'x', 'y').close()"
    )
    path = {"PYTHONPATH": str(WORKFLOW), "PYTHON": sys.executable, "CODE": code}
    subprocess.run(
        ["bash", "-c", f'"$PYTHON" -c "$CODE" {redirect}'],
        env={**os.environ, **path, **environment},
        cwd=folder,
        check=True,
    )


def test_in_a_job_a_line_goes_to_the_terminal_and_to_the_log(tmp_path: Path) -> None:
    say_in_a_job({"MATINEE_TERMINAL": "3"}, "3> terminal > log 2>&1", tmp_path)
    assert "done\n" in (tmp_path / "terminal").read_text()
    assert (tmp_path / "log").read_text() == "done\n"


@pytest.mark.parametrize(
    ("environment", "redirect"),
    [
        ({"MATINEE_TERMINAL": "3"}, "3>&- > log 2>&1"),
        ({"MATINEE_TERMINAL": "3", "WORLD_SIZE": "2"}, "3> other > log 2>&1"),
    ],
    ids=["closed", "some other file"],
)
def test_a_descriptor_that_was_not_passed_on_is_left_alone(
    tmp_path: Path, environment: dict[str, str], redirect: str
) -> None:
    say_in_a_job(environment, redirect, tmp_path)
    assert "done\n" in (tmp_path / "log").read_text()
    assert not (tmp_path / "other").exists() or (tmp_path / "other").read_text() == ""
