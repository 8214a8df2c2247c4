"""Thirty kills at random moments of random stages: the end is that of an undisturbed run.

    make faults

Each chain is the smoke preset from its first job on. A watcher kills stages (and with every third
kill the driver and all its processes, as a power cut does) and calls the same command again.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from clones import SMOKE, Clone, copy_repository

CHAINS = 2
KILLS_PER_CHAIN = 15
STAGES = (
    *("fetch-model", "synthesize-dataset", "prepare-suite", "mix-data", "tokenize-data"),
    *("check-leakage", "train-adapter", "merge-model", "run-scenarios", "parse-transcripts"),
    *("score-scenarios", "render-report"),
)
COMPARED = (
    *(
        "data/*/conversations.jsonl",
        "data/*/tokens.parquet",
        "training/*/s42/adapter/*.safetensors",
    ),
    *("merged/*/s42/model/*.safetensors", "evaluation/*/zh/*.jsonl"),
)


def schedule(seed: int) -> list[list[str]]:
    """Which stages are killed in which chain: all equally often, the longest ones once more."""
    drawn = [*STAGES, *STAGES, "train-adapter", "merge-model", "run-scenarios"]
    drawn += ["fetch-model", "tokenize-data", "train-adapter"]
    assert len(drawn) == CHAINS * KILLS_PER_CHAIN
    random.Random(seed).shuffle(drawn)
    return [drawn[chain::CHAINS] for chain in range(CHAINS)]


def stage_of(process: psutil.Process) -> str | None:
    try:
        command = process.cmdline()
    except psutil.Error:
        return None
    return command[2] if command[1:2] and command[1].endswith("workflow/run.py") else None


class Chain:
    """Drives one clone to the end, and kills on the way."""

    def __init__(self, clone: Clone, stages: list[str], seconds: dict[str, float], seed: int):
        self.clone = clone
        self.pending = Counter(stages)
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.killed: list[str] = []
        self.seen: dict[int, tuple[str, float]] = {}
        self.measured: dict[str, list[float]] = {}

    def run(self) -> None:
        forced: list[str] = []
        for _ in range(3 * self.pending.total() + 2):
            driver = self.clone.start_snakemake(
                *("--cores", "1", "--configfile", *SMOKE, "--quiet", "all", *forced)
            )
            while driver.poll() is None:
                self._look(driver)
                time.sleep(0.01)
            finished = driver.returncode == 0
            if finished and not self.pending.total():
                return
            # A stage that was done before its moment came is done once more.
            late = {stage.replace("-", "_") for stage in +self.pending}
            forced = ["--forcerun", *sorted(late)] if finished else []
        raise AssertionError(self.clone.driver_log.read_text()[-4000:])

    def _look(self, driver: subprocess.Popen[str]) -> None:
        try:
            running = psutil.Process(driver.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        now = time.monotonic()
        alive = {process.pid: stage for process in running if (stage := stage_of(process))}
        for pid in self.seen.keys() - alive.keys():
            stage, due = self.seen.pop(pid)
            self.measured.setdefault(stage, []).append(now - due)
        for pid, stage in alive.items():
            if pid not in self.seen:
                # Measuring (no kill planned), the moment of its start; else that of its death.
                wait = self.chance.uniform(0, 0.8 * self.seconds.get(stage, 0))
                self.seen[pid] = (stage, now + wait)
            elif self.pending[stage] and now >= self.seen[pid][1]:
                self._kill(driver, pid, stage)
                return

    def _kill(self, driver: subprocess.Popen[str], pid: int, stage: str) -> None:
        cut_power = len(self.killed) % 3 == 2
        try:
            if cut_power:
                os.killpg(driver.pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        driver.wait()
        self.pending[stage] -= 1
        self.killed.append(f"{stage} with the driver" if cut_power else stage)
        self.seen.clear()


def contents(clone: Clone) -> dict[str, bytes]:
    """The results' files by their path, without the seconds that a case took."""
    results = clone.folder / "results"
    return {
        str(path.relative_to(results)): _without_seconds(path)
        for pattern in COMPARED
        for path in sorted(results.glob(pattern))
    }


def _without_seconds(path: Path) -> bytes:
    whole = path.read_bytes()
    return re.sub(rb'"seconds": ?[\d.e-]+', b"", whole) if path.suffix == ".jsonl" else whole


def differences(chain: Clone, undisturbed: Clone) -> list[str]:
    """The files that are not the same, or in one of them only; and the summary."""
    found, expected = contents(chain), contents(undisturbed)
    names = found.keys() | expected.keys()
    unlike = sorted(name for name in names if found.get(name) != expected.get(name))
    return unlike + ["summary.json"] * (chain.summary() != undisturbed.summary())


@pytest.mark.faults
def test_thirty_kills_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed = Chain(copy_repository(tmp_path / "undisturbed"), [], {}, seed=0)
    undisturbed.run()
    seconds = {stage: max(times) for stage, times in undisturbed.measured.items()}
    assert set(seconds) == set(STAGES)
    assert len(contents(undisturbed.clone)) > len(COMPARED)

    killed: list[str] = []
    lost = 0
    for number, stages in enumerate(schedule(seed=20261122)):
        chain = Chain(copy_repository(tmp_path / f"{number}"), stages, seconds, seed=number)
        chain.run()
        killed += chain.killed
        unlike = differences(chain.clone, undisturbed.clone)
        lost += bool(unlike)
        assert not unlike, f"chain {number}, after {chain.killed}: {unlike}"
        assert not list(chain.clone.folder.glob("results/**/.*.part"))
        shutil.rmtree(chain.clone.folder)
    with capsys.disabled():
        print(f"\n{len(killed)} kills in {CHAINS} chains, {lost} with another end:")
        for what, times in sorted(Counter(killed).items()):
            print(f"  {times} × {what}")
    assert len(killed) == CHAINS * KILLS_PER_CHAIN
