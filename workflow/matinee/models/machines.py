"""How fast a machine multiplies matrices and what memory it has: this one, or a GPU by its name."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matinee.models.devices import place
from matinee.runtime import records
from matinee.runtime.errors import ConfigurationError

# Peak dense TFLOP/s of tensor cores in bf16 with fp32 sums, and GB: NVIDIA's data sheets and, for
# GeForce, the white papers of Ada and of Ampere GA102.
GPUS = {
    **{"H200": (989, 141), "H100": (989, 80), "A100": (312, 80), "L40S": (362, 48)},
    **{"4090": (165, 24), "3090": (71, 24), "A10": (125, 24), "L4": (121, 24)},
}
# Of the peak. The published training (7,736 s on an A100) comes to 0.28 by the tokens below.
GPU_SHARE = 0.3
# Of a bare matrix product, on a CPU: docs/performance.md measured 0.62, docs/demo.md 0.56 in bf16.
CPU_SHARE = {"fp32": 0.6, "bf16": 0.5}


@dataclass(frozen=True)
class Machine:
    """Where it runs: GB for a model, FLOP/s of bare products by precision, free GB of a disk;
    whether it is this one, and its running processes per core."""

    name: str
    gpu: bool
    memory: float
    speeds: Mapping[str, float]
    disk: float = math.inf
    here: bool = False
    load: float = 0.0

    def seconds(self, work: float, precision: str) -> float:
        """The time of so many floating-point operations."""
        if self.gpu:
            return work / self.speeds["bf16"] / GPU_SHARE
        known = precision if precision in self.speeds else "fp32"
        return work / self.speeds[known] / CPU_SHARE[known]


def named_gpu(name: str) -> Machine:
    """A GPU of the table. Raises ConfigurationError for another."""
    found = name.upper().removeprefix("RTX").strip(" -")
    if found not in GPUS:
        raise ConfigurationError(f"--gpu: {name!r} is not in the table: {', '.join(GPUS)}")
    peak, memory = GPUS[found]
    return Machine(found, True, memory, {"bf16": peak * 1e12})


def this_machine() -> Machine:
    """This one, with its products timed for half a second."""
    import torch

    hardware, free = records.hardware(), shutil.disk_usage(".").free / 1e9
    if torch.cuda.is_available():
        speeds = {"bf16": _speed(torch.empty(8192, 8192, device="cuda", dtype=torch.bfloat16))}
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Machine(torch.cuda.get_device_name(0), True, memory, speeds, free, here=True)
    placements = {place("bf16"), place("fp32")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    speeds = {
        p.precision: threads * _speed(torch.empty(512, 512, dtype=p.dtype)) for p in placements
    }
    torch.set_num_threads(threads)
    load = os.getloadavg()[0] / hardware["cores"]
    name, memory = f"{hardware['cores']} cores", hardware["memory_gb"]
    return Machine(name, False, memory, speeds, free, here=True, load=load)


def _speed(factor: Any) -> float:
    """FLOP/s of the fastest of many products: other work on the machine disturbs it least."""
    factor.fill_(1.0)
    ends, fastest = time.perf_counter() + 0.25, math.inf
    while (began := time.perf_counter()) < ends:
        (factor @ factor)[0, 0].item()
        fastest = min(fastest, time.perf_counter() - began)
    return float(2 * len(factor) ** 3 / fastest)
