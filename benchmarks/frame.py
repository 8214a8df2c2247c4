"""How fast the frame itself is: Snakemake, the configuration, and the way into a stage.

    python benchmarks/frame.py [--smoke FOLDER]

- no-op: `snakemake` in a clone where the smoke preset is finished (made in a temporary folder, or
  given as FOLDER);
- dry run: `snakemake -n` of the published configuration;
- stage: wall time of `score-scenarios` less the work in it, which is the process and its imports,
  and a Snakemake that runs this one job less one that finds nothing to do, which is a stage with
  all of Snakemake's part;
- large plan: `snakemake -n` of 50 variants with 3 seeds each.

Each the median of five, in a process of its own: wall time, and the processor time of it and its
children, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "config.yaml", "environment.yml", "profiles", "workflow")
SMOKE = ("--configfile", "config.yaml", "workflow/presets/smoke.yaml")
REPEATS = 5
TARGETS = {
    "no-op": 4.0,
    "dry run": 4.0,
    "stage": 4.0,
    "stage in Snakemake": 4.0,
    "large plan": 15.0,
}


class Time(NamedTuple):
    """Seconds on the clock, and of the processor."""

    wall: float
    processor: float

    def less(self, other: Time) -> Time:
        return Time(self.wall - other.wall, self.processor - other.processor)


def run(folder: Path, *command: str) -> Time:
    """What a Python command takes. Raises CalledProcessError when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, check=True, capture_output=True
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Time(wall, processor)


def median(folder: Path, *command: str) -> Time:
    times = [run(folder, *command) for _ in range(REPEATS)]
    return Time(
        statistics.median(time.wall for time in times),
        statistics.median(time.processor for time in times),
    )


def snakemake(*arguments: str) -> tuple[str, ...]:
    return ("-m", "snakemake", "--cores", "2", "--quiet", "all", *arguments)


def clone(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def with_many_variants(folder: Path, variants: int, seeds: int) -> Path:
    """The published configuration with its first variant many times over."""
    values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    first = values["variants"][0]
    values["variants"] = [
        {**first, "id": f"variant_{number}", "seeds": list(range(seeds))}
        for number in range(variants)
    ]
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def stage_times(folder: Path) -> tuple[Time, Time]:
    """A short stage by hand, and the same as the only job of a Snakemake run less an idle run."""
    evaluation = folder / "results/evaluation/chat-untuned/zh"
    record = json.loads((evaluation / "verdicts.run.json").read_text(encoding="utf-8"))
    stage = shlex.split(record["command"])[1:]
    target = str((evaluation / "verdicts.jsonl").relative_to(folder))
    forced = snakemake("--forcerun", "score_scenarios", *SMOKE, "--", target)
    idle = median(folder, *snakemake(*SMOKE, "--", target))
    return median(folder, *stage), median(folder, *forced).less(idle)


def measure(smoke: Path) -> dict[str, Time]:
    if not (smoke / "results/summary.json").exists():
        run(smoke, *snakemake(*SMOKE))
    by_hand, in_snakemake = stage_times(smoke)
    # The forced run made the reports stale: once more, so that nothing is left to do.
    run(smoke, *snakemake(*SMOKE))
    many = with_many_variants(smoke, variants=50, seeds=3)
    return {
        "no-op": median(smoke, *snakemake(*SMOKE)),
        "dry run": median(smoke, *snakemake("--dry-run")),
        "stage": by_hand,
        "stage in Snakemake": in_snakemake,
        "large plan": median(smoke, *snakemake("--dry-run", "--configfile", str(many))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", type=Path, help="a clone with a finished smoke run")
    given = parser.parse_args().smoke
    with tempfile.TemporaryDirectory() as name:
        measured = measure(given.resolve() if given else clone(Path(name) / "clone"))
    print(f"{'':20} {'wall':>7} {'processor':>10} {'target':>7}   s")
    for what, took in measured.items():
        print(f"{what:20} {took.wall:7.2f} {took.processor:10.2f} {TARGETS[what]:7.0f}")
    if any(took.wall > TARGETS[what] for what, took in measured.items()):
        raise SystemExit("A target is missed.")


if __name__ == "__main__":
    main()
