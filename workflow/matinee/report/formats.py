"""What the format costs: each GGUF file beside the folder it is made of, on the same cases."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from matinee.config import paths
from matinee.config.subjects import Subject
from matinee.evaluation.scoring.metrics import seconds_per_case
from matinee.messages.transcripts import Transcript, Verdict
from matinee.report.collect import Evaluated, ReportData


@dataclass(frozen=True)
class Format:
    """A model in one format, over all suites. `bytes`: of its weights; `seconds`: mean per case.

    `engine`: what it ran in. `changed`: cases that were answered otherwise than by the folder that
    the file was made of, in words or calls; None for that folder itself. `gained`, `lost`: cases
    that only it, or only the folder, got right.
    """

    subject: str
    name: str
    engine: str
    bytes: int | None
    seconds: float | None
    correct: int
    total: int
    changed: int | None = None
    gained: int = 0
    lost: int = 0


def formats(data: ReportData) -> list[Format]:
    """Each tuned model that was tested in several formats: the folder first, then its files."""
    found: dict[str, list[Format]] = {}
    for subject in {subject.id: subject for subject, _, _ in data.converted}.values():
        folder = replace(subject, gguf=None)
        plain = [data.evaluated[folder.id, suite] for suite in data.suites]
        made = [run for one, _, run in data.converted if one.id == subject.id]
        group = found.setdefault(folder.id, [_format(data, folder, plain)])
        group.append(_compared(_format(data, subject, made), plain, made))
    return [one for group in found.values() for one in group]


def format_values(data: ReportData) -> list[dict[str, Any]]:
    """The same for `summary.json`."""
    return [asdict(one) for one in formats(data)]


def _format(data: ReportData, subject: Subject, runs: list[Evaluated]) -> Format:
    verdicts = [verdict for run in runs for verdict in run.verdicts]
    records = [
        record
        for run in data.runs
        if run.artefact.startswith(f"evaluation/{subject.id}/")
        if (record := run.record.get("parameters", {})).get("engine")
    ]
    return Format(
        subject=subject.id,
        name=subject.gguf or "safetensors",
        engine=str(records[0]["engine"]) if records else "",
        bytes=_bytes(data, subject),
        seconds=seconds_per_case(verdicts),
        correct=sum(verdict.success for verdict in verdicts),
        total=len(verdicts),
    )


def _bytes(data: ReportData, subject: Subject) -> int | None:
    """What its weights take; None where no record says it."""
    if subject.gguf is None:
        merges = (run.merge for run in data.trainings_of(subject.name) if run.seed == subject.seed)
        return next((merge["bytes"] for merge in merges if merge and "bytes" in merge), None)
    place = paths.GGUF.of(variant=subject.name, seed=subject.seed).removeprefix("results/")
    record = data.run_of(place)
    files = record.record.get("facts", {}).get("files", {}) if record else {}
    size = files.get(subject.gguf, {}).get("bytes")
    return int(size) if size is not None else None


def _compared(one: Format, before: list[Evaluated], after: list[Evaluated]) -> Format:
    old = {_case(each): each for run in before for each in run.transcripts}
    changed = sum(
        _said(each) != _said(old[_case(each)]) for run in after for each in run.transcripts
    )
    right = {_case(each): each.success for run in before for each in run.verdicts}
    now = [(each.success, right[_case(each)]) for run in after for each in run.verdicts]
    return replace(
        one, changed=changed, gained=now.count((True, False)), lost=now.count((False, True))
    )


def _case(one: Transcript | Verdict) -> tuple[str, str, int]:
    return one.suite, one.case, one.repeat


def _said(transcript: Transcript) -> list[object]:
    return [(step.parse.content, step.parse.calls) for step in transcript.steps]
