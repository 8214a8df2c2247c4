"""Joules that a stretch of work took, from the counters of the hardware; never an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POWERCAP = Path("/sys/class/powercap")
MILLIJOULES = 1000
MICROJOULES = 1_000_000


@dataclass(frozen=True)
class Energy:
    """Joules, or None where nothing could be read; `source` says what was read, or why not."""

    joules: float | None
    source: str


class Counter(Protocol):
    """A counter of the hardware that only grows, but for its wrapping around."""

    source: str

    def joules(self) -> float:
        """Joules since some moment in the past."""
        ...


class EnergyMeter:
    """Measures from its making on. `sample` it often enough that no counter wraps around twice."""

    def __init__(self, device: str) -> None:
        self._counter, self._reason = open_counter(device)
        self._total = 0.0
        self._last = 0.0
        if self._counter is not None:
            self._last = self._read(self._counter)

    def sample(self) -> None:
        """Adds what the counter moved since the last sample."""
        if self._counter is None:
            return
        now = self._read(self._counter)
        # After a counter has wrapped around, what it moved before that is not known: RAPL's range
        # is a quarter of an hour or more of full load, and samples are seconds apart.
        self._total += now - self._last if now >= self._last else now
        self._last = now

    def energy(self) -> Energy:
        """What was used so far."""
        self.sample()
        if self._counter is None:
            return Energy(None, f"not measured: {self._reason}")
        return Energy(round(self._total, 1), self._counter.source)

    def _read(self, counter: Counter) -> float:
        try:
            return counter.joules()
        except Exception as error:  # noqa: BLE001 (a counter that breaks must not end a training)
            self._counter, self._reason = None, f"{counter.source} broke off: {error}"
            return self._last


def open_counter(device: str) -> tuple[Counter | None, str]:
    """The counter of that device ("cuda" or "cpu"), or None and why there is none."""
    try:
        return (Nvml() if device == "cuda" else Rapl()), ""
    except Exception as error:  # noqa: BLE001 (drivers and permissions fail in their own ways)
        return None, str(error).strip() or type(error).__name__


class Nvml:
    """The total energy counter of the process's own NVIDIA GPU (Volta and later)."""

    def __init__(self) -> None:
        import pynvml
        import torch

        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        self._nvml = pynvml
        self.source = "NVML, total energy of the GPU"
        self.joules()

    def joules(self) -> float:
        """Joules since the driver was loaded."""
        used: int = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        return used / MILLIJOULES


class Rapl:
    """Intel's and AMD's RAPL counters of whole processor packages, through Linux's powercap."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._files = package_counters(root)
        if not self._files:
            raise OSError(f"no RAPL counter under {root}")
        self.source = f"RAPL, {len(self._files)} processor package(s), everything running on them"
        self.joules()

    def joules(self) -> float:
        """Joules, summed over the packages, since their counters last wrapped around."""
        return sum(int(file.read_text()) for file in self._files) / MICROJOULES


def package_counters(root: Path) -> Sequence[Path]:
    """The energy files of whole packages: `intel-rapl:0`, not its parts `intel-rapl:0:1`."""
    return sorted(
        zone / "energy_uj"
        for zone in root.glob("intel-rapl:*")
        if zone.name.count(":") == 1
        and (zone / "name").read_text(encoding="ascii").startswith("package")
    )
