"""The comparison of two runs in words, for the command line."""

from __future__ import annotations

from matinee.comparison import Flip, SummaryComparison
from matinee.report.language import describe, language, percent, points

MOST_CASES = 20


def describe_runs(found: SummaryComparison, code: str = "en") -> str:
    """What got better or worse and which cases flipped, one line each."""
    words = language(code)
    lines = []
    for result in found.comparison.overall:
        subject = result.pair.after[0].removesuffix(" (B)")
        lines.append(
            words(
                "compare.line",
                subject=subject,
                suite=result.suite,
                before=percent(result.before),
                after=percent(result.after),
                cases=result.cases,
                points=points(result.difference.estimate),
                finding=describe(result, words),
            )
        )
        flips = [f for f in found.flips if (f.subject, f.suite) == (subject, result.suite)]
        for key, success in (("compare.gained", True), ("compare.lost", False)):
            names = [flip for flip in flips if flip.success == success]
            if names:
                lines.append(words(key, count=len(names), cases=_listed(names)))
    lines += [words("compare.skipped", what=what) for what in found.skipped]
    return "\n".join(lines)


def _listed(flips: list[Flip]) -> str:
    shown = ", ".join(flip.case for flip in flips[:MOST_CASES])
    return shown + (" …" if len(flips) > MOST_CASES else "")
