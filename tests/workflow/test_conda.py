"""`--use-conda`: one environment for every rule, and no job outside of it.

`conda` here is a script that answers as conda does and makes the environment from the packages of
the tests; Snakemake itself drives and activates it.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

import pytest
from clones import SMOKE, Clone

pytestmark = pytest.mark.extended
CONDA = """#!/bin/bash
case "$*" in
  "info --json") echo '{{"conda_prefix": "{base}", "platform": "linux-64"}}' ;;
  "--version") echo "conda 26.1.0" ;;
  clean\\ *) ;;
  "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  env\\ create*)
    prefix="${{@: -1}}"
    "{python}" -m venv --without-pip "$prefix"
    echo "{packages}" > "$(echo "$prefix"/lib/python3*/site-packages)/packages.pth"
    echo "$prefix" >> "{base}/made" ;;
  *) echo "unexpected: conda $*" >&2; exit 1 ;;
esac
"""
ACTIVATE = """export CONDA_PREFIX="$1"; export PATH="$1/bin:$PATH"\n"""
FAILING = """echo "could not activate $1" >&2\n"""


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """A folder that is conda's base: `bin/conda`, `bin/activate`."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    packages = next(path for path in site.getsitepackages() if path.endswith("site-packages"))
    program = base / "bin/conda"
    program.write_text(CONDA.format(base=base, python=sys.executable, packages=packages))
    program.chmod(0o755)
    (base / "bin/activate").write_text(ACTIVATE)
    return base


def run(clone: Clone, conda: Path, *arguments: str):  # type: ignore[no-untyped-def]
    path = os.pathsep.join([str(conda / "bin"), os.environ["PATH"]])
    return clone.snakemake(*arguments, PATH=path)


def test_a_job_runs_in_the_environment(clone: Clone, conda: Path) -> None:
    target = "results/suite/zh.json"
    done = run(clone, conda, "--configfile", *SMOKE, "--use-conda", "--", target)
    assert done.returncode == 0, done.stderr[-3000:]
    (made,) = (conda / "made").read_text().split()
    assert Path(made).parent == clone.folder / ".snakemake/conda"
    assert Path(made + ".yaml").read_bytes() == (clone.folder / "environment.yml").read_bytes()


def test_an_activation_that_fails_stops_the_job(clone: Clone, conda: Path) -> None:
    (conda / "bin/activate").write_text(FAILING)
    target = "results/suite/zh.json"
    done = run(clone, conda, "--configfile", *SMOKE, "--use-conda", "--", target)
    assert done.returncode == 1
    assert "should run in the conda environment below" in done.stderr
    assert not (clone.folder / target).exists()


def test_every_rule_has_the_one_environment(clone: Clone, conda: Path) -> None:
    done = run(clone, conda, "--configfile", *SMOKE, "--use-conda", "--list-conda-envs")
    assert done.returncode == 0, done.stderr[-3000:]
    listed = [line for line in done.stdout.splitlines() if "environment.yml" in line]
    assert len(listed) == 1, done.stdout
