"""Statistics against published worked examples and independent implementations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, t, ttest_1samp
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


F, T = False, True


def _pairs(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [T] * both + [F] * gained + [T] * lost + [F] * neither
    after = [T] * both + [T] * gained + [F] * lost + [F] * neither
    return before, after


def _names(cases: int, per_family: int = 1) -> list[str]:
    return [f"f{number // per_family}" for number in range(cases)]


class TestTheExactTest:
    @pytest.mark.parametrize(("gained", "lost"), [(12, 3), (1, 9), (6, 0), (25, 24)])
    def test_of_single_cases_it_is_mcnemars(self, gained: int, lost: int) -> None:
        before, after = _pairs(40, gained, lost, 7)
        other = mcnemar([[40, lost], [gained, 7]], exact=True)
        found = significance.paired_difference([before], [after], _names(len(before)))
        assert found.p == pytest.approx(other.pvalue)

    def test_of_families_it_counts_every_way_of_turning_signs(self) -> None:
        totals = [5, -2, 3, 3, 0, 1]
        turned = [
            sum(sign * total for sign, total in zip(signs, totals, strict=True))
            for signs in itertools.product((1, -1), repeat=len(totals))
        ]
        expected = np.mean([abs(one) >= sum(totals) for one in turned])
        assert significance.exact_p(totals) == pytest.approx(expected)

    @pytest.mark.parametrize("families", [1, 2, 3, 5, 6, 16])
    @pytest.mark.parametrize("seeds", [1, 2, 3])
    @pytest.mark.parametrize("per_family", [1, 4])
    def test_no_outcome_has_a_smaller_p_than_the_families_allow(
        self, families: int, seeds: int, per_family: int
    ) -> None:
        cases = families * per_family
        clearest = significance.paired_difference(
            [[F] * cases], [[T] * cases] * seeds, _names(cases, per_family)
        )
        assert clearest.p == pytest.approx(2 / 2**families)

    def test_nothing_changed_is_no_evidence(self) -> None:
        assert significance.paired_difference([[T, F]], [[T, F]], ["a", "b"]).p == 1.0

    def test_more_cases_of_the_same_families_are_no_more_evidence(self) -> None:
        few = significance.paired_difference([[F] * 7], [[T] * 7], _names(7))
        many = significance.paired_difference([[F] * 70], [[T] * 70], _names(70, 10))
        assert few.p == many.p

    @pytest.mark.parametrize(("before", "after"), [([[T]], [[T, F]]), ([[]], [[]])])
    def test_pairs_must_be_pairs(self, before: list[list[bool]], after: list[list[bool]]) -> None:
        with pytest.raises(ValueError, match="outcomes"):
            significance.paired_difference(before, after, ["a"] * len(before[0]))


class TestSeveralSeeds:
    def test_their_order_changes_nothing(self) -> None:
        rng = np.random.default_rng(4)
        before, after = (rng.random((3, 24)) < 0.5).tolist(), (rng.random((3, 24)) < 0.8).tolist()
        found = {
            significance.paired_difference(old, new, _names(24, 3))
            for old in itertools.permutations(before)
            for new in itertools.permutations(after)
        }
        values = [(one.estimate, one.low, one.high, one.p) for one in found]
        assert np.ptp(values, axis=0) == pytest.approx(0, abs=1e-12)

    def test_the_same_result_again_is_no_more_evidence(self) -> None:
        before, after = _pairs(3, 9, 2, 6)
        once = significance.paired_difference([before], [after], _names(20))
        thrice = significance.paired_difference([before], [after] * 3, _names(20))
        assert thrice.p >= once.p

    def test_seeds_that_disagree_make_the_test_careful(self) -> None:
        before = [[F] * 40]
        steady = [[number % 4 == shift for number in range(40)] for shift in range(3)]
        erratic = [[number < 30 for number in range(40)], [F] * 40, [F] * 40]
        assert significance.paired_difference(before, steady, _names(40)).p < 0.001
        assert significance.paired_difference(before, erratic, _names(40)).p > 0.2

    def test_both_sides_may_have_seeds_of_any_number(self) -> None:
        before, after = [[F] * 30, [T] * 3 + [F] * 27], [[T] * 20 + [F] * 10] * 3
        found = significance.paired_difference(before, after, _names(30))
        assert found.estimate == pytest.approx(20 / 30 - 1.5 / 30)
        assert found.seed_error == pytest.approx(0.05)


class TestTheIntervalOfADifference:
    @pytest.mark.parametrize(("old", "new"), [(F, F), (T, T), (F, T), (T, F)])
    @pytest.mark.parametrize("families", [1, 2, 8, 64])
    @pytest.mark.parametrize("seeds", [1, 3])
    def test_is_never_of_width_zero(self, old: bool, new: bool, families: int, seeds: int) -> None:
        cases = families * 2
        found = significance.paired_difference(
            [[old] * cases], [[new] * cases] * seeds, _names(cases, 2)
        )
        assert -1 <= found.low <= found.estimate <= found.high <= 1
        assert found.high - found.low > 1 / families

    def test_of_single_cases_it_is_bonetts_and_prices(self) -> None:
        # Their formula with n + 2 pairs, and t in place of the normal quantile.
        gained, lost, cases = 12, 3, 60
        found = significance.paired_difference(
            *([side] for side in _pairs(20, gained, lost, 25)), _names(cases)
        )
        gains, losses = (gained + 1) / (cases + 2), (lost + 1) / (cases + 2)
        error = math.sqrt((gains + losses - (gains - losses) ** 2) / (cases + 1))
        half = float(t.ppf(0.975, cases + 1)) * error
        assert found.low == pytest.approx(gains - losses - half)
        assert found.high == pytest.approx(gains - losses + half)

    def test_families_that_stand_or_fall_together_widen_it(self) -> None:
        before, after = [[F] * 100], [[number < 50 for number in range(100)]]
        alone = significance.paired_difference(before, after, _names(100))
        together = significance.paired_difference(before, after, _names(100, 10))
        assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_a_mean_over_lists_of_one_row_each_is_the_plain_t_test() -> None:
    values = [1.5, 0.2, -0.4, 2.2, 0.9]
    found = significance.clustered_mean(values, list("abcde"))
    plain = ttest_1samp(values, 0)
    assert found.p == pytest.approx(plain.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval()))


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
    assert significance.cohens_h(0.50, 0.65) == pytest.approx(0.3047, abs=1e-4)


def test_the_odds_ratio_stays_finite_without_a_loss() -> None:
    assert significance.odds_ratio(9, 0) == 19.0
    assert significance.odds_ratio(4, 4) == 1.0


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


def test_five_families_can_show_nothing() -> None:
    assert significance.smallest_detectable_difference(5) is None


def test_a_correction_and_unsure_seeds_ask_for_a_larger_difference() -> None:
    plain = significance.smallest_detectable_difference(60, 0.1)
    corrected = significance.smallest_detectable_difference(60, 0.1, 0.05 / 4)
    unsure = significance.smallest_detectable_difference(60, 0.1, 0.05 / 4, 0.05)
    assert plain is not None
    assert corrected is not None
    assert unsure is not None
    assert plain < corrected < unsure


@pytest.mark.parametrize("world", ["families", "blocks"])
@pytest.mark.parametrize(("cases", "seeds"), [(5, 2), (8, 1), (16, 3), (64, 2)])
def test_a_difference_is_claimed_by_chance_in_one_of_twenty_runs_at_most(
    world: str, cases: int, seeds: int
) -> None:
    rng = np.random.default_rng(cases)
    member = np.arange(cases) // 2
    claims = 0
    for _ in range(300):
        shifts = rng.normal(0, 2, (2, member[-1] + 1))
        chance = (shifts > 0) if world == "blocks" else 1 / (1 + np.exp(-shifts))
        before, after = (chance[side][member] for side in (0, 1))
        found = significance.paired_difference(
            (rng.random((1, cases)) < before).tolist(),
            (rng.random((seeds, cases)) < after).tolist(),
            [str(one) for one in member],
        )
        claims += found.p < 0.05
    assert claims / 300 <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 300)
