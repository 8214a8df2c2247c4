"""Runs of the real workflow in a copy of the repository, with the interpreter of the tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from matinee.config.checking import parse_configuration
from matinee.config.plan import Plan
from matinee.messages.documents import open_document

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "config.yaml", "environment.yml", "profiles", "slurm", "workflow")
SMOKE = ("config.yaml", "workflow/presets/smoke.yaml")
CLOCK_AND_MACHINE = ("created", "stages", "runtime", "testing", "machine")


SNAKEMAKE = (sys.executable, "-m", "snakemake")


def _environment(added: dict[str, str]) -> dict[str, str]:
    # Byte code is kept: without it every stage compiles the package and its libraries anew.
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **added}


@dataclass(frozen=True)
class Clone:
    """A working copy in a folder of its own."""

    folder: Path

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"--profile", "--cores"} & set(arguments)
        cores = [] if given else ["--cores", "2"]
        return self._run([*SNAKEMAKE, *cores, *arguments], environment)

    def start_snakemake(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A driver in a process group of its own, to be watched or killed; see `driver_log`."""
        with self.driver_log.open("a") as log:
            return subprocess.Popen(
                [*SNAKEMAKE, *arguments],
                cwd=self.folder,
                env=_environment(environment),
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def watch(
        self, driver: subprocess.Popen[str], reached: Callable[[], object], seconds: float
    ) -> None:
        """Looks until something has happened; fails when the driver ends or time is up before."""
        end = time.monotonic() + seconds
        while not reached():
            assert driver.poll() is None, self.driver_log.read_text()[-4000:]
            assert time.monotonic() < end, self.driver_log.read_text()[-4000:]
            time.sleep(0.05)

    @property
    def driver_log(self) -> Path:
        """What started drivers wrote."""
        return self.folder / "driver.log"

    def stage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "workflow/run.py", *arguments], environment)

    def _run(
        self, command: list[str], environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=_environment(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=3000,
        )

    def plan(self, *overlays: str) -> Plan:
        """The smoke preset, and what else lies over it, as the rules see it."""
        values: dict[str, Any] = {}
        for name in (*SMOKE, *overlays):
            values |= open_document(self.folder / name).value
        return Plan(parse_configuration(values, self.folder))

    def summary(self) -> dict[str, Any]:
        """`summary.json` without what the clock and the machine decide."""
        path = self.folder / "results/summary.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: value for key, value in values.items() if key not in CLOCK_AND_MACHINE}

    def planned(self, *overlays: Path | str) -> set[str]:
        """The jobs that a dry run over the smoke preset and the overlays would do."""
        run = self.snakemake("-n", "--configfile", *SMOKE, *map(str, overlays))
        assert run.returncode == 0, run.stderr
        lines = run.stdout.splitlines()
        if "Job stats:" not in lines:
            return set()
        start = lines.index("Job stats:") + 3
        return {line.split()[0] for line in lines[start : lines.index("", start)]} - {"total"}

    def overlay(self, name: str, values: object) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        return path


def copy_repository(folder: Path) -> Clone:
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return Clone(folder)


HOUR = 3600.0


def stages(clone: Clone) -> list[psutil.Process]:
    """The stages that run in a clone, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            program = process.cmdline()[1:2]
            ours = bool(program) and program[0].endswith("workflow/run.py")
            if ours and process.cwd() == str(clone.folder):
                found.append(process)
        except psutil.Error:
            # It ended while we looked.
            continue
    return found


@dataclass(frozen=True)
class Interruption:
    """What was seen when a driver was killed in the midst, and the same command given again.

    `early`: files that were finished before, by their node on the disk.
    """

    clone: Clone
    second_driver: subprocess.CompletedProcess[str]
    orphans_left: list[psutil.Process]
    early: dict[Path, int]
    last: subprocess.CompletedProcess[str]


def interrupt(clone: Clone) -> Interruption:
    """A second driver is tried, the first killed in a training, the clock set back; on it goes."""
    checkpoints = clone.folder / "results/.checkpoints"
    driver = clone.start_snakemake("--cores", "2", "--configfile", *SMOKE)
    try:
        clone.watch(driver, lambda: any(checkpoints.glob("chat-*/checkpoint-*")), 3000)
        second_driver = clone.snakemake("--configfile", *SMOKE)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    orphans = stages(clone)
    psutil.wait_procs(orphans, timeout=120)
    orphans_left = [process for process in orphans if process.is_running()]
    early = _set_clock_back(clone)
    return Interruption(
        clone, second_driver, orphans_left, early, clone.snakemake("--configfile", *SMOKE)
    )


def _set_clock_back(clone: Clone) -> dict[Path, int]:
    """All that there is was made in what is now the future; a file of it and its node."""
    suite = clone.folder / "results/suite/zh.json"
    for path in (clone.folder / "results").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() + HOUR, path.stat().st_mtime + HOUR))
    return {suite: suite.stat().st_ino}
