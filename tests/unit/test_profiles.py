"""Profiles name options that exist, and ask the same of every engine."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILES = sorted([*ROOT.glob("profiles/*/config.yaml"), ROOT / "slurm/config.yaml"])
OF_PLUGINS = ("slurm-",)


def read(path: Path) -> dict[str, Any]:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def site_block(text: str) -> str:
    """The part of the SLURM profile that a site uncomments, uncommented."""
    block = re.split(r"^# -+(?: Your site.*)?$\n?", text, flags=re.M)[1]
    return re.sub(r"^# ", "", block, flags=re.M)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_every_key_is_an_option_of_snakemake(path: Path) -> None:
    from snakemake.cli import get_argument_parser

    options = {
        option.removeprefix("--")
        for action in get_argument_parser()._actions
        for option in action.option_strings
    }
    for key in read(path):
        assert key in options or key.startswith(OF_PLUGINS), key


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_every_engine_tries_again(path: Path) -> None:
    values = read(path)
    if "executor" in values:
        assert values["retries"] == 2
        assert values["keep-going"] is True


def test_the_sites_block_of_the_slurm_profile_is_valid_when_uncommented() -> None:
    text = (ROOT / "slurm/config.yaml").read_text(encoding="utf-8")
    before = re.split(r"^# -+(?: Your site.*)?$\n?", text, flags=re.M)[0]
    values = yaml.safe_load(before + site_block(text))
    rules = {"train_adapter", "merge_model", "run_scenarios"}
    assert values["set-resources"].keys() == rules
    assert {rule["slurm_partition"] for rule in values["set-resources"].values()} == {"gpu"}
    # What was set for everyone stays beside what the site adds.
    assert "--signal=TERM@120" in values["set-resources"]["train_adapter"]["slurm_extra"]
    assert values["default-resources"].keys() == {"slurm_account", "slurm_partition"}


def test_rules_do_not_retry_on_their_own() -> None:
    """Inside of a cluster's job they would, so that three tries became nine."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert "retries:" not in path.read_text(encoding="utf-8"), path.name


def test_memory_and_time_of_every_rule_grow_with_the_attempt() -> None:
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        rules = len(re.findall(r"^ *rule ", text, re.M))
        for name in ("mem_mb", "runtime"):
            assert len(re.findall(rf"^ +{name}=growing\(\d+(?:, \d+)?\),$", text, re.M)) == rules


@pytest.mark.parametrize(("kind", "asked"), [("", " --gpus=1"), ("a100", " --gpus=a100:1")])
def test_a_job_asks_slurm_for_its_kind_of_gpu_or_for_any(kind: str, asked: str) -> None:
    """`gpu_model` is empty where a variant names none (workflow/rules/common.smk)."""
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    job = SimpleNamespace(resources={"gpu": 1, "gpu_model": kind})
    assert set_gres_string(job) == asked
