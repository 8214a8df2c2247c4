"""The published experiment against this run: every setting, figure and finding, with a verdict."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matinee.config import HubSource, Variant
from matinee.evaluation.comparison import Pair, Result
from matinee.report.data import ReportData, SeedFiles
from matinee.report.language import Language, number, percent

PUBLISHED = Path(__file__).with_name("published.yaml")
Agreement = Literal["same", "other", "agrees", "differs", "cannot", "unknown"]


@dataclass(frozen=True)
class Row:
    """One line of the table. `why` is empty where the verdict needs no reason."""

    label: str
    published: str
    here: str
    tolerance: str
    agreement: Agreement
    why: str


@functools.cache
def published_variants() -> dict[str, Any]:
    """What was published, per variant id."""
    import yaml

    loaded = yaml.load(PUBLISHED.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return dict(loaded["variants"])


def published_rows(
    data: ReportData, variant: Variant, words: Language
) -> list[tuple[str, list[Row]]]:
    """A variant's table in three groups; empty where nothing was published under its id."""
    known = published_variants().get(variant.id)
    if known is None:
        return []
    here = settings_here(data, variant, words)
    settings = [
        _setting_row(key, str(said), here[key], words) for key, said in known["settings"].items()
    ]
    other = {
        row_key for row_key, said in known["settings"].items() if not _same(said, here[row_key])
    }
    first = next((run for run in data.trainings if run.variant == variant.id), None)
    figures = [_figure_row(figure, first, other, here, words) for figure in known["figures"]]
    findings = list(_findings(data, variant, known["findings"], words))
    return [("figures", figures), ("findings", findings), ("settings", settings)]


def settings_here(data: ReportData, variant: Variant, words: Language) -> dict[str, str]:
    """This run's settings, written as `published.yaml` writes them."""
    training = variant.training
    model = data.configuration.model(variant.model)
    hub = next((source for source in model.sources if isinstance(source, HubSource)), None)
    mix = [
        f"{part.dataset} ({part.max_samples:,})" if part.max_samples else part.dataset
        for part in variant.data
    ]
    first = next((run for run in data.trainings if run.variant == variant.id), None)
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


def _setting_row(key: str, published: str, here: str, words: Language) -> Row:
    same: Agreement = "same" if _same(published, here) else "other"
    return Row(words(f"published.keys.{key}"), published, here, words("published.exact"), same, "")


def _figure_row(
    figure: Mapping[str, Any],
    run: SeedFiles | None,
    other: set[str],
    here: dict[str, str],
    words: Language,
) -> Row:
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
    return Row(label, said, number(value, 4), tolerance, agreement, why)


def _measured(key: str, run: SeedFiles | None) -> float | None:
    if run is None:
        return None
    if key == "seconds_per_step":
        rate = run.metrics.get("steps_per_second")
        return 1 / float(rate) if rate else None
    value = run.metrics.get(key)
    return value if isinstance(value, int | float) else None


COMPLEX = ("chain_two", "chain_three", "parallel_calls")


def _findings(
    data: ReportData, variant: Variant, findings: list[str], words: Language
) -> Iterator[Row]:
    pair = next(
        p for p in data.pairs if p.kind == "training" and p.before[0] == f"{variant.id}-untuned"
    )
    suite = next(iter(data.suites))
    single = _share(data, pair, suite, ("single_tool",))
    several = _share(data, pair, suite, COMPLEX)
    overall = data.comparison.of(pair, suite)
    for finding in findings:
        shown, agreement = _finding(finding, single, several, overall, words)
        yield Row(
            words(f"published.findings.{finding}.label"),
            words(f"published.findings.{finding}.published"),
            shown,
            words(f"published.findings.{finding}.tolerance"),
            agreement,
            words("published.because.sampled") if agreement == "differs" else "",
        )


def _finding(
    finding: str, single: float | None, several: float | None, overall: Result, words: Language
) -> tuple[str, Agreement]:
    """What this run shows about a finding, and whether that agrees."""
    if finding == "carries_over":
        shown = f"{percent(overall.before)} → {percent(overall.after)}"
        return shown, "agrees" if overall.finding == "better" else "differs"
    if single is None or (finding == "complex_weak" and several is None):
        return "–", "unknown"
    if finding == "single_tool":
        return percent(single), "agrees" if single > 0.5 else "differs"
    assert several is not None
    shown = words("published.against_single", several=percent(several), single=percent(single))
    return shown, "agrees" if several < single else "differs"


def _share(data: ReportData, pair: Pair, suite: str, categories: tuple[str, ...]) -> float | None:
    """The tuned share of right cases over these categories; None where there is no such case."""
    found = [r for r in data.comparison.categories_of(pair, suite) if r.category in categories]
    cases = sum(result.cases for result in found)
    return sum(result.after * result.cases for result in found) / cases if cases else None
