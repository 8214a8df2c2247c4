"""What each section of the page shows, as plain values for the templates."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple, get_args

from matinee.evaluation.scoring.metrics import METRICS, Metrics, aggregate
from matinee.messages.transcripts import ErrorClass
from matinee.report.claims import elapsed, span_of
from matinee.report.collect import ReportData, SeedFiles, StageRun
from matinee.report.summary import decodings
from matinee.report.words import Language, duration, gigabytes, number, percent

LONGEST_LIST = 12
MOST_HITS = 50
MOST_TOKENS = 1200
MOST_TOOLS = 10
# Figures of a data profile that are shown large, and not repeated below.
TILES = ("rows", "calls", "different_tools", "different_tool_lists")
# What a data set's record counts of its rows and keys.
READINGS = ("bad_by_kind", "warnings_by_kind", "left", "notes")
# Keys of `facts` in strings.yaml, where a bare `en` would be a translation.
LANGUAGES = {"en": "english", "zh": "chinese"}
DECLARED = {metric.name: metric for metric in METRICS}
# An object of these is a quantity described, and not a whole in parts.
STATISTICS = {"mean", "median", "min", "max", "total", "rows", "tokens", "p50", "p95", "p99"}

View = dict[str, Any]


def subject_views(data: ReportData, words: Language) -> list[View]:
    """All subjects with labels, the letters that stand for them in the case list, and counts."""
    # A to Z, then AA, AB …
    letters = ("".join(pair) for pair in itertools.product(("", *ascii_uppercase), ascii_uppercase))
    labels = subject_labels(data, words)
    return [
        {
            "id": subject.id,
            "label": labels[subject.id],
            "letter": letter,
            "correct": sum(verdict.success for verdict in data.verdicts(subject.id)),
            "total": len(data.verdicts(subject.id)),
        }
        for subject, letter in zip(data.subjects, letters, strict=False)
    ]


def subject_labels(data: ReportData, words: Language) -> dict[str, str]:
    """`chat, untuned` or `chat, tuned (seed 42)`, in the page's language, by subject.

    A start model of several variants bears their names, of many the first and the last.
    """
    tested = [variant.id for variant in data.configuration.tested]
    labels = {}
    for subject in data.subjects:
        begun = [one for one in tested if data.configuration.untuned_of(one) == subject.name]
        names = begun if subject.kind == "untuned" else [subject.name]
        name = " / ".join(names) if len(names) < 4 else f"{names[0]} … {names[-1]}"
        labels[subject.id] = words(f"subject.{subject.kind}", name=name, seed=subject.seed)
    return labels


class TableRow(NamedTuple):
    """A line of a table with one value per subject."""

    label: str
    meaning: str
    values: tuple[Any, ...]
    key: str = ""


def error_rows(data: ReportData, words: Language) -> list[TableRow]:
    """The error classes that occur, in the order of the definition; values are cases."""
    counted = [Counter(v.error for v in data.verdicts(s.id)) for s in data.subjects]
    return [
        TableRow(
            words.name("errors", error),
            words.name("error_meanings", error),
            tuple(counts[error] for counts in counted),
            error,
        )
        for error in get_args(ErrorClass)
        if any(counts[error] for counts in counted)
    ]


def measure_rows(data: ReportData, suite: str, words: Language) -> list[TableRow]:
    """Every measure that any subject has on a suite; what was not measured is a dash."""
    runs = decodings(data)
    columns = [_measures(data, subject.id, suite, runs) for subject in data.subjects]
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(name) for column in columns]
        if all(value is None for value in values):
            continue
        metric = DECLARED.get(name)
        if metric is not None:
            titles = metric.titles(words.code)
        else:
            key, _, k = name.partition("^")
            named = words.strings["measures"][key].format(k=k)
            titles = named, words(f"measure_meanings.{key}")
        share = metric is None or metric.share
        rows.append(TableRow(*titles, tuple(percent(v) if share else number(v) for v in values)))
    return rows


def _measures(data: ReportData, subject: str, suite: str, runs: dict[str, Any]) -> Metrics:
    column = aggregate(data.evaluated[subject, suite].verdicts)
    run = runs.get(subject, {}).get(suite, {})
    if "constrained" in run:
        column["constrained"] = run["constrained"]["correct"] / run["constrained"]["total"]
    for k, share in run.get("sampled", {}).get("pass_hat", {}).items():
        column[f"pass_hat^{k}"] = share
    return column


class Fact(NamedTuple):
    """A label and its shown value; `share` (0 to 1) draws a bar behind it."""

    label: str
    value: str
    share: float | None = None


def fact_groups(
    value: dict[str, Any], words: Language, title: str = "", *, bars: bool = True
) -> list[View]:
    """Any nested JSON object as groups of facts: its scalars, then one group per inner object.

    An object of numbers that are parts of a whole is drawn with bars, and so are lists of calls
    by name; other long lists are counted. Without `bars`, the counts are of different things.
    """
    inner = {key: one for key, one in value.items() if isinstance(one, dict)}
    listed = {key: counted for key, one in value.items() if (counted := _counted(one))}
    scalars = {key: one for key, one in value.items() if key not in inner and key not in listed}
    shares = _shares(scalars) if bars else {}
    facts = [
        Fact(words.name("facts", key), fact_value(one, words), shares.get(key))
        for key, one in scalars.items()
    ]
    groups = [{"title": title, "facts": facts}] if facts else []
    for key in value:
        name = " · ".join(filter(None, (title, words.name("facts", key))))
        if inner.get(key):
            groups += fact_groups(inner[key], words, name, bars=bars)
        elif key in listed:
            groups.append({"title": name, "facts": listed[key]})
    return groups


def _counted(value: Any) -> list[Fact]:
    """Bars of a list of `{name, calls, ...}`; nothing for another list."""
    rows = value if isinstance(value, list) else []
    if not all(isinstance(one, dict) and {"name", "calls"} <= set(one) for one in rows):
        return []
    counts = [(str(one["name"]), int(one["calls"])) for one in rows]
    most = max((calls for _, calls in counts), default=0) or 1
    return [Fact(name, number(calls), calls / most) for name, calls in counts]


def _shares(values: dict[str, Any]) -> dict[str, float]:
    """Parts of a whole: at least two counts that are not summary statistics of one quantity."""
    counts = {key: one for key, one in values.items() if type(one) is int and one >= 0}
    whole = sum(counts.values())
    if len(counts) < 2 or len(counts) != len(values) or whole == 0 or STATISTICS & set(counts):
        return {}
    return {key: count / whole for key, count in counts.items()}


def fact_value(value: Any, words: Language) -> str:
    """A JSON value in a few words."""
    if isinstance(value, bool):
        return words("yes" if value else "no")
    if value is None or isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        if len(value) <= LONGEST_LIST and not any(isinstance(one, dict | list) for one in value):
            return ", ".join(fact_value(one, words) for one in value) or "–"
        return words("entries", count=len(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {fact_value(inner, words)}" for key, inner in value.items())
    return str(value)


def histogram(profile: dict[str, Any], words: Language) -> View | None:
    """Rows by tokens; ranges before the first row and after the last are left out.

    `bars`: shares of the highest, each with its words; `ticks`: shares of the width, with texts.
    """
    tokens = profile.get("tokens") or {}
    buckets = list(tokens.get("histogram") or [])
    used = [place for place, bucket in enumerate(buckets) if bucket["rows"]]
    if not used:
        return None
    buckets = buckets[used[0] : used[-1] + 1]
    counts = [bucket["rows"] for bucket in buckets]
    edges = [bucket["from"] for bucket in buckets] + [buckets[-1]["to"]]

    def told(low: int, high: int, rows: int) -> str:
        return words("figure.bucket", low=number(low), high=number(high - 1), rows=number(rows))

    return {
        "bars": [
            {"height": rows / max(counts), "title": told(edges[place], edges[place + 1], rows)}
            for place, rows in enumerate(counts)
        ],
        "ticks": [
            (place / len(counts), number(edges[place]))
            for place in sorted({0, len(counts) // 2, len(counts)})
        ],
        "peak": words("figure.peak", rows=number(max(counts))),
        "description": words(
            "figure.lengths",
            rows=number(sum(counts)),
            low=number(edges[0]),
            high=number(edges[-1]),
            median=number(tokens.get("median")),
        ),
    }


def profile_view(profile: dict[str, Any], words: Language) -> View:
    """The profile as the page shows it. What an older profile lacks is left out."""
    tokens = dict(profile.get("tokens") or {})
    tiles = {key: number(profile[key]) for key in TILES if key in profile}
    if "total" in tokens:
        tiles["tokens"] = number(tokens.pop("total"))
    if "supervised_share" in tokens:
        tiles["supervised_share"] = percent(tokens.pop("supervised_share"), 1)
    shown = {*TILES, "samples", "tokens", "frequent_tools", "languages"}
    rest = {key: value for key, value in profile.items() if key not in shown}
    languages = dict(profile.get("languages") or {})
    rest["languages"] = {LANGUAGES.get(code, code): rows for code, rows in languages.items()}
    rest["tokens"] = {key: value for key, value in tokens.items() if key != "histogram"}
    rest["frequent_tools"] = (profile.get("frequent_tools") or [])[:MOST_TOOLS]
    return {
        "tiles": [Fact(words.name("facts", key), value) for key, value in tiles.items()],
        "lengths": histogram(profile, words),
        "groups": fact_groups(rest, words),
        # Text and supervision of each token.
        "rows": [
            {
                "id": str(sample["id"]),
                "head": [(str(piece), bool(due)) for piece, due in sample["tokens"][:MOST_TOKENS]],
                "left_out": max(0, len(sample["tokens"]) - MOST_TOKENS),
            }
            for sample in profile.get("samples") or []
        ],
    }


def readings(data: ReportData, variant: str) -> dict[str, Any]:
    """What became of the rows and keys of a variant's data sets when they were read, summed."""
    wanted = {
        part.dataset
        for one in data.configuration.variants
        if one.id == variant
        for part in one.data
    }
    found = {key: Counter[str]() for key in READINGS}
    for run in data.runs:
        if run.stage == "format_dataset" and run.record["parameters"].get("id") in wanted:
            for key in READINGS:
                found[key].update(run.record["facts"].get(key) or {})
    return {key: dict(counts) for key, counts in found.items() if counts}


