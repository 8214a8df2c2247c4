"""Two runs compared by what their summaries keep: what got better, what worse, what flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.evaluation.comparison import (
    HEADLINE,
    Comparison,
    Outcome,
    Outcomes,
    Pair,
    Result,
    by_case,
    compare_outcomes,
)
from matinee.report.words import Language, describe, language, percent, points
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json

MOST_CASES = 20


@dataclass(frozen=True)
class Skipped:
    """What two runs do not share.

    `suite` is None where a whole subject is missing, and `run` then names the run that has it;
    else `cases` of that suite are in only one of the runs.
    """

    subject: str
    run: str = ""
    suite: str | None = None
    cases: int = 0


@dataclass(frozen=True)
class RunRow:
    """One subject on one group of a suite, then and now, with the ids of cases that flipped."""

    subject: str
    result: Result
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True)
class RunComparison:
    """Two runs compared on the cases that both ran, and what could not be.

    `outcomes`: of the subjects of the comparison's pairs, in the same order of cases.
    """

    comparison: Comparison
    outcomes: Outcomes
    skipped: tuple[Skipped, ...]

    @property
    def worse(self) -> bool:
        """Whether any subject got worse beyond chance."""
        return any(one.finding == "worse" for one in self.comparison.groups(*HEADLINE))

    @property
    def rows(self) -> list[RunRow]:
        """What changed: the cases in which something is due, and the others."""
        return [self._row(result) for result in self.comparison.groups(*HEADLINE)]

    def _row(self, result: Result) -> RunRow:
        (before,), (after,) = result.pair.before, result.pair.after
        both = zip(
            self.outcomes[before][result.suite], self.outcomes[after][result.suite], strict=True
        )
        flips = [
            new for old, new in both if old.success != new.success and new.belongs(result.category)
        ]
        gained, lost = (
            tuple(one.case for one in flips if one.success is success) for success in (True, False)
        )
        return RunRow(result.pair.name, result, gained, lost)


def compare_summaries(a: Path, b: Path) -> RunComparison:
    """Compares two `summary.json`: every subject that both have, on the cases that both ran.

    Raises DataError where a file is not a summary or the two share nothing.
    """
    found = compare_runs(read_outcomes(a), read_outcomes(b), (str(a), str(b)))
    if not found.comparison.results:
        raise DataError(f"{a} and {b} share no subject with the same cases: nothing to compare.")
    return found


def compare_runs(old: Outcomes, new: Outcomes, names: tuple[str, str]) -> RunComparison:
    """Compares two runs by their outcomes; `names` says which run is which in what is skipped."""
    outcomes: dict[str, Mapping[str, Sequence[Outcome]]] = {}
    pairs, skipped = [], []
    for subject in dict.fromkeys((*old, *new)):
        if subject not in old or subject not in new:
            skipped.append(Skipped(subject, run=names[0] if subject in old else names[1]))
            continue
        before: dict[str, Sequence[Outcome]] = {}
        after: dict[str, Sequence[Outcome]] = {}
        for suite in dict.fromkeys((*old[subject], *new[subject])):
            mine, known = old[subject].get(suite, []), by_case(new[subject].get(suite, []))
            both = [outcome for outcome in mine if outcome.case in known]
            if left := len(mine) + len(known) - 2 * len(both):
                skipped.append(Skipped(subject, suite=suite, cases=left))
            if both:
                before[suite], after[suite] = both, [known[outcome.case] for outcome in both]
        if before:
            pair = Pair("runs", (f"{subject} (A)",), (f"{subject} (B)",), subject)
            outcomes |= {pair.before[0]: before, pair.after[0]: after}
            pairs.append(pair)
    return RunComparison(compare_outcomes(outcomes, pairs), outcomes, tuple(skipped))


def read_outcomes(path: Path) -> dict[str, dict[str, list[Outcome]]]:
    """Subject to suite to outcomes, from a summary's compact `outcomes`.

    Raises DataError where the file cannot be read or is not a summary.
    """
    try:
        suites = read_json(path)["outcomes"]
        found: dict[str, dict[str, list[Outcome]]] = {}
        for suite, block in suites.items():
            # Earlier versions did not say in which cases something is due.
            due = block.get("due", "1" * len(block["cases"]))
            columns = (block["cases"], block["categories"], block["families"], due)
            for subject, marks in block["subjects"].items():
                found.setdefault(subject, {})[suite] = [
                    Outcome(case, category, f"{suite}/{family}", mark == "1", due == "1")
                    for case, category, family, due, mark in zip(*columns, marks, strict=True)
                ]
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Name a summary.json."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a summary of this project ({type(error).__name__}: {error}). "
            "Name a results/summary.json."
        ) from error
    return found


def describe_runs(found: RunComparison, code: str = "en") -> str:
    """What got better or worse and which cases flipped, one line each."""
    words = language(code)
    lines = []
    for row in found.rows:
        result = row.result
        lines.append(
            words(
                "compare.line",
                subject=row.subject,
                suite=result.suite,
                group=words.group(result.category),
                before=percent(result.before),
                after=percent(result.after),
                cases=result.cases,
                points=points(result.difference.estimate),
                finding=describe(result, words),
            )
        )
        for key, names in (("compare.gained", row.gained), ("compare.lost", row.lost)):
            if names:
                listed = ", ".join(names[:MOST_CASES]) + (" …" if len(names) > MOST_CASES else "")
                lines.append(words(key, count=len(names), cases=listed))
    lines += [words("compare.skipped", what=describe_skipped(one, words)) for one in found.skipped]
    return "\n".join(lines)


def describe_skipped(skipped: Skipped, words: Language) -> str:
    """What was not compared, in words."""
    if skipped.suite is None:
        run = skipped.run or words("compare.this_run")
        return words("compare.only_in", subject=skipped.subject, run=run)
    return words(
        "compare.partly", subject=skipped.subject, suite=skipped.suite, cases=skipped.cases
    )
