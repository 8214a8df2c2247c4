"""What each section of the page shows, as plain values for the templates."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from matinee.messages.transcripts import ErrorClass
from matinee.report.data import ReportData, StageRun, Subject
from matinee.report.language import Language, duration, number

LONGEST_LIST = 12


@dataclass(frozen=True)
class SubjectView:
    """A subject as shown: its full label and the letters that stand for it in the case list."""

    id: str
    label: str
    letter: str
    kind: str
    model: str
    correct: int
    total: int


def subject_views(data: ReportData, words: Language) -> list[SubjectView]:
    """All subjects with labels, letters and overall counts."""
    views = []
    for place, subject in enumerate(data.subjects):
        verdicts = data.verdicts(subject.id)
        views.append(
            SubjectView(
                id=subject.id,
                label=subject_label(subject, words),
                letter=_letters(place),
                kind=subject.kind,
                model=subject.model,
                correct=sum(verdict.success for verdict in verdicts),
                total=len(verdicts),
            )
        )
    return views


def subject_label(subject: Subject, words: Language) -> str:
    """`chat, untuned` or `chat, tuned (seed 42)`, in the page's language."""
    name = subject.variant or subject.id.removeprefix("ref-")
    return words(f"subject.{subject.kind}", name=name, seed=subject.seed)


def _letters(place: int) -> str:
    first, second = divmod(place, 26)
    return (string.ascii_uppercase[first - 1] if first else "") + string.ascii_uppercase[second]


@dataclass(frozen=True)
class ErrorRow:
    """An error class and how many cases of each subject show it first."""

    error: str
    label: str
    meaning: str
    counts: tuple[int, ...]


def error_rows(data: ReportData, words: Language) -> list[ErrorRow]:
    """The error classes that occur, in the order of the definition."""
    counted = [
        Counter(verdict.error for verdict in data.verdicts(subject.id)) for subject in data.subjects
    ]
    return [
        ErrorRow(
            error,
            words.name("errors", error),
            words(f"error_meanings.{error}"),
            tuple(counts[error] for counts in counted),
        )
        for error in get_args(ErrorClass)
        if any(counts[error] for counts in counted)
    ]


@dataclass(frozen=True)
class Fact:
    """A label and its shown value; `share` (0 to 1) draws a bar behind it."""

    label: str
    value: str
    share: float | None = None


@dataclass(frozen=True)
class FactGroup:
    """Facts that belong together."""

    title: str
    facts: tuple[Fact, ...]


def fact_groups(
    value: dict[str, Any], words: Language, title: str = "", *, bars: bool = True
) -> list[FactGroup]:
    """Any nested JSON object as groups of facts: its scalars, then one group per inner object.

    An object of numbers that are parts of a whole is drawn with bars, and so are lists of calls
    by name; other long lists are counted. Without `bars`, the counts are of different things.
    """
    listed = {key: counted for key, inner in value.items() if (counted := _counted(inner))}
    plain = {
        key: inner
        for key, inner in value.items()
        if not isinstance(inner, dict) and key not in listed
    }
    shares = _shares(plain) if bars else {}
    facts = tuple(
        Fact(words.name("facts", key), fact_value(inner, words), shares.get(key))
        for key, inner in plain.items()
    )
    groups = [FactGroup(title, facts)] if facts else []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            groups += fact_groups(inner, words, _joined(title, words.name("facts", key)), bars=bars)
        elif key in listed:
            groups.append(FactGroup(_joined(title, words.name("facts", key)), listed[key]))
    return groups


def _counted(value: Any) -> tuple[Fact, ...]:
    """Bars of a list of `{name, calls, ...}`; nothing for another list."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return ()
    if not all({"name", "calls"} <= set(one) for one in value):
        return ()
    counts = [(str(one["name"]), int(one["calls"])) for one in value]
    most = max((count for _, count in counts), default=0) or 1
    return tuple(Fact(label, number(count), count / most) for label, count in counts)


def _joined(title: str, name: str) -> str:
    return f"{title} · {name}" if title else name


def _shares(values: dict[str, Any]) -> dict[str, float]:
    """Parts of a whole: at least two counts that are not summary statistics of one quantity."""
    counts = {key: v for key, v in values.items() if type(v) is int and v >= 0}
    statistics = {"mean", "median", "min", "max", "total", "rows", "tokens", "p50", "p95", "p99"}
    whole = sum(counts.values())
    if len(counts) < 2 or len(counts) != len(values) or whole == 0 or statistics & set(counts):
        return {}
    return {key: count / whole for key, count in counts.items()}


def fact_value(value: Any, words: Language) -> str:
    """A JSON value in a few words."""
    if isinstance(value, bool):
        return words("yes") if value else words("no")
    if value is None:
        return "–"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        if len(value) <= LONGEST_LIST and not any(isinstance(one, dict | list) for one in value):
            return ", ".join(fact_value(one, words) for one in value) or "–"
        return words("entries", count=len(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {fact_value(inner, words)}" for key, inner in value.items())
    return str(value)


def settings_text(settings: dict[str, Any]) -> str:
    """`batch_size 32, parts 1`."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


@dataclass(frozen=True)
class StageView:
    """One stage that ran: `share` of the longest stage's time; `command` is empty if unknown."""

    stage: str
    artefact: str
    started: str
    wall: str
    memory: str
    share: float
    facts: tuple[Fact, ...]
    command: str


def stage_views(data: ReportData, words: Language) -> list[StageView]:
    """Every recorded stage in the order of starting."""
    longest = max((run.wall_seconds for run in data.runs), default=0.0) or 1.0
    return [_stage_view(run, longest, words) for run in data.runs]


def _stage_view(run: StageRun, longest: float, words: Language) -> StageView:
    memory = run.record.get("peak_memory_mb")
    facts = run.record.get("facts") or {}
    return StageView(
        stage=run.stage,
        artefact=run.artefact,
        started=str(run.record.get("started", "")).replace("T", " ").removesuffix("Z"),
        wall=duration(run.wall_seconds, words),
        memory=f"{number(round(memory))}\u00a0MB" if memory else "–",
        share=run.wall_seconds / longest,
        facts=tuple(Fact(key, fact_value(value, words)) for key, value in facts.items()),
        command=str(run.record.get("command") or ""),
    )


def merged_facts(data: ReportData, key: str) -> Iterator[Fact]:
    """Versions or hardware over all stages, each distinct value once."""
    found: dict[str, list[str]] = {}
    for run in data.runs:
        for name, value in (run.record.get(key) or {}).items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            known = found.setdefault(name, [])
            if shown not in known:
                known.append(shown)
    for name, values in sorted(found.items()):
        yield Fact(name, " / ".join(values))
