"""Reads what the other stages left under `results/` into one value that the report is made from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from matinee.config import Configuration
from matinee.evaluation.comparison import (
    Comparison,
    Outcome,
    Pair,
    compare_outcomes,
    outcomes_by_suite,
)
from matinee.evaluation.floor import FLOOR
from matinee.messages.scenarios import Suite
from matinee.messages.transcripts import Transcript, Verdict
from matinee.report.run_comparison import RunComparison, compare_runs, read_outcomes
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json

Record = TypeVar("Record", bound=BaseModel)
SubjectKind = Literal["untuned", "tuned", "reference"]


@dataclass(frozen=True)
class Subject:
    """What was tested. `variant` and `model` name entries of the configuration."""

    id: str
    kind: SubjectKind
    variant: str
    seed: int | None
    model: str


@dataclass(frozen=True)
class SeedFiles:
    """What one training left: metrics, the trainer's log, and the merge certificate if any."""

    variant: str
    seed: int
    metrics: dict[str, Any]
    log: tuple[dict[str, Any], ...]
    merge: dict[str, Any] | None


@dataclass(frozen=True)
class StageRun:
    """One `run.json`: `artefact` is its folder below `results/`."""

    artefact: str
    record: dict[str, Any]

    @property
    def stage(self) -> str:
        return str(self.record.get("stage", ""))

    @property
    def wall_seconds(self) -> float:
        return float(self.record.get("wall_seconds") or 0.0)

    @property
    def memory_mb(self) -> float:
        return float(self.record.get("peak_memory_mb") or 0.0)


@dataclass(frozen=True)
class Evaluated:
    """One subject's run over one suite."""

    verdicts: tuple[Verdict, ...]
    transcripts: tuple[Transcript, ...]


@dataclass(frozen=True)
class EarlierRun:
    """An earlier run and what changed since. `created` is empty where its summary does not say."""

    path: Path
    title: str
    created: str
    comparison: RunComparison


@dataclass(frozen=True)
class ReportData:
    """Everything that the summary, the tables and the page are made from.

    `evaluated` is keyed by subject id and suite id; `profiles` and `leakages` by variant id.
    `floor`: per suite and agent that understands nothing (`evaluation/floor.py`), its outcomes.
    `decoded`: verdicts of the runs with other decoding, by subject, suite and `constrained` or
    `sampled`; the comparisons are about the greedy runs alone.
    """

    configuration: Configuration
    subjects: tuple[Subject, ...]
    suites: dict[str, Suite]
    floor: dict[str, dict[str, list[Outcome]]]
    evaluated: dict[tuple[str, str], Evaluated]
    trainings: tuple[SeedFiles, ...]
    profiles: dict[str, dict[str, Any]]
    leakages: dict[str, dict[str, Any]]
    runs: tuple[StageRun, ...]
    pairs: tuple[Pair, ...]
    comparison: Comparison
    decoded: dict[tuple[str, str, str], tuple[Verdict, ...]]
    earlier: tuple[EarlierRun, ...] = ()

    def verdicts(self, subject: str) -> list[Verdict]:
        """A subject's verdicts in all suites."""
        return [v for suite in self.suites for v in self.evaluated[subject, suite].verdicts]

    def subject(self, identifier: str) -> Subject:
        """The subject of that id."""
        return next(subject for subject in self.subjects if subject.id == identifier)

    def run_of(self, artefact: str) -> StageRun | None:
        """The record beside an artefact."""
        return next((run for run in self.runs if run.artefact == artefact), None)

    def runs_below(self, folder: str) -> list[StageRun]:
        """The records beside a folder's artefacts."""
        return [run for run in self.runs if run.artefact.startswith(f"{folder}/")]

    def trainings_of(self, variant: str) -> list[SeedFiles]:
        """What a variant's seeds left."""
        return [run for run in self.trainings if run.variant == variant]

    def training_claims(self) -> list[tuple[Pair, str]]:
        """Every variant's before and after, on every suite."""
        pairs = [pair for pair in self.pairs if pair.kind == "training"]
        return [(pair, suite) for pair in pairs for suite in self.suites]

    def floor_share(self, suite: str, agent: str, group: str) -> float | None:
        """What an agent that understands nothing gets right; None where there is no such case."""
        marks = [one.success for one in self.floor[suite][agent] if one.belongs(group)]
        return sum(marks) / len(marks) if marks else None


def subjects_of(configuration: Configuration) -> tuple[Subject, ...]:
    """Every subject that the configuration asks for, in the order in which it is shown."""
    found = []
    for variant in configuration.variants:
        found.append(Subject(f"{variant.id}-untuned", "untuned", variant.id, None, variant.model))
        found += [
            Subject(f"{variant.id}-tuned-s{seed}", "tuned", variant.id, seed, variant.model)
            for seed in variant.seeds
        ]
    found += [
        Subject(f"ref-{reference.id}", "reference", "", None, reference.model)
        for reference in configuration.evaluation.references
    ]
    return tuple(found)


def pairs_of(configuration: Configuration) -> tuple[Pair, ...]:
    """What is compared: each variant before and after, variants with one another, references.

    Of two variants the later one is `before`; a reference is the `before` of each tuned variant.
    """
    tuned = {
        variant.id: tuple(f"{variant.id}-tuned-s{seed}" for seed in variant.seeds)
        for variant in configuration.variants
    }
    pairs = [Pair("training", (f"{name}-untuned",), after, name) for name, after in tuned.items()]
    pairs += [
        Pair("variants", tuned[second], tuned[first], first)
        for first, second in itertools.combinations(tuned, 2)
    ]
    for reference in configuration.evaluation.references:
        before = (f"ref-{reference.id}",)
        pairs += [Pair("reference", before, after, name) for name, after in tuned.items()]
    return tuple(pairs)


