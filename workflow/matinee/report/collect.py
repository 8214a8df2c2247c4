"""Reads what the other stages left under `results/` into one value that the report is made from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.config import Configuration, paths
from matinee.config.subjects import Subject, converted_subjects, decoded_subjects, greedy_subjects
from matinee.evaluation.comparison import (
    DUE,
    Comparison,
    Outcome,
    Pair,
    compare_outcomes,
    outcomes_by_suite,
)
from matinee.evaluation.scripted import FLOOR
from matinee.messages.scenarios import Suite
from matinee.messages.transcripts import Transcript, Verdict
from matinee.report.run_comparison import RunComparison, compare_runs, read_outcomes
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json, read_record, read_records


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
    `floor`: per suite and agent that understands nothing (`evaluation/scripted.py`), its outcomes.
    `decoded`: subject, suite and verdicts of each run with other decoding; the comparisons are
    about the greedy runs alone. `converted`: the same of each GGUF file (`formats.py`). `choice`:
    what a sweep was chosen by, as `choose_variant` wrote it.
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
    decoded: tuple[tuple[Subject, str, tuple[Verdict, ...]], ...]
    converted: tuple[tuple[Subject, str, Evaluated], ...] = ()
    earlier: tuple[EarlierRun, ...] = ()
    choice: dict[str, Any] | None = None

    def verdicts(self, subject: str) -> list[Verdict]:
        """A subject's verdicts in all suites."""
        return [v for suite in self.suites for v in self.evaluated[subject, suite].verdicts]

    def run_of(self, artefact: str) -> StageRun | None:
        """The record beside an artefact."""
        return next((run for run in self.runs if run.artefact == artefact), None)

    def trainings_of(self, variant: str) -> list[SeedFiles]:
        """What a variant's seeds left."""
        return [run for run in self.trainings if run.variant == variant]

    def training_claims(self) -> list[tuple[Pair, str]]:
        """Every variant's before and after, on every suite."""
        pairs = [pair for pair in self.pairs if pair.kind == "training"]
        return [(pair, suite) for pair in pairs for suite in self.suites]

    def floor_share(self, suite: str, agent: str, group: str) -> float | None:
        """What an agent that understands nothing gets right; None where there is no such case."""
        return share_of(group, self.floor[suite][agent])

    def floor_of(self, suite: str, group: str) -> float | None:
        """The most that any such agent gets."""
        shares = (self.floor_share(suite, agent, group) for agent in FLOOR)
        return max((share for share in shares if share is not None), default=None)

    def recorded(self, *groups: str) -> dict[str, list[Any]]:
        """What the stages' records say in `versions` or `hardware`, each distinct value once."""
        found: dict[str, list[Any]] = {}
        for run in self.runs:
            for group in groups:
                for key, value in (run.record.get(group) or {}).items():
                    if value not in found.setdefault(key, []):
                        found[key].append(value)
        return dict(sorted(found.items()))


def share_of(group: str, outcomes: Sequence[Outcome]) -> float | None:
    """The share of right cases in a group; None where there is no such case."""
    marks = [one.success for one in outcomes if one.belongs(group)]
    return sum(marks) / len(marks) if marks else None


def pairs_of(configuration: Configuration, subjects: Sequence[Subject]) -> tuple[Pair, ...]:
    """What is compared: each variant before and after, variants with one another, references.

    Of two variants the later one is `before`; a reference is the `before` of each tuned variant.
    """
    tuned: dict[str, tuple[str, ...]] = {}
    for subject in subjects:
        if subject.kind == "tuned":
            tuned[subject.name] = (*tuned.get(subject.name, ()), subject.id)
    untuned = {subject.name: subject.id for subject in subjects if subject.kind == "untuned"}
    pairs = [
        Pair("training", (untuned[configuration.untuned_of(name)],), after, name)
        for name, after in tuned.items()
    ]
    pairs += [
        Pair("variants", tuned[second], tuned[first], first)
        for first, second in itertools.combinations(tuned, 2)
    ]
    pairs += [
        Pair("reference", (subject.id,), after, name)
        for subject in subjects
        if subject.kind == "reference"
        for name, after in tuned.items()
    ]
    return tuple(pairs)


def collect(results: Path, configuration: Configuration) -> ReportData:
    """Reads everything under `results`.

    Raises DataError where a subject's verdicts or transcripts, or a suite, are missing or cannot
    be read. What a stage may leave out (profile, leakage, merge certificate) may be missing.
    """
    try:
        return _collect(results, configuration)
    except OSError as error:
        told = f"{error.filename}: cannot be read ({error.strerror}). Run the workflow to make it."
        raise DataError(told) from error


