"""Runs of the real workflow in a copy of the repository, with the interpreter of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "config.yaml", "environment.yml", "workflow")
SMOKE = ("config.yaml", "workflow/presets/smoke.yaml")


@dataclass(frozen=True)
class Clone:
    """A working copy in a folder of its own."""

    folder: Path

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "snakemake", "--cores", "2", *arguments])

    def stage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "workflow/run.py", *arguments], environment)

    def _run(
        self, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

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
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return Clone(folder)
