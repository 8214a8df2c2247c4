"""The comparison in figures: shares, means, and each configuration paired with the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from matinee.apps.agent.trials.comparing import Trial
from matinee.apps.agent.trials.scoring import COSTS
from matinee.apps.agent.trials.tasks import KINDS
from matinee.evaluation.significance import (
    SIGNIFICANCE,
    clustered_mean,
    holm,
    paired_difference,
    smallest_detectable_difference,
    wilson,
)
from matinee.runtime.strict import Strict

_FORMATS = {"steps": ".1f", "calls": ".1f", "tokens": ",.0f", "seconds": ".1f"}


class Row(Strict):
    """One configuration. `low`, `high`: 95 % interval of the share (Wilson). Costs: means per task.

    `found`: tasks whose facts were returned, and tasks that have facts. `by_kind`: tasks done and
    tasks, per kind.
    """

    configuration: str
    tasks: int
    successes: int
    low: float
    high: float
    found: tuple[int, int]
    by_kind: dict[str, tuple[int, int]]
    costs: dict[str, float]


class TrialPair(Strict):
    """One configuration against the baseline, on the same tasks.

    `difference`: of the shares, with a 95 % interval (bootstrap over families). `p`: exact
    McNemar; `p_adjusted`: Holm's over all pairs. `costs`: mean difference per task, and interval.
    """

    configuration: str
    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    costs: dict[str, tuple[float, float, float]]


class TrialTable(Strict):
    """All configurations. `detectable`: the smallest difference that so many tasks would show."""

    baseline: str
    rows: tuple[Row, ...]
    pairs: tuple[TrialPair, ...]
    detectable: float | None


def compare(trials: Sequence[Sequence[Trial]], baseline: str) -> TrialTable:
    """Compares runs of the same tasks, one sequence per configuration.

    Raises ValueError where the runs do not hold the same tasks in the same order, or none of them
    is the baseline's.
    """
    tasks = [[trial.task for trial in run] for run in trials]
    if any(names != tasks[0] for names in tasks):
        raise ValueError("the runs hold different tasks")
    before = next(run for run in trials if run[0].configuration == baseline)
    others = [run for run in trials if run is not before]
    families = [trial.family for trial in before]
    old = [trial.success for trial in before]
    outcomes = [[trial.success for trial in run] for run in others]
    tests = [paired_difference([old], [new], families) for new in outcomes]
    adjusted = holm([test.p for test in tests])
    pairs = []
    for run, new, test, p_adjusted in zip(others, outcomes, tests, adjusted, strict=True):
        flips = list(zip(old, new, strict=True))
        pairs.append(
            TrialPair(
                configuration=run[0].configuration,
                gained=flips.count((False, True)),
                lost=flips.count((True, False)),
                difference=test.estimate,
                low=test.low,
                high=test.high,
                p=test.p,
                p_adjusted=p_adjusted,
                costs={cost: _cost_difference(before, run, cost) for cost in COSTS},
            )
        )
    return TrialTable(
        baseline=baseline,
        rows=tuple(map(_row, trials)),
        pairs=tuple(pairs),
        detectable=smallest_detectable_difference(
            len(set(families)), alpha=SIGNIFICANCE / max(1, len(others))
        ),
    )


def _cost_difference(
    before: Sequence[Trial], after: Sequence[Trial], cost: str
) -> tuple[float, float, float]:
    differences = [
        new.costs[cost] - old.costs[cost] for old, new in zip(before, after, strict=True)
    ]
    found = clustered_mean(differences, [trial.family for trial in after])
    return found.estimate, found.low, found.high


def _row(run: Sequence[Trial]) -> Row:
    successes = sum(trial.success for trial in run)
    interval = wilson(successes, len(run))
    sought = [trial.found for trial in run if trial.found is not None]
    by_kind = {kind: [trial.success for trial in run if trial.kind == kind] for kind in KINDS}
    return Row(
        configuration=run[0].configuration,
        tasks=len(run),
        successes=successes,
        low=interval.low,
        high=interval.high,
        found=(sum(sought), len(sought)),
        by_kind={kind: (sum(done), len(done)) for kind, done in by_kind.items() if done},
        costs={cost: fmean(trial.costs[cost] for trial in run) for cost in COSTS},
    )


def as_markdown(comparison: TrialTable) -> str:
    """Both tables as Markdown."""
    kinds = list(comparison.rows[0].by_kind)
    rows = [["configuration", "success (95 %)", "found", *kinds, *COSTS]]
    rows += [
        [
            row.configuration,
            f"{row.successes}/{row.tasks} ({row.low:.0%} to {row.high:.0%})",
            "/".join(map(str, row.found)),
            *("/".join(map(str, row.by_kind[kind])) for kind in kinds),
            *(f"{row.costs[cost]:{_FORMATS[cost]}}" for cost in COSTS),
        ]
        for row in comparison.rows
    ]
    costs = [cost for cost in COSTS if cost != "calls"]
    pairs = [["against the baseline", "gained/lost", "difference (95 %)", "p (Holm)", *costs]]
    pairs += [
        [
            pair.configuration,
            f"+{pair.gained}/−{pair.lost}",
            f"{pair.difference:+.0%} ({pair.low:+.0%} to {pair.high:+.0%})",
            f"{pair.p:.3f} ({pair.p_adjusted:.3f})",
            *(f"{pair.costs[cost][0]:+{_FORMATS[cost]}}" for cost in costs),
        ]
        for pair in comparison.pairs
    ]
    return f"{_table(rows)}\n{_table(pairs)}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in ruled)