def _collect(results: Path, configuration: Configuration) -> ReportData:
    subjects = tuple(greedy_subjects(configuration))
    suites = {
        suite.id: read_record(paths.SUITE.below(results, suite=suite.id), Suite)
        for suite in configuration.evaluation.suites
    }
    evaluated = {
        (subject.id, suite): _evaluated(results, subject.id, suite)
        for subject in subjects
        for suite in suites
    }
    pairs = pairs_of(configuration, subjects)
    outcomes = outcomes_by_suite(
        {
            subject.id: [v for suite in suites for v in evaluated[subject.id, suite].verdicts]
            for subject in subjects
        }
    )
    floor = {suite: _floor(paths.FLOOR.below(results, suite=suite)) for suite in suites}
    floors = {
        suite: max(share_of(DUE, agent) or 0.0 for agent in agents.values())
        for suite, agents in floor.items()
    }
    return ReportData(
        configuration=configuration,
        subjects=subjects,
        suites=suites,
        floor=floor,
        evaluated=evaluated,
        trainings=tuple(_trainings(results, configuration)),
        profiles=_per_variant(results, configuration, paths.PROFILE),
        leakages=_per_variant(results, configuration, paths.LEAKAGE),
        runs=tuple(_runs(results)),
        pairs=pairs,
        comparison=compare_outcomes(outcomes, pairs, floors),
        decoded=tuple(
            (subject, suite, _verdicts(results, subject.id, suite))
            for subject in decoded_subjects(configuration)
            for suite in suites
        ),
        converted=tuple(
            (subject, suite, _evaluated(results, subject.id, suite))
            for subject in converted_subjects(configuration)
            for suite in suites
        ),
        earlier=tuple(_earlier(path, outcomes) for path in configuration.report.compare_with),
        choice=(
            _json(paths.CHOICE.below(results, variant=configuration.sweep.variant))
            if configuration.sweep
            else None
        ),
    )


def _earlier(path: Path, outcomes: dict[str, dict[str, list[Outcome]]]) -> EarlierRun:
    compared = compare_runs(read_outcomes(path), outcomes, (str(path), ""))
    summary = read_json(path)
    return EarlierRun(
        path, str(summary.get("title", "")), str(summary.get("created", "")), compared
    )


def _evaluated(results: Path, subject: str, suite: str) -> Evaluated:
    path = paths.TRANSCRIPTS.below(results, subject=subject, suite=suite)
    return Evaluated(_verdicts(results, subject, suite), tuple(read_records(path, Transcript)))


def _verdicts(results: Path, subject: str, suite: str) -> tuple[Verdict, ...]:
    return tuple(read_records(paths.VERDICTS.below(results, subject=subject, suite=suite), Verdict))


def _floor(path: Path) -> dict[str, list[Outcome]]:
    found: dict[str, list[Verdict]] = {agent: [] for agent in FLOOR}
    for verdict in read_records(path, Verdict):
        found[verdict.subject].append(verdict)
    return {
        agent: [one for suite in suites.values() for one in suite]
        for agent, suites in outcomes_by_suite(found).items()
    }


def _json(path: Path) -> Any:
    """The decoded file, or None where there is none. Raises DataError where it is not JSON."""
    return read_json(path) if path.is_file() else None


def _per_variant(
    results: Path, configuration: Configuration, artefact: paths.Artefact
) -> dict[str, dict[str, Any]]:
    ids = [one.id for one in configuration.variants if configuration.rows_of(one.id) == one.id]
    found = {name: _json(artefact.below(results, variant=name)) for name in ids}
    return {variant: value for variant, value in found.items() if value is not None}


def _trainings(results: Path, configuration: Configuration) -> Iterator[SeedFiles]:
    for variant in configuration.tested:
        for seed in variant.seeds:
            metrics, state, merge = (
                _json(artefact.below(results, variant=variant.id, seed=seed))
                for artefact in (paths.METRICS, paths.TRAINER_STATE, paths.CERTIFICATE)
            )
            if metrics is not None:
                log = tuple((state or {}).get("log_history") or ())
                yield SeedFiles(variant.id, seed, metrics, log, merge)


def _runs(results: Path) -> list[StageRun]:
    """Every `run.json` and `NAME.run.json` below the results, in the order of starting."""
    found = []
    for path in sorted(results.rglob("*run.json")):
        beside, dot, _ = path.name.removesuffix("run.json").rpartition(".")
        if (dot or path.name == "run.json") and isinstance(record := _json(path), dict):
            # The record of a folder, or of the file that it is named after.
            found.append(StageRun((path.relative_to(results).parent / beside).as_posix(), record))
    return sorted(found, key=lambda run: (str(run.record.get("started", "")), run.artefact))
