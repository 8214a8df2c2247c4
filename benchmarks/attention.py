"""Attention in training on a CPU: ours against PyTorch's, forward and backward of one layer.

    python benchmarks/attention.py [--threads 1] [--rounds 9]

Shapes of SmolLM2-135M (9 heads over 3, size 64) and Gemma 3 270M (4 heads over 1, size 256), for
rows side by side and for branches of a shared prefix. Both in turn, medians in milliseconds; output
and gradients must agree.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from matinee.models.attention import AttentionCall, PackedLayout
from matinee.models.memory import keep_freed
from matinee.models.packing import Group

SMOLLM, GEMMA = (9, 3, 64), (4, 1, 256)
BRANCHES = (82, 67, 50, 30, 26, 40)
# Name, heads of queries and of keys and their size, groups, window.
CASES: tuple[tuple[str, tuple[int, int, int], list[Group], int | None], ...] = (
    ("one row of 673", SMOLLM, [Group(0, 0, (673,))], None),
    ("one row of 1,297", SMOLLM, [Group(0, 0, (1297,))], None),
    ("prefix of 1,000, six branches", SMOLLM, [Group(0, 1000, BRANCHES)], None),
    ("prefix of 289, six branches", GEMMA, [Group(0, 289, BRANCHES)], None),
    ("prefix of 689, window of 512", GEMMA, [Group(0, 689, BRANCHES)], 512),
)
TOLERANCE = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed()
    print("| | PyTorch | ours | faster by |\n| --- | --- | --- | --- |")
    for name, heads, groups, window in CASES:
        theirs, mine = _compare(heads, groups, window, arguments.rounds)
        print(f"| {name} | {theirs:.1f} ms | {mine:.1f} ms | {theirs / mine:.2f} × |")


def _compare(
    heads: tuple[int, int, int], groups: list[Group], window: int | None, rounds: int
) -> tuple[float, float]:
    queries, keys, size = heads
    layout = PackedLayout(groups)
    chance = torch.Generator().manual_seed(0)
    states = [
        torch.randn(1, groups[-1].end, count, size, generator=chance)
        .transpose(1, 2)
        .requires_grad_()
        for count in (queries, keys, keys)
    ]
    query, key, value = states
    call = AttentionCall(0, query, key, value, window=window)
    outgoing = torch.randn(1, queries, groups[-1].end, size, generator=chance)
    ways: list[Callable[[AttentionCall], Tensor]] = [layout._attend_by_pieces, layout.attend]
    seconds: list[list[float]] = [[], []]
    results: list[list[Tensor]] = [[], []]
    for _ in range(rounds + 1):  # the first round is not counted
        for number, way in enumerate(ways):
            started = time.perf_counter()
            output = way(call)
            gradients = torch.autograd.grad(output, states, outgoing)
            seconds[number].append(time.perf_counter() - started)
            results[number] = [output.detach(), *gradients]
    for theirs, mine in zip(*results, strict=True):
        if (theirs - mine).abs().max() > TOLERANCE * theirs.abs().max():
            raise SystemExit("output or gradients differ: nothing was compared")
    theirs_median, mine_median = (1000 * statistics.median(times[1:]) for times in seconds)
    return theirs_median, mine_median


if __name__ == "__main__":
    main()
