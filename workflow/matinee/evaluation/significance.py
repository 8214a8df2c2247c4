"""Is a difference real? Intervals, paired tests, corrections, and what could have been seen.

Outcomes are sequences of booleans, one per case, in the same order for both sides of a pair.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """Both ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class McNemar:
    """Discordant pairs and the two-sided exact p value."""

    gained: int
    lost: int
    p: float


@dataclass(frozen=True)
class Difference:
    """A difference of two paired proportions (after minus before) with its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """Sizes of one effect. `odds_ratio` is that of the discordant pairs (conditional)."""

    risk_difference: float
    cohens_h: float
    odds_ratio: float


@dataclass(frozen=True)
class SeedSummary:
    """Several trainings of one variant: `spread` is the standard deviation over seeds."""

    mean: float
    spread: float
    low: float
    high: float


def wilson(correct: int, total: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; (0, 1) where there is nothing to count.

    E. B. Wilson, JASA 22 (1927) 209-212.
    """
    from statsmodels.stats.proportion import proportion_confint

    if total == 0:
        return Interval(0.0, 1.0)
    low, high = proportion_confint(correct, total, alpha=1 - confidence, method="wilson")
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def pass_hat_k(successes: Sequence[int], runs: int, k: int) -> float:
    """pass^k: how likely a case is right in each of `k` runs, averaged over cases.

    `successes`: per case, how many of its `runs` were right. The unbiased estimate of one case is
    C(successes, k) / C(runs, k) (S. Yao et al., tau-bench, arXiv:2406.12045, section 4). Raises
    ValueError where k is not between 1 and `runs`, or there is no case.
    """
    if not 1 <= k <= runs or not successes:
        raise ValueError(f"pass^{k} of {len(successes)} cases with {runs} runs")
    return sum(math.comb(right, k) for right in successes) / (len(successes) * math.comb(runs, k))


def mcnemar_exact(before: Sequence[bool], after: Sequence[bool]) -> McNemar:
    """The exact (binomial) McNemar test. Raises ValueError where the lengths differ.

    With no discordant pair there is no evidence of a difference: p = 1.
    """
    from scipy.stats import binomtest

    gained = sum(new and not old for old, new in zip(before, after, strict=True))
    lost = sum(old and not new for old, new in zip(before, after, strict=True))
    if gained + lost == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(gained, lost, float(binomtest(gained, gained + lost, 0.5).pvalue))


def clustered_bootstrap(
    differences: Sequence[float],
    families: Sequence[str],
    seed: int = 0,
    resamples: int = 4000,
    confidence: float = 0.95,
) -> Difference:
    """The mean of per-case differences, with a percentile bootstrap over whole families.

    Cases of a family are variations of one situation and stand or fall together, so families are
    drawn, not cases (A. Davison and D. Hinkley, Bootstrap Methods, 1997, section 3.8). The mean
    of a draw is that of its cases. Raises ValueError for no case or unequal lengths.
    """
    if len(differences) != len(families) or not differences:
        raise ValueError(f"{len(differences)} differences for {len(families)} families")
    values = np.asarray(differences, dtype=float)
    _, member = np.unique(np.asarray(families), return_inverse=True)
    sums = np.bincount(member, weights=values)
    sizes = np.bincount(member).astype(float)
    counts = np.random.default_rng(seed).multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), size=resamples
    )
    means = (counts @ sums) / (counts @ sizes)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(float(values.mean()), float(low), float(high))


