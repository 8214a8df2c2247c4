"""`snakemake --profile slurm` on a real SLURM: the same results, and nothing lost on the way."""

from __future__ import annotations

import copy
import re
import signal
import subprocess
from collections import Counter
from typing import Any

import pytest
import yaml
from clones import SMOKE, Clone
from single_host import Cluster
from sites import site_clone

from matinee.runtime import records

pytestmark = pytest.mark.extended
GPU_RULES = {"train_adapter", "merge_model", "run_scenarios"}
# What differs from a site with real nodes: no conda, two cores for all of it, jobs of seconds, and
# GPUs that are none.
ARGUMENTS = (
    *("--configfile", *SMOKE),
    *("--profile", "slurm", "--sdm", "env-modules", "--max-threads", "2", "--jobs", "4"),
    *("--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "4"),
)
PRETENDED = {"MATINEE_CPU": "1"}


def kill(driver: subprocess.Popen[str]) -> None:
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def logs(clone: Clone, rule: str) -> str:
    """All that SLURM wrote down of a rule's jobs."""
    folder = clone.folder / f".snakemake/slurm_logs/rule_{rule}"
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.log")))


class Run:
    """The smoke preset on the cluster; its driver is killed on the way and called again."""

    def __init__(self, clone: Clone, cluster: Cluster) -> None:
        self.clone = clone
        self.before = {job.number for job in cluster.jobs()}
        driver = clone.start_snakemake(*ARGUMENTS, **PRETENDED)
        rows = clone.folder / "results/data/chat/tokens.parquet"
        try:
            clone.watch(driver, rows.exists, 3000)
        finally:
            kill(driver)
        # The rows' own job may not have been seen to end; what they were made from has.
        self.finished = clone.folder / "results/data/chat/conversations.jsonl"
        self.finished_at = self.finished.stat().st_mtime_ns
        self.second = clone.snakemake(*ARGUMENTS, **PRETENDED)
        self.jobs = [job for job in cluster.jobs() if job.number not in self.before]


@pytest.fixture(scope="module")
def run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(site_clone(tmp_path_factory.mktemp("cluster")), cluster)


class TestTheSmokePreset:
    def test_after_a_killed_driver_the_same_command_goes_on(self, run: Run) -> None:
        assert run.second.returncode == 0, run.second.stderr[-4000:]
        assert run.finished.stat().st_mtime_ns == run.finished_at

    def test_ends_with_the_summary_of_a_local_run(self, run: Run, finished: Clone) -> None:
        assert run.clone.summary() == finished.summary()

    def test_gpu_rules_have_a_gpu_in_the_gpu_partition_and_no_other_rule(self, run: Run) -> None:
        assert {job.rule for job in run.jobs} > GPU_RULES
        for job in run.jobs:
            expected = ("gpu", "gres:gpu:1") if job.rule in GPU_RULES else ("cpu", "")
            assert (job.partition, job.gpus) == expected, job

    def test_the_stage_sees_the_one_device_that_slurm_gave(self, run: Run) -> None:
        for path in run.clone.folder.glob("results/training/*/s42/run.json"):
            assert len(records.read_json(path)["hardware"]["visible_devices"]) == 1

    def test_evaluation_is_scattered_over_jobs(self, run: Run) -> None:
        parts = [job for job in run.jobs if job.rule == "run_scenarios"]
        assert len(parts) >= 8  # four subjects, two parts each
        assert Counter(job.state for job in parts)["COMPLETED"] >= 8

    def test_logs_of_finished_jobs_are_kept(self, run: Run) -> None:
        assert "1 of 1 steps (100%) done" in logs(run.clone, "score_scenarios")


def test_a_failing_job_is_reported_with_the_end_of_its_log(cluster: Cluster, site: Clone) -> None:
    path = site.folder / "workflow/resources/scenarios/single_tool.yaml"
    text = path.read_text(encoding="utf-8").replace("tool: icp_query", "tool: icp_qery", 1)
    path.write_text(text, encoding="utf-8")
    run = site.snakemake(*ARGUMENTS, "--retries", "0", "results/suite/zh.json")
    assert run.returncode == 1
    shown = run.stdout + run.stderr
    assert re.search(r"single_tool\.yaml:\d+", shown), shown[-3000:]
    assert "results/logs/prepare_suite/zh.log" in shown


def test_a_cancelled_job_is_seen_and_tried_again(cluster: Cluster, site: Clone) -> None:
    before = {job.number for job in cluster.jobs()}

    def mine() -> list[Any]:
        return [job for job in cluster.of_rule("prepare_suite") if job.number not in before]

    cluster.hold("cpu", closed=True)
    driver = site.start_snakemake(*ARGUMENTS, "results/suite/zh.json")
    try:
        try:
            site.watch(driver, mine, 300)
            cluster.run("scancel", mine()[0].number)
        finally:
            cluster.hold("cpu", closed=False)
        assert driver.wait(timeout=900) == 0
    finally:
        kill(driver)
    assert [job.state for job in mine()] == ["CANCELLED", "COMPLETED"]


class TestTheTimeLimit:
    """Training for longer than any attempt may take; no checkpoint but the one at its end."""

    TARGET = "results/training/chat/s42/metrics.json"

    @pytest.fixture
    def long(self, site: Clone) -> Clone:
        self._write_profile(site)
        values = yaml.safe_load((site.folder / SMOKE[1]).read_text(encoding="utf-8"))
        variant = copy.deepcopy(values["variants"][0])
        variant["training"] |= {"save_steps": 1_000_000, "logging_steps": 1_000, "epochs": 10_000}
        values |= {"variants": [variant]}
        (site.folder / SMOKE[1]).write_text(yaml.safe_dump(values), encoding="utf-8")
        return site

    @staticmethod
    def _write_profile(site: Clone) -> None:
        """Two minutes for the first attempt, SLURM's own signal near its end.

        SLURM may send the signal up to a minute early: an attempt of one minute could be told to
        stop before it has begun to train.
        """
        profile = site.folder / "slurm/config.yaml"
        text = profile.read_text(encoding="utf-8")
        assert "runtime: 720 * attempt" in text
        assert "--signal=TERM@120" in text
        text = text.replace("runtime: 720 * attempt", "runtime: 2 * attempt")
        profile.write_text(text.replace("--signal=TERM@120", "--signal=TERM@1"), encoding="utf-8")

    def test_saves_a_checkpoint_from_which_the_retry_goes_on(
        self, cluster: Cluster, long: Clone
    ) -> None:
        before = {job.number for job in cluster.jobs()}

        def tries() -> list[Any]:
            return [job for job in cluster.of_rule("train_adapter") if job.number not in before]

        def went_on() -> re.Match[str] | None:
            return re.search(r"goes on from step (\d+)", logs(long, "train_adapter"))

        driver = long.start_snakemake(*ARGUMENTS, self.TARGET, **PRETENDED)
        try:
            long.watch(driver, went_on, 600)
            states = [job.state for job in tries()]
        finally:
            kill(driver)
            for job in tries():
                cluster.run("scancel", job.number)
        assert len(states) == 2
        assert states[0] in ("TIMEOUT", "FAILED")
        found = went_on()
        assert found
        assert int(found[1]) > 0