def leakage_view(found: dict[str, Any], words: Language) -> View:
    """What was checked, how many hits there are, and the first of them."""
    hits: Sequence[dict[str, Any]] = found.get("hits") or []
    return {
        "checked": fact_groups(found.get("checked") or {}, words, bars=False),
        "count": len(hits),
        "hits": [{key: str(value) for key, value in hit.items()} for hit in hits[:MOST_HITS]],
    }


class CostTable(NamedTuple):
    """A table of costs: columns (key of `strings.yaml`) and one line per run, dashes included."""

    columns: tuple[str, ...]
    rows: list[tuple[str, tuple[str, ...]]]


def money(data: ReportData, seconds: float | None) -> str:
    """The price of so many seconds, where an hour has one: hundredths, or two digits below 0.1."""
    settings = data.configuration.report
    if seconds is None or settings.price_per_hour is None:
        return "–"
    amount = seconds / 3600 * settings.price_per_hour
    shown = f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else number(amount, 2)
    return f"{shown}\u00a0{settings.currency}"


# What the columns of a training's costs show of its metrics.
TRAINING_COSTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "steps": lambda m: number(m.get("steps")),
    "tokens_per_second": lambda m: number(m.get("tokens_per_second")),
    "samples_per_second": lambda m: number(m.get("samples_per_second")),
    "trainable": lambda m: number(m.get("trainable_parameters")),
    "mean_loss": lambda m: number(m.get("train_loss"), 4),
    "peak_memory": lambda m: gigabytes(m.get("peak_device_memory_mb") or m.get("peak_memory_mb")),
    "device": lambda m: f"{str(m.get('device') or '–').upper()} · {m.get('precision') or '–'}",
}