def paired_difference(
    before: Sequence[bool],
    after: Sequence[bool],
    families: Sequence[str],
    seed: int = 0,
) -> Difference:
    """The difference of two paired proportions with its interval, clustered by family."""
    differences = [float(new) - float(old) for old, new in zip(before, after, strict=True)]
    return clustered_bootstrap(differences, families, seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given. S. Holm, Scand. J. Statist. 6 (1979) 65-70."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def effect(before_share: float, after_share: float, gained: float, lost: float) -> Effect:
    """Risk difference, Cohen's h and the odds ratio of the discordant pairs.

    h = 2 asin sqrt(after) - 2 asin sqrt(before) (J. Cohen, Statistical Power Analysis, 1988,
    chapter 6). Half a pair is added to both counts of the odds ratio, so that it stays finite
    (Haldane and Anscombe's correction).
    """
    h = 2 * math.asin(math.sqrt(after_share)) - 2 * math.asin(math.sqrt(before_share))
    return Effect(after_share - before_share, h, (gained + 0.5) / (lost + 0.5))


def mcnemar_power(
    pairs: int, discordant_share: float, difference: float, alpha: float = SIGNIFICANCE
) -> float:
    """How likely the exact McNemar test finds a difference: its unconditional power.

    The number of discordant pairs is binomial(pairs, discordant_share); of these a share
    (discordant_share + difference) / (2 discordant_share) are gains. Power is summed over every
    number of discordant pairs (S. Duffy, Biometrics 40 (1984) 1005-1015). Raises ValueError where
    the difference is larger than the share of discordant pairs, which cannot be.
    """
    from scipy.stats import binom

    if not 0 < abs(difference) <= discordant_share <= 1:
        raise ValueError(f"difference {difference} with {discordant_share} discordant")
    counts = np.arange(pairs + 1)
    weights = binom.pmf(counts, pairs, discordant_share)
    critical = _critical_losses(pairs, alpha)
    gains = min(1.0, (discordant_share + abs(difference)) / (2 * discordant_share))
    few_losses = binom.cdf(critical, counts, 1 - gains)
    few_gains = binom.cdf(critical, counts, gains)
    return float(np.sum(weights * (few_losses + few_gains)))


@functools.lru_cache(maxsize=64)
def _critical_losses(pairs: int, alpha: float) -> NDArray[np.int64]:
    """Per number of discordant pairs, the largest rarer count that is significant (-1: none)."""
    from scipy.stats import binom

    counts = np.arange(pairs + 1)
    critical = binom.ppf(alpha / 2, counts, 0.5)
    critical = np.where(np.isnan(critical), 0, critical)
    too_many = binom.cdf(critical, counts, 0.5) > alpha / 2
    return np.where(too_many, critical - 1, critical).astype(np.int64)


@functools.lru_cache(maxsize=4096)
def smallest_detectable_difference(
    pairs: int,
    discordant_share: float = 0.0,
    alpha: float = SIGNIFICANCE,
    power: float = POWER,
) -> float | None:
    """The smallest difference that so many pairs would show with the given power.

    Method: the exact McNemar test's unconditional power (`mcnemar_power`), with the observed
    share of discordant pairs, or the difference itself where that is larger (all discordant pairs
    then go one way). Found by bisection to 0.0005. None: not even a difference of 1 would show.
    """

    def reached(difference: float) -> bool:
        share = min(1.0, max(discordant_share, difference))
        return mcnemar_power(pairs, share, difference, alpha) >= power

    if pairs < 1 or not reached(1.0):
        return None
    low, high = 0.0, 1.0
    while high - low > 0.0005:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def summarize_seeds(shares: Sequence[float]) -> SeedSummary:
    """Mean, standard deviation (n - 1; 0 for one seed), smallest and largest share."""
    values = np.asarray(shares, dtype=float)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return SeedSummary(float(values.mean()), spread, float(values.min()), float(values.max()))


def cases_and_seeds_p(
    before: Sequence[Sequence[bool]],
    after: Sequence[Sequence[bool]],
    families: Sequence[str],
) -> float:
    """Two-sided p of a mean difference where both cases and seeds are samples of what could be.

    `before` and `after` hold one sequence of outcomes per seed. Families and seeds are crossed
    random effects: with mean squares F (families), S (seeds) and R (rest) of the two-way table of
    family totals, the mean's variance is (F + S - R) / cells and its degrees of freedom are
    Satterthwaite's; the quasi-F of H. Clark, J. Verbal Learning 12 (1973) 335-359. Where F + S - R
    is not positive, the larger of F and S stands in its place (the more careful choice).
    Raises ValueError for fewer than two seeds or two families.
    """
    from scipy.stats import t

    table = _family_by_seed(before, after, families)
    rows, columns = table.shape
    if rows < 2 or columns < 2:
        raise ValueError(f"needs two families and two seeds, found {rows} and {columns}")
    mean = float(table.mean())
    family_square, seed_square, rest_square = _mean_squares(table)
    variance = family_square + seed_square - rest_square
    if variance <= 0:
        variance = max(family_square, seed_square)
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    free = variance**2 / (
        family_square**2 / (rows - 1)
        + seed_square**2 / (columns - 1)
        + rest_square**2 / ((rows - 1) * (columns - 1))
    )
    statistic = abs(mean) / math.sqrt(variance / table.size)
    return float(2 * t.sf(statistic, free))


def _family_by_seed(
    before: Sequence[Sequence[bool]],
    after: Sequence[Sequence[bool]],
    families: Sequence[str],
) -> NDArray[np.float64]:
    """Family totals per seed, scaled so that their mean is the mean difference over cases."""
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    _, member = np.unique(np.asarray(families), return_inverse=True)
    totals = np.stack([np.bincount(member, weights=row) for row in differences], axis=1)
    scaled: NDArray[np.float64] = totals * (totals.shape[0] / differences.shape[1])
    return scaled


def _mean_squares(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean squares of rows, columns and rest of a two-way table with one value per cell."""
    rows, columns = table.shape
    mean = table.mean()
    row_effects = table.mean(axis=1) - mean
    column_effects = table.mean(axis=0) - mean
    rest = table - mean - row_effects[:, None] - column_effects[None, :]
    return (
        float(columns * np.sum(row_effects**2) / (rows - 1)),
        float(rows * np.sum(column_effects**2) / (columns - 1)),
        float(np.sum(rest**2) / ((rows - 1) * (columns - 1))),
    )