def decoded_runs(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Subject and decoding of every run beside the greedy ones."""
    evaluation = configuration.evaluation
    for subject in subjects_of(configuration):
        if evaluation.constrained and subject.kind != "reference":
            yield subject.id, "constrained"
        if evaluation.sampling is not None:
            yield subject.id, "sampled"


def collect(results: Path, configuration: Configuration) -> ReportData:
    """Reads everything under `results`.

    Raises DataError where a subject's verdicts or transcripts, or a suite, are missing or cannot
    be read. What a stage may leave out (profile, leakage, merge certificate) may be missing.
    """
    subjects = subjects_of(configuration)
    suites = {
        suite.id: _model(results / "suite" / f"{suite.id}.json", Suite)
        for suite in configuration.evaluation.suites
    }
    floor = {suite: _verdicts(results / "suite" / f"{suite}.floor.jsonl") for suite in suites}
    evaluated = {
        (subject.id, suite): _evaluated(results / "evaluation" / subject.id / suite)
        for subject in subjects
        for suite in suites
    }
    pairs = pairs_of(configuration)
    verdicts = {
        subject.id: [v for suite in suites for v in evaluated[subject.id, suite].verdicts]
        for subject in subjects
    }
    variants = [variant.id for variant in configuration.variants]
    return ReportData(
        configuration=configuration,
        subjects=subjects,
        suites=suites,
        floor={suite: _floor(verdicts) for suite, verdicts in floor.items()},
        evaluated=evaluated,
        trainings=tuple(_trainings(results, configuration)),
        profiles=_per_variant(results, variants, "profile.json"),
        leakages=_per_variant(results, variants, "leakage.json"),
        runs=tuple(_runs(results)),
        pairs=pairs,
        comparison=compare_outcomes(outcomes_by_suite(verdicts), pairs),
        decoded={
            (subject, suite, decoding): _verdicts(
                results / "evaluation" / f"{subject}.{decoding}" / suite / "verdicts.jsonl"
            )
            for subject, decoding in decoded_runs(configuration)
            for suite in suites
        },
        earlier=tuple(_earlier(path, verdicts) for path in configuration.report.compare_with),
    )


def _earlier(path: Path, verdicts: dict[str, list[Verdict]]) -> EarlierRun:
    old = read_outcomes(path)
    summary = read_json(path)
    return EarlierRun(
        path=path,
        title=str(summary.get("title", "")),
        created=str(summary.get("created", "")),
        comparison=compare_runs(old, outcomes_by_suite(verdicts), (str(path), "")),
    )


def _evaluated(folder: Path) -> Evaluated:
    return Evaluated(
        verdicts=_verdicts(folder / "verdicts.jsonl"),
        transcripts=tuple(_lines(folder / "transcripts.jsonl", Transcript)),
    )


def _verdicts(path: Path) -> tuple[Verdict, ...]:
    return tuple(_lines(path, Verdict))


def _floor(verdicts: tuple[Verdict, ...]) -> dict[str, list[Outcome]]:
    found = {
        agent: [verdict for verdict in verdicts if verdict.subject == agent] for agent in FLOOR
    }
    return {
        agent: [one for suite in suites.values() for one in suite]
        for agent, suites in outcomes_by_suite(found).items()
    }


def _lines(path: Path, kind: type[Record]) -> Iterator[Record]:
    # newline="\n": model text may hold U+2028 and a lone carriage return.
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _record(f"{path}:{number}", line, kind)
    except OSError as error:
        raise _missing(path, error) from error


def _model(path: Path, kind: type[Record]) -> Record:
    try:
        return _record(str(path), path.read_text(encoding="utf-8"), kind)
    except OSError as error:
        raise _missing(path, error) from error


def _record(where: str, text: str, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{where}: not a {kind.__name__.lower()} ({place}: {first['msg']}). "
            "Delete the file and run the workflow again."
        ) from error


def _missing(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror}). Run the workflow to make it.")


def _json(path: Path) -> Any:
    """The decoded file, or None where there is none. Raises DataError where it is not JSON."""
    if not path.is_file():
        return None
    try:
        return read_json(path)
    except ValueError as error:
        raise DataError(
            f"{path}: not JSON ({error}). Delete the file and run the workflow again."
        ) from error


def _per_variant(results: Path, variants: list[str], name: str) -> dict[str, dict[str, Any]]:
    found = {variant: _json(results / "data" / variant / name) for variant in variants}
    return {variant: value for variant, value in found.items() if value is not None}


def _trainings(results: Path, configuration: Configuration) -> Iterator[SeedFiles]:
    for variant in configuration.variants:
        for seed in variant.seeds:
            folder = results / "training" / variant.id / f"s{seed}"
            metrics = _json(folder / "metrics.json")
            if metrics is not None:
                state = _json(folder / "trainer_state.json") or {}
                merge = _json(results / "merged" / variant.id / f"s{seed}" / "merge.json")
                log = tuple(state.get("log_history") or ())
                yield SeedFiles(variant.id, seed, metrics, log, merge)


def _runs(results: Path) -> Iterator[StageRun]:
    """Every `run.json` and `NAME.run.json` below the results, in the order of starting."""
    found = [
        StageRun(_artefact(path.relative_to(results)), record)
        for path in sorted(results.rglob("*run.json"))
        if path.name == "run.json" or path.name.endswith(".run.json")
        if isinstance(record := _json(path), dict)
    ]
    yield from sorted(found, key=lambda run: (str(run.record.get("started", "")), run.artefact))


def _artefact(record: Path) -> str:
    """What a record stands beside: its folder, or the file that it is named after."""
    stem = record.name.removesuffix("run.json").removesuffix(".")
    return (record.parent / stem).as_posix()
