"""Comparisons of subjects on the same cases: paired tests, corrected, put into a finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from matinee.evaluation import significance
from matinee.messages.transcripts import Verdict
from matinee.runtime.errors import DataError

# Groups of cases beside the suite's own categories: all of them, those in which something is due
# (a call, a question), and those to be left alone.
ALL, DUE, QUIET = "all", "due", "quiet"
HEADLINE = (DUE, QUIET)
PairKind = Literal["training", "variants", "reference", "runs"]
Finding = Literal["better", "worse", "seeds", "few", "none"]
Headline = Literal["better", "worse", "mixed", "floor", "seeds", "few", "none"]


@dataclass(frozen=True)
class Pair:
    """What is compared with what: subject ids, one per seed. `name`: the variant, as shown."""

    kind: PairKind
    before: tuple[str, ...]
    after: tuple[str, ...]
    name: str = ""

    @property
    def id(self) -> str:
        """A readable name that is unique among pairs."""
        return f"{'+'.join(self.before)} -> {'+'.join(self.after)}"


@dataclass(frozen=True)
class Outcome:
    """Right or wrong on one case, with what is needed to group it. `due`: see `DUE`."""

    case: str
    category: str
    family: str
    success: bool
    due: bool = True

    def belongs(self, group: str) -> bool:
        """Whether the case counts in a group: `all`, `due`, `quiet` or a category."""
        return group in (ALL, DUE if self.due else QUIET, self.category)


@dataclass(frozen=True)
class Result:
    """One comparison on one suite and one group of its cases (`category`).

    Shares are between 0 and 1; `before_seeds` and `after_seeds` hold one per seed. `gained` and
    `lost` count cases that turned right or wrong (averaged over seeds). `p_holm` is adjusted over
    the comparisons of its kind. `detectable`: the smallest difference that these families and
    seeds would have shown with 80 % power at the same correction. `disagree`: two seeds differ
    from one another beyond chance.
    """

    pair: Pair
    suite: str
    category: str
    cases: int
    families: int
    before_seeds: tuple[float, ...]
    after_seeds: tuple[float, ...]
    difference: significance.Difference
    gained: float
    lost: float
    changed_families: float
    disagree: bool
    p_holm: float = 1.0
    detectable: float | None = None

    @property
    def before(self) -> float:
        """Averaged over seeds, as `after`."""
        return float(np.mean(self.before_seeds))

    @property
    def after(self) -> float:
        return float(np.mean(self.after_seeds))

    @property
    def spread(self) -> float:
        """Standard deviation of the shares after, over seeds; 0 for one."""
        return float(np.std(self.after_seeds, ddof=1)) if len(self.after_seeds) > 1 else 0.0

    @property
    def finding(self) -> Finding:
        """What the numbers allow to say. `few`: too few families for anything but numbers."""
        if self.families < significance.FEWEST_FAMILIES:
            return "few"
        if self.p_holm < significance.SIGNIFICANCE:
            return "better" if self.difference.estimate > 0 else "worse"
        return "seeds" if self.disagree else "none"


@dataclass(frozen=True)
class Comparison:
    """Every comparison made, group by group.

    Holm's correction covers the claims of the headlines (`due` and `quiet`, all pairs of one kind
    and all suites together); the categories of one pair on one suite; and, per kind, `all`.
    `floors`: per suite, the share of the cases with something due that an agent gets right which
    understands nothing.
    """

    results: tuple[Result, ...]
    floors: Mapping[str, float] = field(default_factory=dict)

    def of(self, pair: Pair, suite: str, group: str = ALL) -> Result | None:
        """The result of a pair on a group of a suite; None where the suite has no such case."""
        return next((r for r in self.groups(group) if (r.pair, r.suite) == (pair, suite)), None)

    def groups(self, *names: str) -> tuple[Result, ...]:
        """All results on these groups."""
        return tuple(result for result in self.results if result.category in names)

    def headline_of(self, pair: Pair, suite: str) -> list[Result]:
        """The results on `due` and `quiet`, as far as the suite has such cases."""
        return [found for group in HEADLINE if (found := self.of(pair, suite, group))]

    def categories_of(self, pair: Pair, suite: str) -> tuple[Result, ...]:
        """The results per category of a pair on a suite."""
        mine = [one for one in self.results if (one.pair, one.suite) == (pair, suite)]
        return tuple(one for one in mine if one.category not in (ALL, *HEADLINE))

    def headline(self, pair: Pair, suite: str) -> Headline:
        """One word for a pair on a suite.

        `better`: more was done where something is due, or less where nothing is without a loss in
        the first. `mixed`: the first gained and the second lost. `floor`: either of these, but what
        is due is done no oftener than by an agent that understands nothing.
        """
        word = self._word(pair, suite)
        due = self.of(pair, suite, DUE)
        floored = due is not None and due.after <= self.floors.get(suite, -1.0)
        return "floor" if floored and word in ("better", "mixed") else word

    def _word(self, pair: Pair, suite: str) -> Headline:
        found = {result.category: result for result in self.headline_of(pair, suite)}
        due, quiet = (found[group].finding if group in found else "none" for group in HEADLINE)
        if due == "better":
            return "mixed" if quiet == "worse" else "better"
        if "worse" in (due, quiet):
            return "worse"
        if quiet == "better" and (DUE not in found or found[DUE].difference.estimate >= 0):
            return "better"
        if "seeds" in (due, quiet):
            return "seeds"
        return "few" if all(one.finding == "few" for one in found.values()) else "none"


Outcomes = Mapping[str, Mapping[str, Sequence[Outcome]]]


def is_due(verdict: Verdict) -> bool:
    """Whether anything but a plain reply was due in the case: a call, a question."""
    marks = [value for key, value in verdict.metrics.items() if key.endswith("_due")]
    return any(marks) or not marks


def outcomes_by_suite(
    verdicts: Mapping[str, Sequence[Verdict]],
) -> dict[str, dict[str, list[Outcome]]]:
    """Subject to suite to outcomes, in the verdicts' order; a repeat is a case of its own."""
    found: dict[str, dict[str, list[Outcome]]] = {}
    for subject, rows in verdicts.items():
        suites = found.setdefault(subject, {})
        for row in rows:
            case = f"{row.case}#{row.repeat}" if row.repeat else row.case
            family = f"{row.suite}/{row.family}"
            suites.setdefault(row.suite, []).append(
                Outcome(case, row.category, family, row.success, is_due(row))
            )
    return found


