"""What training and testing took: time, tokens, memory, and money where a price is set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matinee.report.data import ReportData, SeedFiles
from matinee.report.language import Language, number
from matinee.report.sections import subject_label


@dataclass(frozen=True)
class Price:
    """What an hour of the machine costs."""

    per_hour: float
    currency: str

    def of(self, seconds: float | None) -> str:
        """The price of so many seconds; a dash where the time is not known."""
        if seconds is None:
            return "–"
        return f"{money(seconds / 3600 * self.per_hour)}\u00a0{self.currency}"


def money(amount: float) -> str:
    """An amount to the hundredth, or to two significant digits where it is smaller."""
    return f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else number(amount, 2)


def price(data: ReportData) -> Price | None:
    """The configured price, if any."""
    settings = data.configuration.report
    if settings.price_per_hour is None:
        return None
    return Price(settings.price_per_hour, settings.currency)


@dataclass(frozen=True)
class TrainingCost:
    """What one training took; None where nothing says."""

    variant: str
    seed: int
    metrics: dict[str, Any]
    seconds: float | None
    memory_mb: float | None


def training_costs(data: ReportData) -> list[TrainingCost]:
    """One row per variant and seed."""
    return [_training_cost(run) for run in data.trainings]


def _training_cost(run: SeedFiles) -> TrainingCost:
    metrics = run.metrics
    return TrainingCost(
        variant=run.variant,
        seed=run.seed,
        metrics=metrics,
        seconds=metrics.get("runtime_seconds"),
        memory_mb=metrics.get("peak_device_memory_mb") or metrics.get("peak_memory_mb"),
    )


def gigabytes(megabytes: float | None) -> str:
    """`2.21 GB` (10^9 bytes); a dash where it was not measured."""
    return f"{number(megabytes / 1000)}\u00a0GB" if megabytes else "–"


@dataclass(frozen=True)
class EvaluationCost:
    """What running one subject over one suite took; None where no record says."""

    label: str
    suite: str
    cases: int
    outputs: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None
    peak_memory_mb: float | None

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens per second of wall time."""
        return self.completion_tokens / self.seconds if self.seconds else None


def evaluation_costs(data: ReportData, words: Language) -> list[EvaluationCost]:
    """One row per subject and suite. Time and memory come from the records of its parts."""
    return [
        _evaluation_cost(data, subject.id, suite, subject_label(subject, words))
        for subject in data.subjects
        for suite in data.suites
    ]


def _evaluation_cost(data: ReportData, subject: str, suite: str, label: str) -> EvaluationCost:
    evaluated = data.evaluated[subject, suite]
    steps = [step for transcript in evaluated.transcripts for step in transcript.steps]
    below = data.runs_below(f"evaluation/{subject}/{suite}")
    runs = [run for run in below if run.stage == "run_scenarios"]
    return EvaluationCost(
        label=label,
        suite=suite,
        cases=len(evaluated.verdicts),
        outputs=len(steps),
        prompt_tokens=sum(step.prompt_tokens for step in steps),
        completion_tokens=sum(step.completion_tokens for step in steps),
        seconds=sum(run.wall_seconds for run in runs) if runs else None,
        peak_memory_mb=max(
            (float(r.record.get("peak_memory_mb") or 0) for r in runs), default=None
        ),
    )
