"""Page faults and time of one training-like loop, with and without `memory.keep_freed`.

python benchmarks/memory.py [--rounds 3]

Each measurement is a process of its own, in turn, because the setting cannot be taken back.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

SIZE = 20_000_000  # 80 MB in fp32: above glibc's largest threshold for mapping a block afresh
REPEATS = 40


def measure(keep: bool) -> dict[str, float]:
    import torch

    from matinee.models.memory import keep_freed

    if keep:
        keep_freed()
    weight = torch.ones(SIZE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    started = time.perf_counter()
    for _ in range(REPEATS):
        (weight * 2.0).add_(1.0)
    return {
        "seconds": time.perf_counter() - started,
        "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=["default", "kept"])
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one == "kept")))
        return
    found: dict[str, list[dict[str, float]]] = {"default": [], "kept": []}
    for _ in range(arguments.rounds):
        for kind, results in found.items():
            run = subprocess.run(
                [sys.executable, __file__, "--one", kind],
                capture_output=True,
                text=True,
                check=True,
            )
            results.append(json.loads(run.stdout))
    for kind, results in found.items():
        seconds = statistics.median(result["seconds"] for result in results)
        faults = statistics.median(result["faults"] for result in results)
        print(f"{kind:8} {seconds:8.2f} s  {faults:12,.0f} page faults")
    pairs = zip(found["default"], found["kept"], strict=True)
    ratios = [first["seconds"] / second["seconds"] for first, second in pairs]
    print(f"ratio default / kept: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
