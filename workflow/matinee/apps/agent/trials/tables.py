"""The comparison in figures: shares, means, and each configuration paired with the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from matinee.apps.agent.trials.comparing import Trial
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

COSTS = ("steps", "calls", "tokens", "seconds")


class Row(Strict):
    """One configuration. `low`, `high`: 95 % interval of the share (Wilson). Costs: means per task.

    `found`: tasks whose facts were returned, and tasks that have facts. `by_kind`: tasks done and
    tasks, per kind.
    """

    configuration: str
    tasks: int
    successes: int
    share: float
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
    baseline: str
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
    old = _outcomes(before)
    tests = [paired_difference([old], [_outcomes(run)], families) for run in others]
    adjusted = holm([test.p for test in tests])
    pairs = []
    for run, found, p_adjusted in zip(others, tests, adjusted, strict=True):
        flips = list(zip(old, _outcomes(run), strict=True))
        pairs.append(
            TrialPair(
                configuration=run[0].configuration,
                baseline=baseline,
                gained=flips.count((False, True)),
                lost=flips.count((True, False)),
                difference=found.estimate,
                low=found.low,
                high=found.high,
                p=found.p,
                p_adjusted=p_adjusted,
                costs={cost: _cost_difference(before, run, cost) for cost in COSTS},
            )
        )
    return TrialTable(
        rows=tuple(_row(run) for run in trials),
        pairs=tuple(pairs),
        detectable=smallest_detectable_difference(
            len(set(families)), alpha=SIGNIFICANCE / max(1, len(others))
        ),
    )


def as_markdown(comparison: TrialTable) -> str:
    """Both tables as Markdown."""
    kinds = [kind for kind in KINDS if comparison.rows[0].by_kind.get(kind)]
    lines = [
        "| configuration | success (95 %) | found | "
        + " | ".join(kinds)
        + " | steps | calls | tokens | seconds |",
        "| --- |" + " --- |" * (len(kinds) + 6),
    ]
    lines += [_row_line(row, kinds) for row in comparison.rows]
    lines += [
        "",
        "| against the baseline | gained/lost | difference (95 %) | p (Holm) | steps | tokens "
        "| seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_pair_line(pair) for pair in comparison.pairs]
    return "\n".join(lines) + "\n"


def cost_of(trial: Trial, cost: str) -> float:
    """A trial's steps, calls, tokens (read and written) or seconds."""
    if cost == "tokens":
        return float(trial.prompt_tokens + trial.completion_tokens)
    return float(getattr(trial, cost))


def _outcomes(run: Sequence[Trial]) -> list[bool]:
    return [trial.success for trial in run]


def _cost_difference(
    before: Sequence[Trial], after: Sequence[Trial], cost: str
) -> tuple[float, float, float]:
    differences = [
        cost_of(new, cost) - cost_of(old, cost) for old, new in zip(before, after, strict=True)
    ]
    found = clustered_mean(differences, [trial.family for trial in after])
    return found.estimate, found.low, found.high


def _row(run: Sequence[Trial]) -> Row:
    successes = sum(trial.success for trial in run)
    interval = wilson(successes, len(run))
    sought = [trial.found for trial in run if trial.found is not None]
    by_kind = {
        kind: (
            sum(trial.success for trial in run if trial.kind == kind),
            sum(trial.kind == kind for trial in run),
        )
        for kind in KINDS
    }
    return Row(
        configuration=run[0].configuration,
        tasks=len(run),
        successes=successes,
        share=successes / len(run),
        low=interval.low,
        high=interval.high,
        found=(sum(sought), len(sought)),
        by_kind={kind: counts for kind, counts in by_kind.items() if counts[1]},
        costs={cost: fmean(cost_of(trial, cost) for trial in run) for cost in COSTS},
    )


def _row_line(row: Row, kinds: Sequence[str]) -> str:
    parts = [
        row.configuration,
        f"{row.successes}/{row.tasks} ({row.low:.0%} to {row.high:.0%})",
        f"{row.found[0]}/{row.found[1]}",
        *(f"{row.by_kind[kind][0]}/{row.by_kind[kind][1]}" for kind in kinds),
        f"{row.costs['steps']:.1f}",
        f"{row.costs['calls']:.1f}",
        f"{row.costs['tokens']:,.0f}",
        f"{row.costs['seconds']:.1f}",
    ]
    return "| " + " | ".join(parts) + " |"


def _pair_line(pair: TrialPair) -> str:
    steps, tokens, seconds = (pair.costs[cost] for cost in ("steps", "tokens", "seconds"))
    parts = [
        pair.configuration,
        f"+{pair.gained}/−{pair.lost}",
        f"{pair.difference:+.0%} ({pair.low:+.0%} to {pair.high:+.0%})",
        f"{pair.p:.3f} ({pair.p_adjusted:.3f})",
        f"{steps[0]:+.1f}",
        f"{tokens[0]:+,.0f}",
        f"{seconds[0]:+.1f}",
    ]
    return "| " + " | ".join(parts) + " |"
