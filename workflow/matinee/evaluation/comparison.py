"""Comparisons of subjects on the same cases: paired tests, corrected, put into a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from matinee.evaluation import significance
from matinee.messages.transcripts import Verdict
from matinee.runtime.errors import DataError

ALL = "all"
PairKind = Literal["training", "variants", "reference", "runs"]
Finding = Literal["better", "worse", "unsure", "none"]


@dataclass(frozen=True)
class Pair:
    """What is compared with what: subject ids, one per seed. A single `before` serves all."""

    kind: PairKind
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def id(self) -> str:
        """A readable name that is unique among pairs."""
        return f"{'+'.join(self.before)} -> {'+'.join(self.after)}"


@dataclass(frozen=True)
class Outcome:
    """Right or wrong on one case, with what is needed to group it."""

    case: str
    category: str
    family: str
    success: bool


@dataclass(frozen=True)
class Result:
    """One comparison on one suite (`category` is `all`) or one category of it.

    Shares are between 0 and 1; several seeds are averaged. `gained` and `lost` count cases that
    turned right or wrong (averaged over seeds). `p` is the exact McNemar test, or with several
    seeds the test over cases and seeds; `p_holm` is adjusted over the comparisons of its group.
    `detectable`: the smallest difference that these cases would have shown with 80 % power.
    """

    pair: Pair
    suite: str
    category: str
    cases: int
    families: int
    before: float
    after: float
    before_seeds: significance.SeedSummary
    after_seeds: significance.SeedSummary
    difference: significance.Difference
    effect: significance.Effect
    gained: float
    lost: float
    p: float
    p_holm: float
    detectable: float | None

    @property
    def apart(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return self.difference.low > 0 or self.difference.high < 0

    @property
    def finding(self) -> Finding:
        """What the numbers allow to say: the test and the interval over families must agree.

        `unsure`: one says that there is a difference and the other does not.
        """
        significant = self.p_holm < significance.SIGNIFICANCE
        if significant and self.apart:
            return "better" if self.difference.estimate > 0 else "worse"
        return "unsure" if significant else "none"


@dataclass(frozen=True)
class Comparison:
    """All comparisons made: `overall` one per pair and suite, `categories` one per category.

    Holm's correction covers all of `overall` together, and each pair's categories together.
    """

    overall: tuple[Result, ...]
    categories: tuple[Result, ...]

    def of(self, pair: Pair, suite: str) -> Result:
        """The overall result of a pair on a suite."""
        return next(r for r in self.overall if r.pair == pair and r.suite == suite)

    def categories_of(self, pair: Pair, suite: str) -> tuple[Result, ...]:
        """The results per category of a pair on a suite."""
        return tuple(r for r in self.categories if r.pair == pair and r.suite == suite)


Outcomes = Mapping[str, Mapping[str, Sequence[Outcome]]]


def compare(verdicts: Mapping[str, Sequence[Verdict]], pairs: Sequence[Pair]) -> Comparison:
    """Compares subjects pairwise, suite by suite.

    `verdicts` maps each subject to its verdicts in all suites. Raises DataError where the
    subjects of a pair did not run the same cases.
    """
    return compare_outcomes(outcomes_by_suite(verdicts), pairs)


def outcomes_by_suite(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, dict[str, Any]]:
    """Subject to suite to outcomes, in the verdicts' order; a repeat is a case of its own."""
    found: dict[str, dict[str, Any]] = {}
    for subject, rows in verdicts.items():
        suites: dict[str, Any] = found.setdefault(subject, {})
        for row in rows:
            case = f"{row.case}#{row.repeat}" if row.repeat else row.case
            outcome = Outcome(case, row.category, f"{row.suite}/{row.family}", row.success)
            suites.setdefault(row.suite, []).append(outcome)
    return found


def compare_outcomes(outcomes: Outcomes, pairs: Sequence[Pair]) -> Comparison:
    """The same as `compare`, from outcomes per subject and suite."""
    overall: list[Result] = []
    categories: list[Result] = []
    for pair in pairs:
        for suite in _shared_suites(outcomes, pair):
            columns = _columns(outcomes, pair, suite)
            overall.append(_result(pair, suite, ALL, *columns))
            categories += _adjusted(_per_category(pair, suite, *columns))
    return Comparison(tuple(_adjusted(overall)), tuple(categories))


