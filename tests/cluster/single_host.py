"""A real SLURM on this one machine: two nodes, one of them with two (pretended) GPUs.

Built from Debian's packages, as root, without systemd. The job steps read /etc/slurm/slurm.conf
whatever SLURM_CONF says, so a machine that has one of its own is left alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
CONFIGURATION = Path("/etc/slurm")
MARK = "# Written by tests/cluster; removed when they end."


class NotHere(Exception):
    """Why there can be no SLURM on this machine."""


@dataclass(frozen=True)
class Job:
    """A job as the controller remembers it."""

    number: str
    rule: str
    state: str
    partition: str
    gpus: str


class Cluster:
    """Asks the running SLURM."""

    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    def jobs(self) -> list[Job]:
        """All jobs since the controller started, oldest first."""
        lines = self.run("scontrol", "show", "job", "--oneliner").splitlines()
        found = [self._job(line) for line in lines if line.startswith("JobId=")]
        return sorted(found, key=lambda job: int(job.number))

    @staticmethod
    def _job(line: str) -> Job:
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        return Job(
            fields["JobId"],
            fields.get("Comment", "").removeprefix("rule_").split("_wildcards_")[0],
            fields["JobState"],
            fields["Partition"],
            fields.get("TresPerJob", ""),
        )

    def of_rule(self, rule: str) -> list[Job]:
        return [job for job in self.jobs() if job.rule == rule]

    def hold(self, partition: str, closed: bool) -> None:
        """Closed, a partition takes jobs and starts none."""
        state = "DOWN" if closed else "UP"
        self.run("scontrol", "update", f"PartitionName={partition}", f"State={state}")


def install() -> None:
    """Installs the packages. Raises NotHere where that cannot be."""
    if os.geteuid() != 0:
        raise NotHere("setting SLURM up needs root")
    if all(map(shutil.which, PROGRAMS)):
        return
    if shutil.which("apt-get") is None:
        raise NotHere("SLURM is not installed, and this is no Debian that could install it")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NotHere(f"Debian's SLURM packages cannot be fetched: {last}")


@contextmanager
def running(state: Path) -> Iterator[Cluster]:
    """A SLURM that keeps its state in `state`. Raises NotHere where one is configured already."""
    for name in ("slurm.conf", "gres.conf"):
        path = CONFIGURATION / name
        if path.exists() and not path.read_text().startswith(MARK):
            raise NotHere(f"{path} belongs to another SLURM")
    install()
    _configure(state)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in _commands(state):
            log = (state / f"{len(daemons)}.log").open("wb")
            daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
            if command[0] == "munged":
                _until(lambda: (state / "munge.socket").exists(), "munged does not start")
        cluster = Cluster()
        _until(lambda: _both_idle(cluster), "the nodes do not come up")
        yield cluster
    finally:
        _stop(daemons)
        for name in ("slurm.conf", "gres.conf"):
            (CONFIGURATION / name).unlink(missing_ok=True)


def _configure(state: Path) -> None:
    for name in ("control", "cpu1", "gpu1"):
        (state / name).mkdir(parents=True)
    key = state / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    host = socket.gethostname()
    CONFIGURATION.mkdir(exist_ok=True)
    (CONFIGURATION / "slurm.conf").write_text(f"""{MARK}
ClusterName=matinee
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={state}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={_free_port()}
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n/slurmd.pid
SlurmdSpoolDir={state}/%n
StateSaveLocation={state}/control
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
MinJobAge=3600
JobRequeue=0
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=16 RealMemory=200000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=16 RealMemory=200000 \
Gres=gpu:2
PartitionName=cpu Nodes=cpu1 Default=YES State=UP
PartitionName=gpu Nodes=gpu1 State=UP
""")
    # A node whose device has no file is not taken into service.
    (CONFIGURATION / "gres.conf").write_text(f"""{MARK}
NodeName=gpu1 Name=gpu File=/dev/zero
NodeName=gpu1 Name=gpu File=/dev/full
""")


def _commands(state: Path) -> list[list[str]]:
    munge = [f"--{name}={state}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file")]
    munge += [f"--{name}={state}/munge.{name}" for name in ("log-file", "seed-file")]
    return [
        ["munged", "--foreground", "--force", f"--key-file={state}/munge.key", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", "cpu1"],
        ["slurmd", "-D", "-N", "gpu1"],
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _both_idle(cluster: Cluster) -> bool:
    try:
        states = cluster.run("sinfo", "--noheader", "--format=%T", "--Node").split()
    except subprocess.CalledProcessError:
        return False
    return states == ["idle", "idle"]


def _until(reached: object, problem: str, seconds: float = 60.0) -> None:
    assert callable(reached)
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise NotHere(f"{problem} within {seconds:.0f} s")
        time.sleep(0.2)


def _stop(daemons: list[subprocess.Popen[bytes]]) -> None:
    # Jobs first: what a failed test left running must not outlive it.
    subprocess.run(["scancel", "--full", "--user=root"], capture_output=True, check=False)
    end = time.monotonic() + 60
    while _queued() and time.monotonic() < end:
        time.sleep(0.2)
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _queued() -> bool:
    """Whether jobs wait, run, or are still being ended."""
    done = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())
