"""The comparison of two runs, in lines for the terminal and in rows for the page."""

from __future__ import annotations

from dataclasses import dataclass

from matinee.evaluation.comparison import Result
from matinee.report.data import EarlierRun
from matinee.report.language import Language, describe, language, percent, points
from matinee.report.run_comparison import RunComparison, Skipped

MOST_CASES = 20


@dataclass(frozen=True)
class RunRow:
    """One subject on one suite, then and now, with the ids of the cases that flipped."""

    subject: str
    result: Result
    gained: tuple[str, ...]
    lost: tuple[str, ...]


def run_rows(run: EarlierRun) -> list[RunRow]:
    """What changed since an earlier run."""
    return [_run_row(run.comparison, result) for result in run.comparison.comparison.overall]


def _run_row(found: RunComparison, result: Result) -> RunRow:
    subject = result.pair.after[0].removesuffix(" (B)")
    flips = [f for f in found.flips if (f.subject, f.suite) == (subject, result.suite)]
    return RunRow(
        subject=subject,
        result=result,
        gained=tuple(flip.case for flip in flips if flip.success),
        lost=tuple(flip.case for flip in flips if not flip.success),
    )


def describe_runs(found: RunComparison, code: str = "en") -> str:
    """What got better or worse and which cases flipped, one line each."""
    words = language(code)
    lines = []
    for result in found.comparison.overall:
        row = _run_row(found, result)
        lines.append(
            words(
                "compare.line",
                subject=row.subject,
                suite=result.suite,
                before=percent(result.before),
                after=percent(result.after),
                cases=result.cases,
                points=points(result.difference.estimate),
                finding=describe(result, words),
            )
        )
        for key, names in (("compare.gained", row.gained), ("compare.lost", row.lost)):
            if names:
                lines.append(words(key, count=len(names), cases=_listed(names)))
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


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:MOST_CASES]) + (" …" if len(names) > MOST_CASES else "")
