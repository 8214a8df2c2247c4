"""Joules come from a counter of the hardware, or there are none and it says why."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from matinee import energy
from matinee.energy import EnergyMeter, Rapl, open_counter


class Given:
    source = "a counter"

    def __init__(self, *readings: float) -> None:
        self._readings = list(readings)

    def joules(self) -> float:
        return self._readings.pop(0)


def meter(monkeypatch: pytest.MonkeyPatch, *readings: float) -> EnergyMeter:
    monkeypatch.setattr(energy, "open_counter", lambda device: (Given(*readings), ""))
    return EnergyMeter("cpu")


def zone(root: Path, name: str, kind: str, microjoules: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n", encoding="ascii")
    (folder / "energy_uj").write_text(f"{microjoules}\n", encoding="ascii")
    return folder / "energy_uj"


def test_energy_is_what_the_counter_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = meter(monkeypatch, 100.0, 130.0, 145.0)
    measured.sample()
    assert measured.energy() == energy.Energy(45.0, "a counter")


def test_a_counter_that_wrapped_around_adds_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = meter(monkeypatch, 250.0, 260.0, 4.0, 9.0)
    measured.sample()
    measured.sample()
    assert measured.energy().joules == 10.0 + 4.0 + 5.0


def test_a_counter_that_breaks_off_leaves_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = meter(monkeypatch, 1.0, 2.0)
    measured.sample()
    found = measured.energy()
    assert found.joules is None
    assert found.source.startswith("not measured: a counter broke off")


def test_rapl_sums_whole_packages_and_leaves_their_parts_out(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 3_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    counter = Rapl(tmp_path)
    assert counter.joules() == 7.0
    first.write_text("6500000\n", encoding="ascii")
    assert counter.joules() == 8.5
    assert "2 processor package(s)" in counter.source


def test_without_a_counter_energy_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy.Rapl.__init__, "__defaults__", (tmp_path,))
    found = EnergyMeter("cpu").energy()
    assert found.joules is None
    assert found.source == f"not measured: no RAPL counter under {tmp_path}"


def test_a_counter_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1)

    def forbidden(self: Rapl) -> float:
        raise PermissionError(13, "Permission denied", "energy_uj")

    monkeypatch.setattr(Rapl, "joules", forbidden)
    monkeypatch.setattr(energy.Rapl.__init__, "__defaults__", (tmp_path,))
    counter, reason = open_counter("cpu")
    assert counter is None
    assert "Permission denied" in reason


def test_on_cuda_the_processs_own_gpu_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    asked: list[Any] = []
    readings = iter([0, 2_000, 5_500])
    fake = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or "handle",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(readings),
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"uuid-of-{index}")
    )
    measured = EnergyMeter("cuda")
    assert asked == [b"GPU-uuid-of-3"]
    found = measured.energy()
    assert found.joules == 3.5
    assert found.source == "NVML, total energy of the GPU"