def training_costs(data: ReportData, words: Language) -> CostTable:
    """One row per variant and seed."""

    def row(run: SeedFiles) -> tuple[str, float | None, dict[str, str]]:
        label = f"{run.variant} · {words('seed_n', seed=run.seed)}"
        cells = {key: show(run.metrics) for key, show in TRAINING_COSTS.items()}
        return label, run.metrics.get("runtime_seconds"), cells

    return _cost_table(data, map(row, data.trainings), words)


def evaluation_costs(data: ReportData, words: Language) -> CostTable:
    """One row per subject and suite. Time and memory come from the records of its parts."""
    rows, labels = [], subject_labels(data, words)
    for subject in data.subjects:
        for suite in data.suites:
            evaluated = data.evaluated[subject.id, suite]
            steps = [step for transcript in evaluated.transcripts for step in transcript.steps]
            runs = [
                run
                for run in data.runs
                if run.artefact.startswith(f"evaluation/{subject.id}/{suite}/")
                and run.stage == "run_scenarios"
            ]
            seconds = sum(run.wall_seconds for run in runs) if runs else None
            written = sum(step.completion_tokens for step in steps)
            cells = {
                "cases_word": number(len(evaluated.verdicts)),
                "outputs": number(len(steps)),
                "prompt_tokens": number(sum(step.prompt_tokens for step in steps)),
                "written_tokens": number(written),
                "tokens_per_second": number(written / seconds if seconds else None),
                "peak_memory": gigabytes(max((run.memory_mb for run in runs), default=None)),
            }
            label = labels[subject.id]
            rows.append((f"{label} · {suite}" if len(data.suites) > 1 else label, seconds, cells))
    return _cost_table(data, rows, words)


