"""Two runs compared by what their summaries keep: what got better, what worse, what flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.evaluation.comparison import (
    Comparison,
    Outcome,
    Outcomes,
    Pair,
    by_case,
    compare_outcomes,
)
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json


@dataclass(frozen=True)
class Flip:
    """A case whose outcome changed between two runs."""

    subject: str
    suite: str
    case: str
    success: bool


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
class RunComparison:
    """Two runs compared, and what could not be."""

    comparison: Comparison
    flips: tuple[Flip, ...]
    skipped: tuple[Skipped, ...]

    @property
    def worse(self) -> bool:
        """Whether any subject got worse beyond chance."""
        return any(result.finding == "worse" for result in self.comparison.overall)


def compare_summaries(a: Path, b: Path) -> RunComparison:
    """Compares two `summary.json`: every subject that both have, on the cases that both ran.

    Raises DataError where a file is not a summary or the two share nothing.
    """
    found = compare_runs(read_outcomes(a), read_outcomes(b), (str(a), str(b)))
    if not found.comparison.overall:
        raise DataError(f"{a} and {b} share no subject with the same cases: nothing to compare.")
    return found


def compare_runs(old: Outcomes, new: Outcomes, names: tuple[str, str]) -> RunComparison:
    """Compares two runs by their outcomes; `names` says which run is which in what is skipped."""
    outcomes: dict[str, dict[str, Sequence[Outcome]]] = {}
    pairs, skipped, flips = [], [], []
    for subject in [*old, *(name for name in new if name not in old)]:
        if subject not in old or subject not in new:
            skipped.append(Skipped(subject, run=names[0] if subject in old else names[1]))
            continue
        before, after, notes = _shared(subject, old[subject], new[subject])
        skipped += notes
        if before:
            sides = (f"{subject} (A)", f"{subject} (B)")
            outcomes[sides[0]], outcomes[sides[1]] = before, after
            pairs.append(Pair("runs", sides[:1], sides[1:]))
            flips += _flips(subject, before, after)
    return RunComparison(compare_outcomes(outcomes, pairs), tuple(flips), tuple(skipped))


def read_outcomes(path: Path) -> dict[str, dict[str, list[Outcome]]]:
    """Subject to suite to outcomes, from a summary's compact `outcomes`.

    Raises DataError where the file cannot be read or is not a summary.
    """
    try:
        suites = read_json(path)["outcomes"]
        found: dict[str, dict[str, list[Outcome]]] = {}
        for suite, block in suites.items():
            columns = (block["cases"], block["categories"], block["families"])
            for subject, marks in block["subjects"].items():
                found.setdefault(subject, {})[suite] = [
                    Outcome(case, category, f"{suite}/{family}", mark == "1")
                    for case, category, family, mark in zip(*columns, marks, strict=True)
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


def _shared(
    subject: str, old: Mapping[str, Sequence[Outcome]], new: Mapping[str, Sequence[Outcome]]
) -> tuple[dict[str, Sequence[Outcome]], dict[str, Sequence[Outcome]], list[Skipped]]:
    """The outcomes of the cases that both runs have, per suite, and notes on the others."""
    before: dict[str, Sequence[Outcome]] = {}
    after: dict[str, Sequence[Outcome]] = {}
    notes = []
    for suite in [*old, *(name for name in new if name not in old)]:
        known = by_case(new.get(suite, []))
        both = [outcome for outcome in old.get(suite, []) if outcome.case in known]
        left = len(old.get(suite, [])) + len(known) - 2 * len(both)
        if left:
            notes.append(Skipped(subject, suite=suite, cases=left))
        if both:
            before[suite] = both
            after[suite] = [known[outcome.case] for outcome in both]
    return before, after, notes


def _flips(
    subject: str,
    before: Mapping[str, Sequence[Outcome]],
    after: Mapping[str, Sequence[Outcome]],
) -> list[Flip]:
    return [
        Flip(subject, suite, new.case, new.success)
        for suite in before
        for old, new in zip(before[suite], after[suite], strict=True)
        if old.success != new.success
    ]