def _shared_suites(outcomes: Outcomes, pair: Pair) -> list[str]:
    subjects = [*pair.before, *pair.after]
    return [s for s in outcomes[subjects[0]] if all(s in outcomes[other] for other in subjects)]


Column = Sequence[Outcome]


def _columns(outcomes: Outcomes, pair: Pair, suite: str) -> tuple[list[Column], list[Column]]:
    """The outcomes of both sides, one column per seed, all in the same order of cases."""
    if len(pair.before) not in (1, len(pair.after)):
        raise DataError(
            f"{pair.id}: {len(pair.before)} seeds cannot be paired with {len(pair.after)}. "
            "Give both variants the same number of seeds."
        )
    order = [outcome.case for outcome in outcomes[pair.before[0]][suite]]
    known = {subject: by_case(outcomes[subject][suite]) for subject in pair.before + pair.after}
    for subject, cases in known.items():
        odd = sorted(set(order) ^ set(cases))
        if odd:
            raise DataError(
                f"{pair.id}: {subject} did not run the same cases of suite {suite}: "
                f"{', '.join(odd[:5])}. Run the evaluation of both again."
            )
    before: list[Column] = [[known[name][case] for case in order] for name in pair.before]
    after: list[Column] = [[known[name][case] for case in order] for name in pair.after]
    return before * (len(after) // len(before)), after


def by_case(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """The outcomes by case id."""
    return {outcome.case: outcome for outcome in outcomes}


def _per_category(
    pair: Pair, suite: str, before: list[Column], after: list[Column]
) -> list[Result]:
    names = list(dict.fromkeys(outcome.category for outcome in after[0]))
    return [
        _result(
            pair,
            suite,
            name,
            [[o for o in column if o.category == name] for column in before],
            [[o for o in column if o.category == name] for column in after],
        )
        for name in names
    ]


def _result(
    pair: Pair, suite: str, category: str, before: list[Column], after: list[Column]
) -> Result:
    old = [[outcome.success for outcome in column] for column in before]
    new = [[outcome.success for outcome in column] for column in after]
    families = [outcome.family for outcome in after[0]]
    seeds, cases = len(new), len(families)
    old_shares, new_shares = ([sum(column) / cases for column in side] for side in (old, new))
    gained = sum(
        n and not o for a, b in zip(old, new, strict=True) for o, n in zip(a, b, strict=True)
    )
    lost = sum(
        o and not n for a, b in zip(old, new, strict=True) for o, n in zip(a, b, strict=True)
    )
    per_case = [
        (sum(column[place] for column in new) - sum(column[place] for column in old)) / seeds
        for place in range(cases)
    ]
    difference = significance.clustered_bootstrap(per_case, families)
    before_seeds = significance.summarize_seeds(old_shares[: len(pair.before)])
    after_seeds = significance.summarize_seeds(new_shares)
    p = _p_value(old, new, families)
    discordant = round((gained + lost) / (seeds * cases), 3)
    return Result(
        pair=pair,
        suite=suite,
        category=category,
        cases=cases,
        families=len(set(families)),
        before=before_seeds.mean,
        after=after_seeds.mean,
        before_seeds=before_seeds,
        after_seeds=after_seeds,
        difference=difference,
        effect=significance.effect(
            before_seeds.mean, after_seeds.mean, gained / seeds, lost / seeds
        ),
        gained=gained / seeds,
        lost=lost / seeds,
        p=p,
        p_holm=p,
        detectable=significance.smallest_detectable_difference(cases, discordant),
    )


def _p_value(old: list[list[bool]], new: list[list[bool]], families: list[str]) -> float:
    """Exact McNemar for one seed; over cases and seeds for several."""
    if len(new) > 1 and len(set(families)) > 1:
        return significance.cases_and_seeds_p(old, new, families)
    return significance.mcnemar_exact(old[0], new[0]).p


def _adjusted(results: list[Result]) -> list[Result]:
    adjusted = significance.holm([result.p for result in results])
    return [replace(result, p_holm=p) for result, p in zip(results, adjusted, strict=True)]
