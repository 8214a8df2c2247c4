"""Jobs side by side get different devices, never more than they were given; death frees them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from matinee.runtime import leases
from matinee.runtime.errors import EngineError
from matinee.runtime.leases import VARIABLE, Device, lease, visible_devices

CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices of these tests are numbers, whatever this machine has."""
    monkeypatch.setattr(leases, "_machine", list)
    monkeypatch.delenv(VARIABLE, raising=False)


def hold_until_told(folder: Path, count: int, pipe: Connection) -> None:
    """In another process: leases, says what it got, and holds it until told to end."""
    leases._machine = list  # type: ignore[assignment]
    leases.POLL_SECONDS = 0.05
    with lease(count, folder=folder, say=lambda line: pipe.send(f"said: {line}")) as names:
        pipe.send((names, os.environ[VARIABLE]))
        pipe.recv()
    pipe.send(os.environ[VARIABLE])


class Stage:
    """A stage in a process of its own that leases devices."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        self.pipe, other = CONTEXT.Pipe()
        self.process: SpawnProcess = CONTEXT.Process(
            target=hold_until_told, args=(folder, count, other)
        )
        self.process.start()
        other.close()

    def told(self) -> object:
        assert self.pipe.poll(60)
        return self.pipe.recv()

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join()

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def begin(count: int = 1) -> Stage:
        stages.append(Stage(tmp_path, count))
        return stages[-1]

    yield begin
    for stage in stages:
        stage.process.kill()
        stage.process.join()


class TestWhatIsVisible:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ("0,1", ["0", "1"]),
            (" 2 , 5 ", ["2", "5"]),
            ("", []),
            ("-1", []),
            ("0,-1,1", ["0"]),
            ("3,3", ["3"]),
            ("MIG-a,GPU-b", ["MIG-a", "GPU-b"]),
        ],
    )
    def test_the_variable_is_read_as_cuda_reads_it(
        self, monkeypatch: pytest.MonkeyPatch, given: str, names: list[str]
    ) -> None:
        monkeypatch.setenv(VARIABLE, given)
        assert [device.name for device in visible_devices()] == names

    def test_without_it_all_devices_of_the_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leases, "_machine", lambda: ["GPU-aa", "GPU-bb"])
        assert visible_devices() == [Device("GPU-aa", "GPU-aa"), Device("GPU-bb", "GPU-bb")]

    def test_a_device_has_one_key_however_it_is_spelled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "_machine", lambda: ["GPU-aa", "GPU-bb"])
        for spelled in ("1", "GPU-bb", "GPU-b"):
            monkeypatch.setenv(VARIABLE, spelled)
            assert visible_devices() == [Device(spelled, "GPU-bb")]

    def test_a_machine_without_devices_has_none(self) -> None:
        assert visible_devices() == []


class TestOneJob:
    def test_sees_what_it_leased_and_afterwards_what_it_saw_before(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(VARIABLE, "4,6")
        with lease(1, folder=tmp_path) as names:
            assert names == ("4",)
            assert os.environ[VARIABLE] == "4"
        assert os.environ[VARIABLE] == "4,6"

    def test_that_asks_for_none_sees_none(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(VARIABLE, "0")
        with lease(0, folder=tmp_path) as names:
            assert names == ()
            assert os.environ[VARIABLE] == ""

    def test_on_a_machine_without_devices_changes_nothing(self, tmp_path: Path) -> None:
        with lease(1, folder=tmp_path) as names:
            assert names == ()
            assert VARIABLE not in os.environ

    def test_that_asks_for_more_than_there_are_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(VARIABLE, "0")
        with pytest.raises(EngineError, match="asks for 2 GPUs, but 1"), lease(2, folder=tmp_path):
            pass


class TestJobsSideBySide:
    @pytest.fixture(autouse=True)
    def two_devices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "0,1")

    def test_get_different_devices(self, start: Callable[..., Stage]) -> None:
        assert {start().told(), start().told()} == {(("0",), "0"), (("1",), "1")}

    def test_a_third_waits_and_says_so_until_one_ends(self, start: Callable[..., Stage]) -> None:
        first, second = start(), start()
        freed = first.told()
        second.told()
        third = start()
        assert third.told() == "said: waiting for 1 of 2 GPUs; other jobs hold them"
        first.end()
        assert third.told() == freed

    def test_a_killed_job_frees_its_device(self, start: Callable[..., Stage]) -> None:
        first, second = start(), start()
        first.told()
        freed = second.told()
        second.kill()
        assert start().told() == freed

    def test_a_job_of_two_takes_both_or_waits(self, start: Callable[..., Stage]) -> None:
        small = start()
        small.told()
        large = start(2)
        assert str(large.told()).startswith("said: waiting for 2 of 2")
        # While it waits it holds nothing.
        other = start()
        assert other.told() == (("1",), "1")
        small.end()
        other.end()
        assert large.told() == (("0", "1"), "0,1")

    def test_what_is_taken_elsewhere_stays_out_of_reach(
        self, start: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(VARIABLE, "1")
        assert start().told() == (("1",), "1")
        monkeypatch.setenv(VARIABLE, "0,1")
        assert start().told() == (("0",), "0")


LAUNCHED = """
import os, pathlib, sys
sys.path.insert(0, {workflow!r})
from matinee.runtime import leases
leases._machine = list
held = leases.lease(1, folder=pathlib.Path({folder!r}))
held.__enter__()
os.execv(sys.executable, [sys.executable, "-c", "print('launched', flush=True); input()"])
"""


def test_a_lease_goes_on_where_a_launcher_takes_the_place_of_the_stage(tmp_path: Path) -> None:
    workflow = str(Path(leases.__file__).parents[2])
    code = LAUNCHED.format(workflow=workflow, folder=str(tmp_path))
    launcher = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "launched\n"

    def free() -> list[Device]:
        with contextlib.ExitStack() as locks:
            return leases._try([Device("0", "0")], 1, tmp_path, locks)

    assert free() == []
    launcher.communicate("\n")
    assert free() == [Device("0", "0")]
