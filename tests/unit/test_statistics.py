"""Statistics against published worked examples and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar

from matinee.evaluation import significance


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # R. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_newcombes_table(correct: int, total: int, low: float, high: float) -> None:
    interval = significance.wilson(correct, total)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_of_nothing_says_nothing() -> None:
    assert significance.wilson(0, 0) == significance.Interval(0.0, 1.0)


def _pairs(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return before, after


@pytest.mark.parametrize(("gained", "lost"), [(12, 3), (1, 9), (6, 0), (25, 24)])
def test_mcnemar_equals_statsmodels(gained: int, lost: int) -> None:
    before, after = _pairs(40, gained, lost, 7)
    found = significance.mcnemar_exact(before, after)
    other = mcnemar([[40, lost], [gained, 7]], exact=True)
    assert (found.gained, found.lost) == (gained, lost)
    assert found.p == pytest.approx(other.pvalue)


def test_mcnemar_by_hand() -> None:
    # Six discordant pairs, all one way: 2 / 2^6.
    assert significance.mcnemar_exact(*_pairs(0, 6, 0, 0)).p == pytest.approx(0.03125)


def test_no_discordant_pair_is_no_evidence() -> None:
    assert significance.mcnemar_exact(*_pairs(5, 0, 0, 5)).p == 1.0


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="longer"):
        significance.mcnemar_exact([True], [True, False])


def test_pass_hat_by_hand() -> None:
    # Four runs of three cases, right 4, 2 and 0 times. pass^2: of the 6 pairs of runs, both are
    # right in 6, 1 and 0.
    assert significance.pass_hat_k([4, 2, 0], 4, 1) == pytest.approx((1 + 0.5 + 0) / 3)
    assert significance.pass_hat_k([4, 2, 0], 4, 2) == pytest.approx((6 + 1 + 0) / 6 / 3)
    assert significance.pass_hat_k([4, 2, 0], 4, 4) == pytest.approx(1 / 3)


def test_pass_hat_is_an_unbiased_estimate() -> None:
    # A case that is right with probability 0.7 is right in 3 of 3 runs with 0.7^3; the mean over
    # all outcomes of 5 runs, each weighted by its probability, must be that.
    p, runs = 0.7, 5
    weights = [math.comb(runs, c) * p**c * (1 - p) ** (runs - c) for c in range(runs + 1)]
    mean = sum(w * significance.pass_hat_k([c], runs, 3) for c, w in enumerate(weights))
    assert mean == pytest.approx(p**3)


@pytest.mark.parametrize("k", [0, 5])
def test_pass_hat_of_more_runs_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="pass"):
        significance.pass_hat_k([1], 4, k)


def test_holm_equals_a_worked_example() -> None:
    # 0.01 * 4, 0.013 * 3 raised to 0.04 by monotony, 0.02 * 2, 0.5.
    assert significance.holm([0.02, 0.01, 0.5, 0.013]) == pytest.approx([0.04, 0.04, 0.5, 0.04])
    assert significance.holm([]) == []


def test_cohens_h_equals_cohens_table() -> None:
    # J. Cohen (1988), table 6.2.2: phi(0.65) = 1.875 and phi(0.50) = 1.571, so h = 0.304.
    assert significance.effect(0.50, 0.65, 9, 0).cohens_h == pytest.approx(0.3047, abs=1e-4)


def test_the_odds_ratio_stays_finite_without_a_loss() -> None:
    assert significance.effect(0.5, 0.65, 9, 0).odds_ratio == 19.0
    assert significance.effect(0.5, 0.5, 4, 4).odds_ratio == 1.0


def test_bootstrap_interval_of_independent_cases_equals_the_normal_one() -> None:
    rng = np.random.default_rng(3)
    before, after = list(rng.random(400) < 0.4), list(rng.random(400) < 0.6)
    found = significance.paired_difference(before, after, [f"f{i}" for i in range(400)])
    values = np.asarray(after, float) - np.asarray(before, float)
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.estimate == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_families_that_stand_or_fall_together_widen_the_interval() -> None:
    before = [False] * 100
    after = [number < 50 for number in range(100)]
    alone = significance.paired_difference(before, after, [str(number) for number in range(100)])
    together = significance.paired_difference(before, after, [str(n // 10) for n in range(100)])
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_the_bootstrap_is_repeatable_by_seed() -> None:
    values, families = [1.0, 0.0, -1.0, 1.0, 0.0, 1.0], list("aabbcd")
    first = significance.clustered_bootstrap(values, families, seed=7)
    assert first == significance.clustered_bootstrap(values, families, seed=7)
    assert first != significance.clustered_bootstrap(values, families, seed=8, resamples=50)


def test_power_equals_simulation() -> None:
    rng = np.random.default_rng(11)
    draws = rng.multinomial(60, [0.25, 0.05, 0.70], size=4000)
    rejected = np.mean(
        [binomtest(int(g), int(g + lo)).pvalue < 0.05 for g, lo, _ in draws if g + lo]
    )
    assert significance.mcnemar_power(60, 0.30, 0.20) == pytest.approx(rejected, abs=0.02)


def test_power_under_no_difference_stays_below_alpha() -> None:
    assert significance.mcnemar_power(200, 0.4, 1e-9) < 0.05


@pytest.mark.parametrize("pairs", [20, 60, 300])
def test_the_detectable_difference_has_the_power_and_a_little_less_has_not(
    pairs: int,
) -> None:
    found = significance.smallest_detectable_difference(pairs, 0.1)
    assert found is not None
    assert significance.mcnemar_power(pairs, max(0.1, found), found) >= 0.8
    assert significance.mcnemar_power(pairs, max(0.1, found - 0.002), found - 0.002) < 0.8


def test_sixty_cases_show_about_thirteen_points_when_nothing_is_lost() -> None:
    # Six discordant pairs one way are needed: P(Bin(60, d) >= 6) = 0.8 at d = 0.129.
    found = significance.smallest_detectable_difference(60)
    assert found == pytest.approx(0.129, abs=0.002)


def test_five_cases_can_show_nothing() -> None:
    assert significance.smallest_detectable_difference(5) is None


def test_seeds_are_summarized() -> None:
    found = significance.summarize_seeds([0.5, 0.6, 0.7])
    assert (found.mean, found.spread) == (pytest.approx(0.6), pytest.approx(0.1))
    assert significance.summarize_seeds([0.5]).spread == 0.0


def test_mean_squares_equal_statsmodels_two_way_anova() -> None:
    table = np.random.default_rng(5).normal(size=(9, 3))
    frame = pd.DataFrame(
        [(r, c, table[r, c]) for r in range(9) for c in range(3)],
        columns=["row", "column", "y"],
    )
    other = anova_lm(ols("y ~ C(row) + C(column)", frame).fit())
    expected = list(other["sum_sq"] / other["df"])
    assert list(significance._mean_squares(table)) == pytest.approx(expected)


def test_seeds_that_disagree_make_the_test_careful() -> None:
    families = [str(number) for number in range(40)]
    before = [[False] * 40] * 3
    steady = [[number % 4 == shift for number in range(40)] for shift in range(3)]
    erratic = [[number < 30 for number in range(40)], [False] * 40, [False] * 40]
    assert significance.cases_and_seeds_p(before, steady, families) < 0.001
    assert significance.cases_and_seeds_p(before, erratic, families) > 0.2


def test_the_seed_test_keeps_its_level_when_nothing_differs() -> None:
    rng = np.random.default_rng(9)
    families = [str(number // 3) for number in range(60)]
    rejected = 0
    for _ in range(300):
        ease = rng.random(60)
        before, after = (rng.random((2, 3, 60)) < ease).tolist()
        rejected += significance.cases_and_seeds_p(before, after, families) < 0.05
    assert rejected / 300 <= 0.08


def test_one_seed_is_no_sample_of_seeds() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        significance.cases_and_seeds_p([[False, True]], [[True, True]], ["a", "b"])
