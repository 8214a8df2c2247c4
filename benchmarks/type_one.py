"""How often the report would claim a difference where there is none, and whether intervals hold.

    python benchmarks/type_one.py [--draws 4000]

Draws outcomes of a subject before and of one to three seeds after, without an average difference,
and counts p < 0.05 (`paired_difference`) and intervals that miss zero. Three worlds:

- nothing: every case keeps its own chance of being right;
- families: each family is shifted up or down after training, all its cases and seeds alike;
- blocks: the cases of a family always come out alike, so that only families are observations.

The last table counts headlines (`compare_outcomes`: two variants, cases where something is due and
cases to be left alone, corrected) that say better, worse or mixed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from matinee.evaluation.comparison import Outcome, Pair, compare_outcomes
from matinee.evaluation.significance import SIGNIFICANCE, paired_difference

CASES = (2, 3, 5, 8, 16, 64)
SEEDS = (1, 2, 3)
WORLDS = ("nothing", "families", "blocks")
Outcomes = NDArray[np.bool_]


def family_counts(cases: int) -> list[int]:
    """One family, a few, half as many as cases, and one for each case."""
    return sorted({1, min(3, cases), max(1, cases // 2), cases})


def draw(
    world: str, member: NDArray[np.int64], seeds: int, rng: np.random.Generator
) -> tuple[Outcomes, Outcomes]:
    """Outcomes before (1 x cases) and after (seeds x cases), the same on average."""
    cases, families = len(member), int(member.max()) + 1
    ease = rng.normal(0, 1.5, cases)
    shifts = np.zeros((2, families))
    if world == "families":
        shifts = rng.normal(0, 2, (2, families))
    if world == "blocks":
        before, after = rng.random((2, families)) < 0.5
        return before[member][None], np.repeat(after[member][None], seeds, axis=0)
    chance = 1 / (1 + np.exp(-(ease + shifts[:, member])))
    return rng.random((1, cases)) < chance[0], rng.random((seeds, cases)) < chance[1]


def rates(
    draws: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, int, int, float, float]]:
    """World, cases, seeds, families, share of p < 0.05, share of intervals without zero."""
    for world in WORLDS:
        for cases in CASES:
            for seeds in SEEDS:
                for families in family_counts(cases):
                    member = np.arange(cases) * families // cases
                    names = [str(one) for one in member]
                    found = [
                        paired_difference(before.tolist(), after.tolist(), names)
                        for before, after in (draw(world, member, seeds, rng) for _ in range(draws))
                    ]
                    claimed = float(np.mean([one.p < SIGNIFICANCE for one in found]))
                    apart = float(np.mean([one.apart for one in found]))
                    yield world, cases, seeds, families, claimed, apart


def headlines(world: str, seeds: int, draws: int, rng: np.random.Generator) -> float:
    """Share of runs of two variants on 64 cases in 32 families in which any headline claims."""
    member = np.arange(64) // 2
    pairs = [
        Pair("training", (f"{v}-untuned",), tuple(f"{v}-s{s}" for s in range(seeds))) for v in "ab"
    ]
    claims = 0
    for _ in range(draws):
        outcomes = {}
        for pair in pairs:
            rows = np.concatenate(draw(world, member, seeds, rng))
            for subject, row in zip(pair.before + pair.after, rows, strict=True):
                outcomes[subject] = {
                    "zh": [
                        Outcome(str(n), "one", str(member[n]), bool(right), due=n < 48)
                        for n, right in enumerate(row)
                    ]
                }
        compared = compare_outcomes(outcomes, pairs)
        said = {compared.headline(pair, "zh") for pair in pairs}
        claims += bool(said & {"better", "worse", "mixed"})
    return claims / draws


def main() -> None:
    """Prints one row per world and number of cases: the largest rates over seeds and families."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    draws = parser.parse_args().draws
    rng = np.random.default_rng(1)
    largest: dict[tuple[str, int, int], list[float]] = {}
    missed: dict[tuple[str, int], float] = {}
    for world, cases, seeds, _, claimed, apart in rates(draws, rng):
        largest.setdefault((world, cases, seeds), []).append(claimed)
        missed[world, cases] = max(apart, missed.get((world, cases), 0.0))
    print("| world | cases | 1 seed | 2 seeds | 3 seeds | intervals without zero |")
    print("| --- | --- | --- | --- | --- | --- |")
    for world in WORLDS:
        for cases in CASES:
            cells = [f"{max(largest[world, cases, seeds]):.1%}" for seeds in SEEDS]
            print(f"| {world} | {cases} | {' | '.join(cells)} | {missed[world, cases]:.1%} |")
    print("\n| world | headlines, 1 seed | 2 seeds | 3 seeds |\n| --- | --- | --- | --- |")
    for world in WORLDS:
        cells = [f"{headlines(world, seeds, draws // 4, rng):.1%}" for seeds in SEEDS]
        print(f"| {world} | {' | '.join(cells)} |")
    error = 2 * (SIGNIFICANCE * (1 - SIGNIFICANCE) / draws) ** 0.5
    print(f"\n{draws} draws a cell; a true 5 % is seen as 5 % +- {error:.1%}.")


if __name__ == "__main__":
    main()
