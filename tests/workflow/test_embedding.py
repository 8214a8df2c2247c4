"""The workflow in the hands of Snakemake's own tools: as a module, its dry run, the catalogue."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
import yaml
from clones import ROOT, SMOKE, SNAKEMAKE, Clone

OUTER = """\
configfile: "mine.yaml"


module matinee:
    snakefile: "{snakefile}"
    config: config["matinee"]


use rule * from matinee as matinee_*


rule answer:
    default_target: True
    input: "{results}/summary.json"
    output: "answer.txt"
    shell: "cp {{input}} {{output}}"
"""


@pytest.mark.parametrize("results", ["results", "mine"])
def test_another_snakefile_uses_it_as_a_module(tmp_path: Path, results: str) -> None:
    preset = yaml.safe_load((ROOT / "workflow/presets/smoke.yaml").read_text(encoding="utf-8"))
    given = preset if results == "results" else {**preset, "results": results}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"matinee": given}), encoding="utf-8")
    outer = OUTER.format(snakefile=ROOT / "Snakefile", results=results)
    (tmp_path / "Snakefile").write_text(outer, encoding="utf-8")
    done = subprocess.run(
        [*SNAKEMAKE, "--dry-run", "--quiet", "rules"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert (counts["matinee_train_adapter"], counts["answer"]) == ("2", "1")


@pytest.mark.extended
def test_a_dry_run_ends_with_what_the_run_takes(clone: Clone) -> None:
    """Where a person looks on: the estimate is for a terminal."""
    shown: list[bytes] = []

    def read(descriptor: int) -> bytes:
        shown.append(os.read(descriptor, 4096))
        return shown[-1]

    command = [*SNAKEMAKE, "--dry-run", "--configfile", *SMOKE, "--directory", str(clone.folder)]
    snakefile = ["--snakefile", str(clone.folder / "Snakefile")]
    assert pty.spawn([*command, *snakefile], read) == 0
    end = b"".join(shown).decode()
    assert "~ train chat s42" in end[end.index("This was a dry-run") :]
    assert "in all: download" in end


def test_the_catalogue_is_told_what_there_is() -> None:
    told = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    ways = told["usage"]["software-stack-deployment"]
    assert ways["conda"] is (ROOT / "environment.yml").exists()
    assert ways["apptainer"] is (ROOT / "apptainer.def").exists()