def compare_outcomes(
    outcomes: Outcomes, pairs: Sequence[Pair], floors: Mapping[str, float] | None = None
) -> Comparison:
    """Compares subjects pairwise, suite by suite. `floors`: see `Comparison`.

    Raises DataError where the subjects of a pair did not run the same cases.
    """
    families: dict[tuple[str, ...], list[Result]] = {}
    for pair in pairs:
        subjects = [*pair.before, *pair.after]
        for suite in outcomes[subjects[0]]:
            if not all(suite in outcomes[subject] for subject in subjects):
                continue
            columns = _columns(outcomes, pair, suite)
            first = columns[pair.after[0]]
            for group in dict.fromkeys((ALL, *HEADLINE, *(one.category for one in first))):
                if any(one.belongs(group) for one in first):
                    claim = (pair.id, suite)
                    if group in (ALL, *HEADLINE):
                        claim = (pair.kind, "headline" if group in HEADLINE else ALL)
                    families.setdefault(claim, []).append(_result(pair, suite, group, columns))
    adjusted = [result for family in families.values() for result in _adjusted(family)]
    order = {pair.id: place for place, pair in enumerate(pairs)}
    ordered = sorted(adjusted, key=lambda result: order[result.pair.id])
    return Comparison(tuple(ordered), floors or {})


def _columns(outcomes: Outcomes, pair: Pair, suite: str) -> dict[str, list[Outcome]]:
    """The outcomes of each subject, all in the same order of cases."""
    order = [outcome.case for outcome in outcomes[pair.after[0]][suite]]
    columns = {}
    for subject in pair.before + pair.after:
        known = by_case(outcomes[subject][suite])
        odd = sorted(set(order) ^ set(known))
        if odd:
            raise DataError(
                f"{pair.id}: {subject} did not run the same cases of suite {suite}: "
                f"{', '.join(odd[:5])}. Run the evaluation of both again."
            )
        columns[subject] = [known[case] for case in order]
    return columns


def by_case(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """The outcomes by case id."""
    return {outcome.case: outcome for outcome in outcomes}


def _result(pair: Pair, suite: str, group: str, columns: Mapping[str, list[Outcome]]) -> Result:
    places = [n for n, one in enumerate(columns[pair.after[0]]) if one.belongs(group)]
    families = [columns[pair.after[0]][place].family for place in places]
    before, after = (
        [[columns[subject][place].success for place in places] for subject in side]
        for side in (pair.before, pair.after)
    )
    old, new = (np.mean(side, axis=0) for side in (before, after))
    changed = {family for family, a, b in zip(families, old, new, strict=True) if a != b}
    shares = [tuple(float(np.mean(row)) for row in side) for side in (before, after)]
    return Result(
        pair=pair,
        suite=suite,
        category=group,
        cases=len(places),
        families=len(set(families)),
        before_seeds=shares[0],
        after_seeds=shares[1],
        difference=significance.paired_difference(before, after, families),
        gained=float((new * (1 - old)).sum()),
        lost=float((old * (1 - new)).sum()),
        changed_families=len(changed) / len(set(families)),
        disagree=_disagree(after, shares[1], families),
    )


def _disagree(rows: list[list[bool]], shares: tuple[float, ...], families: list[str]) -> bool:
    """Whether the best and the worst seed differ beyond chance, all pairs of seeds counted."""
    if len(rows) == 1:
        return False
    best, worst = (rows[shares.index(end(shares))] for end in (max, min))
    p = significance.paired_difference([worst], [best], families).p
    return p * math.comb(len(rows), 2) < significance.SIGNIFICANCE


def _adjusted(results: list[Result]) -> list[Result]:
    alpha = significance.SIGNIFICANCE / len(results)
    adjusted = significance.holm([one.difference.p for one in results])
    limits = [
        significance.smallest_detectable_difference(
            one.families, one.changed_families, alpha, one.difference.seed_error
        )
        for one in results
    ]
    return [
        replace(one, p_holm=p, detectable=limit)
        for one, p, limit in zip(results, adjusted, limits, strict=True)
    ]
