"""The published experiment against this run: every setting, figure and finding, with a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from matinee.config import HubSource, Variant
from matinee.evaluation import significance
from matinee.evaluation.comparison import DUE, Finding, Result
from matinee.evaluation.significance import Interval
from matinee.report.collect import ReportData, SeedFiles
from matinee.report.words import Language, number, percent, table

PUBLISHED = Path(__file__).with_name("published.yaml")
Agreement = Literal["same", "other", "agrees", "differs", "open", "cannot", "unknown"]


class PublishedRow(NamedTuple):
    """One line of the table. `why` is empty where the verdict needs no reason."""

    label: str
    published: str
    here: str
    tolerance: str
    agreement: Agreement
    why: str = ""


class PublishedView(NamedTuple):
    """A variant's table in groups. `apart`: this run has another model or other data.

    What is set differently, and what therefore cannot agree, is `folded` away where that is so.
    """

    groups: tuple[tuple[str, tuple[PublishedRow, ...]], ...]
    folded: tuple[PublishedRow, ...]
    apart: bool


def published_variants() -> dict[str, Any]:
    """What was published, per variant id."""
    return dict(table(PUBLISHED)["variants"])


def published_view(data: ReportData, variant: Variant, words: Language) -> PublishedView | None:
    """What was published against this run; None where nothing was under the variant's id."""
    known = published_variants().get(variant.id)
    if known is None:
        return None
    here = settings_here(data, variant, words)
    other = {key for key, said in known["settings"].items() if not _same(said, here[key])}
    apart = bool(other & {"model", "data"})
    first = next(iter(data.trainings_of(variant.id)), None)
    rows = {
        "findings": list(_findings(data, variant, known["findings"], words)),
        "figures": [_figure_row(figure, first, other, here, words) for figure in known["figures"]],
        "settings": [
            PublishedRow(
                words(f"published.keys.{key}"),
                str(said),
                here[key],
                words("published.exact"),
                "other" if key in other else "same",
            )
            for key, said in known["settings"].items()
        ],
    }
    folded = {"other", "cannot", "unknown"} if apart else set()
    kept = {
        group: tuple(row for row in members if row.agreement not in folded)
        for group, members in rows.items()
    }
    return PublishedView(
        tuple((group, members) for group, members in kept.items() if members),
        tuple(row for members in rows.values() for row in members if row.agreement in folded),
        apart,
    )


def settings_here(data: ReportData, variant: Variant, words: Language) -> dict[str, str]:
    """This run's settings, written as `published.yaml` writes them."""
    training = variant.training
    model = data.configuration.model(variant.model)
    hub = next((source for source in model.sources if isinstance(source, HubSource)), None)
    mix = [
        f"{part.dataset} ({part.max_samples:,})" if part.max_samples else part.dataset
        for part in variant.data
    ]
    first = next(iter(data.trainings_of(variant.id)), None)
    return {
        "model": hub.repo if hub else model.id,
        "hardware": _hardware(data, variant, words),
        "data": ", ".join(mix),
        "template": variant.template,
        "lora_target": training.lora.target
        if isinstance(training.lora.target, str)
        else ", ".join(training.lora.target),
        "lora": f"{training.lora.r} / {training.lora.alpha:g} / {training.lora.dropout:g}",
        "batch": f"{training.batch_size} × {training.gradient_accumulation}",
        "learning_rate": _scientific(training.learning_rate),
        "schedule": f"{training.schedule}, {training.warmup_steps}",
        "epochs": f"{training.epochs:g}",
        "precision": str(first.metrics.get("precision", training.precision)) if first else "–",
        "optimizer": f"AdamW, {training.weight_decay:g}, {training.max_grad_norm:g}",
        "seed": ", ".join(str(seed) for seed in variant.seeds),
        "cutoff_length": str(variant.cutoff_length),
        "logging": f"{training.logging_steps} / {training.save_steps}",
        "shard_size": data.configuration.export.shard_size,
    }


def _hardware(data: ReportData, variant: Variant, words: Language) -> str:
    run = data.run_of(f"training/{variant.id}/s{variant.seeds[0]}")
    if run is None:
        return "–"
    found = run.record.get("hardware") or {}
    accelerators = found.get("accelerators")
    if accelerators:
        return ", ".join(str(name) for name in accelerators)
    return words(
        "published.processor", machine=found.get("machine", "?"), cores=found.get("cores", "?")
    )


