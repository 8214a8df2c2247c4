"""One set of pins, wherever the software is installed from."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def pins(lines):
    return {line.strip() for line in lines if re.match(r"\s*[a-z]", line)}


def test_conda_and_pip_install_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    locked = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert set(pip) == pins(locked)


def test_the_test_environment_adds_and_changes_nothing():
    run = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    test = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    # A package that a test tool needs on more platforms has the same version, but fewer conditions.
    assert {pin.split(" ;")[0] for pin in pins(run)} <= {pin.split(" ;")[0] for pin in pins(test)}


def test_every_rule_runs_in_the_one_environment():
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        rules = len(re.findall(r"^ *rule ", text, re.M))
        assert len(re.findall(r"conda:\n\s+ENVIRONMENT\n", text)) == rules, path.name


def test_conda_takes_nothing_from_the_default_channel():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
