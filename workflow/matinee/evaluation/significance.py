"""Is a difference real? Intervals, paired tests over families and seeds, and what could be seen.

Cases of a family are variations of one situation and stand or fall together, so families count,
not cases. Outcomes are tables: one row per seed, one column per case.
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
# With fewer families not even the clearest outcome has p < 0.05: 2 / 2^5 = 0.0625.
FEWEST_FAMILIES = 6

Table = Sequence[Sequence[bool]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Both ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A mean difference (after minus before) with its interval and two-sided p.

    `seed_error`: the standard error that comes from the seeds; 0 for one seed.
    """

    estimate: float
    low: float
    high: float
    p: float
    seed_error: float = 0.0

    @property
    def apart(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def wilson(correct: float, total: float, confidence: float = 0.95) -> Interval:
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


def paired_difference(before: Table, after: Table, families: Sequence[str]) -> Difference:
    """The difference of two shares on the same cases, each averaged over its seeds.

    p is the exact test over families (`exact_p`), and where there are several seeds the larger of
    it and a t test in which the seeds are a sample as well: its variance is that over families plus
    those of the seeds' means, its degrees of freedom are Welch's and Satterthwaite's. Neither the
    order of seeds nor their number can make p smaller than the families allow.

    The interval is the adjusted Wald interval of D. Bonett and R. Price, J. Educ. Behav. Stat. 37
    (2012) 479-488, which adds one pair that was gained and one that was lost; here a pair is a
    family of mean size. So it is never of width zero. Raises ValueError for no case or unequal
    lengths.
    """
    old, new = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if not families or not old.shape[1:] == new.shape[1:] == (len(families),):
        raise ValueError(f"{old.shape} and {new.shape} outcomes for {len(families)} families")
    scale = math.lcm(len(old), len(new))
    changes = new.sum(axis=0) * (scale // len(new)) - old.sum(axis=0) * (scale // len(old))
    totals, sizes = _per_family(changes, families)
    p = exact_p([round(total) for total in totals])
    totals /= scale
    estimate = float(totals.sum() / sizes.sum())
    seeds = [side.mean(axis=1) for side in (old, new) if len(side) > 1]
    if seeds and len(sizes) > 1:
        error, free = _error(totals, sizes, seeds)
        p = max(p, _t_p(estimate, error, free))
    extra = sizes.mean() * np.array([1.0, -1.0])
    totals, sizes = np.append(totals, extra), np.append(sizes, np.abs(extra))
    low, high = _interval(totals, sizes, seeds)
    return Difference(
        estimate,
        max(-1.0, min(low, estimate)),
        min(1.0, max(high, estimate)),
        p,
        math.sqrt(sum(float(means.var(ddof=1)) / len(means) for means in seeds)),
    )


def clustered_mean(values: Sequence[float], families: Sequence[str]) -> Difference:
    """The mean of per-case differences of any size, with the t interval and test over families.

    Raises ValueError for unequal lengths or fewer than two families.
    """
    if len(values) != len(families) or len(set(families)) < 2:
        raise ValueError(f"{len(values)} differences for {len(set(families))} families")
    totals, sizes = _per_family(np.asarray(values, dtype=float), families)
    estimate = float(totals.sum() / sizes.sum())
    p = _t_p(estimate, *_error(totals, sizes, ()))
    return Difference(estimate, *_interval(totals, sizes, ()), p)


def exact_p(totals: Sequence[int]) -> float:
    """Two-sided p of the sum of families' differences: each is as likely as its opposite.

    All ways of turning signs are counted (R. A. Fisher, The Design of Experiments, 1935, section
    21), by adding up one family after the other. Where every family is one case this is the exact
    McNemar test. The smallest possible p of n families is 2 / 2^n.
    """
    sizes = [abs(total) for total in totals if total]
    unit = math.gcd(*sizes) or 1
    reach = sum(sizes) // unit
    weights = np.zeros(2 * reach + 1)
    weights[reach] = 1.0
    for size in sizes:
        step = size // unit
        halves = weights / 2
        weights = np.zeros_like(halves)
        weights[step:] += halves[:-step]
        weights[:-step] += halves[step:]
    seen = abs(sum(totals)) // unit
    return min(1.0, float(weights[: reach - seen + 1].sum() + weights[reach + seen :].sum()))


def _per_family(values: Floats, families: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum of values and number of cases per family."""
    _, member = np.unique(np.asarray(families), return_inverse=True)
    totals: Floats = np.bincount(member, weights=values).astype(float)
    return totals, np.bincount(member).astype(float)


def _error(totals: Floats, sizes: Floats, seeds: Sequence[Floats]) -> tuple[float, float]:
    """Standard error of the mean over cases, and its degrees of freedom.

    The mean is a ratio of sums over families, hence the linearised variance (W. Cochran, Sampling
    Techniques, 1977, section 6.3).
    """
    count = len(sizes)
    rest = totals - totals.sum() / sizes.sum() * sizes
    parts = [(float(count / (count - 1) * (rest**2).sum() / sizes.sum() ** 2), count - 1)]
    parts += [(float(means.var(ddof=1)) / len(means), len(means) - 1) for means in seeds]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0, math.inf
    return math.sqrt(variance), variance**2 / sum(part**2 / free for part, free in parts)


def _t_p(estimate: float, error: float, free: float) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if estimate else 1.0
    return float(2 * stdtr(free, -abs(estimate) / error))


def _interval(totals: Floats, sizes: Floats, seeds: Sequence[Floats]) -> tuple[float, float]:
    from scipy.special import stdtrit

    middle = float(totals.sum() / sizes.sum())
    error, free = _error(totals, sizes, seeds)
    half = float(stdtrit(free, 1 - SIGNIFICANCE / 2)) * error
    return middle - half, middle + half


def independent_difference(first: tuple[float, float], second: tuple[float, float]) -> Interval:
    """The interval of second minus first, each a share and the number that it was counted over.

    Two Wilson intervals put together: R. Newcombe, Statistics in Medicine 17 (1998) 873-890,
    method 10.
    """
    (p, n), (q, m) = first, second
    one, other = wilson(p * n, n), wilson(q * m, m)
    return Interval(
        q - p - math.hypot(q - other.low, one.high - p),
        q - p + math.hypot(other.high - q, p - one.low),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given. S. Holm, Scand. J. Statist. 6 (1979) 65-70."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    # Ours, for statsmodels' collects garbage at every call: seconds in a busy process.
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


def cohens_h(before: float, after: float) -> float:
    """2 asin sqrt(after) - 2 asin sqrt(before) (J. Cohen, Statistical Power Analysis, 1988, 6)."""
    return 2 * math.asin(math.sqrt(after)) - 2 * math.asin(math.sqrt(before))


def odds_ratio(gained: float, lost: float) -> float:
    """Of the discordant pairs; half a pair is added to both (Haldane and Anscombe)."""
    return (gained + 0.5) / (lost + 0.5)


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
    critical: Floats = np.nan_to_num(binom.ppf(alpha / 2, counts, 0.5))
    too_many = binom.cdf(critical, counts, 0.5) > alpha / 2
    fewer: NDArray[np.int64] = np.where(too_many, critical - 1, critical).astype(np.int64)
    return fewer


def smallest_detectable_difference(
    families: int,
    discordant_share: float = 0.0,
    alpha: float = SIGNIFICANCE,
    seed_error: float = 0.0,
) -> float | None:
    """The smallest difference that so many families would show with a power of 0.8.

    Method: the exact test's unconditional power (`mcnemar_power`) at the corrected `alpha`, a
    family counting as one case, with the observed share of families that changed, or the
    difference itself where that is larger (all changes then go one way). Found by bisection to
    0.0005. What the seeds alone make unsure (`seed_error`, a standard error) is added as the
    distance that a normal test would need. None: not even a difference of 1 would show.
    """
    from scipy.stats import norm

    found = _detectable_over_families(families, round(discordant_share, 2), alpha)
    if found is None or seed_error == 0:
        return found
    needed = math.hypot(found, float(norm.isf(alpha / 2) + norm.ppf(POWER)) * seed_error)
    return needed if needed <= 1 else None


@functools.lru_cache(maxsize=4096)
def _detectable_over_families(families: int, share: float, alpha: float) -> float | None:
    def reached(difference: float) -> bool:
        discordant = min(1.0, max(share, difference))
        return mcnemar_power(families, discordant, difference, alpha) >= POWER

    if families < 1 or not reached(1.0):
        return None
    low, high = 0.0, 1.0
    while high - low > 0.0005:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