def _scientific(value: float) -> str:
    """0.0005 as `5e-4`."""
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _same(published: Any, here: str) -> bool:
    """Equal as numbers where both are numbers, otherwise as text."""
    try:
        return float(published) == float(here)
    except ValueError:
        return str(published) == here


def _figure_row(
    figure: Mapping[str, Any],
    run: SeedFiles | None,
    other: set[str],
    here: dict[str, str],
    words: Language,
) -> PublishedRow:
    value = _measured(figure["key"], run)
    blocking = [key for key in figure["depends"] if key in other]
    label = words(f"published.keys.{figure['key']}")
    tolerance = (
        f"± {percent(figure['tolerance'])}" if figure["tolerance"] else words("published.exact")
    )
    agreement: Agreement
    why = ""
    if value is None:
        agreement, why = "unknown", words("published.not_measured")
    elif blocking:
        agreement = "cannot"
        why = words("punctuation.list").join(
            words("published.because.other", what=words(f"published.keys.{key}"), here=here[key])
            for key in blocking
        )
    elif abs(value - figure["value"]) <= figure["tolerance"] * figure["value"]:
        agreement = "agrees"
    else:
        agreement = "differs"
        why = words(f"published.because.{figure['note']}") if "note" in figure else ""
    said = number(figure["value"], 4)
    if figure.get("computed"):
        said = words("published.computed", value=said)
    return PublishedRow(label, said, number(value, 4), tolerance, agreement, why)


def _measured(key: str, run: SeedFiles | None) -> float | None:
    if run is None:
        return None
    if key == "seconds_per_step":
        rate = run.metrics.get("steps_per_second")
        return 1 / float(rate) if rate else None
    value = run.metrics.get(key)
    return value if isinstance(value, int | float) else None


COMPLEX = ("chain_two", "chain_three", "parallel_calls")
Share = tuple[float, float]  # a share, and the number of families that it was counted over


def _findings(
    data: ReportData, variant: Variant, findings: list[str], words: Language
) -> Iterator[PublishedRow]:
    """The findings about the first suite; one agrees or differs only where a test says so."""
    pair = next(p for p in data.pairs if (p.kind, p.name) == ("training", variant.id))
    suite = next(iter(data.suites))
    categories = data.comparison.categories_of(pair, suite)
    single, several = _share(categories, ("single_tool",)), _share(categories, COMPLEX)
    due = data.comparison.of(pair, suite, DUE)
    for finding in findings:
        shown = "–"
        agreement: Agreement = "unknown"
        if finding == "carries_over" and due is not None:
            shown = f"{percent(due.before)} → {percent(due.after)}"
            told: dict[Finding, Agreement] = {"better": "agrees", "worse": "differs"}
            agreement = told.get(due.finding, "open")
        elif finding == "single_tool" and single is not None:
            shown = percent(single[0])
            interval = significance.wilson(single[0] * single[1], single[1])
            agreement = _beyond(interval, 0.5)
        elif finding == "complex_weak" and single is not None and several is not None:
            shown = words(
                "published.against_single", several=percent(several[0]), single=percent(single[0])
            )
            agreement = _beyond(significance.independent_difference(several, single), 0.0)
        yield PublishedRow(
            words(f"published.findings.{finding}.label"),
            words(f"published.findings.{finding}.published"),
            shown,
            words(f"published.findings.{finding}.tolerance"),
            agreement,
            words("published.because.sampled") if agreement == "differs" else "",
        )


def _beyond(interval: Interval, value: float) -> Agreement:
    """Whether an interval lies above a value, below it, or holds it."""
    return "agrees" if interval.low > value else "differs" if interval.high < value else "open"


def _share(results: Sequence[Result], categories: tuple[str, ...]) -> Share | None:
    """The tuned share of right cases over these categories; None where there is no such case."""
    found = [result for result in results if result.category in categories]
    cases = sum(result.cases for result in found)
    if not cases:
        return None
    right = sum(result.after * result.cases for result in found)
    return right / cases, sum(result.families for result in found)