def _cost_table(
    data: ReportData, rows: Iterable[tuple[str, float | None, dict[str, str]]], words: Language
) -> CostTable:
    """With time first, and money where a price is set."""
    priced = data.configuration.report.price_per_hour is not None
    columns: tuple[str, ...] = ()
    lines = []
    for label, seconds, cells in rows:
        prices = {"money": money(data, seconds)} if priced else {}
        full = {"time": duration(seconds, words), **prices, **cells}
        columns = tuple(full)
        lines.append((label, tuple(full.values())))
    return CostTable(columns, lines)


def stage_views(data: ReportData, words: Language) -> list[View]:
    """Every recorded stage in the order of starting.

    `left`, `width`: its place on the run's clock, as shares of it. The clock leaves out the time in
    which no stage was at work: a run that was taken up on another day would be all pause.
    """
    whole = elapsed(data.runs) or 1.0
    return [
        {
            "stage": run.stage,
            "artefact": run.artefact,
            "started": str(run.record.get("started", "")).replace("T", " ").removesuffix("Z"),
            "wall": duration(run.wall_seconds, words),
            "memory": gigabytes(run.memory_mb),
            "left": min(1.0, _busy_before(data.runs, run) / whole),
            "width": min(1.0, run.wall_seconds / whole),
            "seconds": run.wall_seconds,
            "facts": [
                Fact(key, fact_value(value, words))
                for key, value in (run.record.get("facts") or {}).items()
            ],
            "command": str(run.record.get("command") or ""),
        }
        for run in data.runs
    ]


def _busy_before(runs: Sequence[StageRun], run: StageRun) -> float:
    """Seconds in which stages were at work before this one began."""
    span = span_of(run)
    if span is None:
        return 0.0
    earlier = [one for one in runs if (span_of(one) or (0.0,))[0] < span[0]]
    ends = [found[1] for one in earlier if (found := span_of(one))]
    return elapsed(earlier) - max(0.0, max(ends, default=span[0]) - span[0])


def recorded_facts(data: ReportData, key: str) -> list[Fact]:
    """Versions or hardware over all stages."""

    def shown(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    found = data.recorded(key)
    return [Fact(name, " / ".join(map(shown, values))) for name, values in found.items()]
