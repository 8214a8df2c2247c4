"""What each section of the page shows, as plain values for the templates."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from matinee.config.subjects import Subject
from matinee.evaluation.scoring.metrics import METRICS, Metrics, aggregate
from matinee.messages.transcripts import ErrorClass
from matinee.report.claims import elapsed, span_of
from matinee.report.collect import ReportData, SeedFiles
from matinee.report.summary import decodings
from matinee.report.words import Language, duration, gigabytes, number, percent

LONGEST_LIST = 12
MOST_HITS = 50
MOST_TOKENS = 1200
MOST_TOOLS = 10
# Figures of a data profile that are shown large, and not repeated below.
TILES = ("rows", "calls", "different_tools", "different_tool_lists")
# Keys of `facts` in strings.yaml, where a bare `en` would be a translation.
LANGUAGES = {"en": "english", "zh": "chinese"}
DECLARED = {metric.name: metric for metric in METRICS}
# An object of these is a quantity described, and not a whole in parts.
STATISTICS = {"mean", "median", "min", "max", "total", "rows", "tokens", "p50", "p95", "p99"}


@dataclass(frozen=True)
class SubjectView:
    """A subject as shown: its full label and the letters that stand for it in the case list."""

    id: str
    label: str
    letter: str
    correct: int
    total: int


def subject_views(data: ReportData, words: Language) -> list[SubjectView]:
    """All subjects with labels, letters and overall counts."""
    views = []
    for place, subject in enumerate(data.subjects):
        marks = [verdict.success for verdict in data.verdicts(subject.id)]
        first, second = divmod(place, 26)
        letters = string.ascii_uppercase[first - 1 : first] + string.ascii_uppercase[second]
        label = subject_label(subject, words)
        views.append(SubjectView(subject.id, label, letters, sum(marks), len(marks)))
    return views


def subject_label(subject: Subject, words: Language) -> str:
    """`chat, untuned` or `chat, tuned (seed 42)`, in the page's language."""
    return words(f"subject.{subject.kind}", name=subject.name, seed=subject.seed)


@dataclass(frozen=True)
class TableRow:
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
        share = name not in DECLARED or DECLARED[name].share
        shown = tuple(percent(v) if share else number(v) for v in values)
        rows.append(TableRow(*_titles(name, words), shown))
    return rows


def _titles(name: str, words: Language) -> tuple[str, str]:
    """A measure's name and meaning: a declared metric's own, else a decoding's."""
    if name in DECLARED:
        return DECLARED[name].titles(words.code)
    key, _, k = name.partition("^")
    return words.strings["measures"][key].format(k=k), words(f"measure_meanings.{key}")


def _measures(data: ReportData, subject: str, suite: str, runs: dict[str, Any]) -> Metrics:
    column = aggregate(data.evaluated[subject, suite].verdicts)
    run = runs.get(subject, {}).get(suite, {})
    if "constrained" in run:
        column["constrained"] = run["constrained"]["correct"] / run["constrained"]["total"]
    for k, share in run.get("sampled", {}).get("pass_hat", {}).items():
        column[f"pass_hat^{k}"] = share
    return column


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
    inner = {key: one for key, one in value.items() if isinstance(one, dict)}
    listed = {key: counted for key, one in value.items() if (counted := _counted(one))}
    scalars = {key: one for key, one in value.items() if key not in inner and key not in listed}
    shares = _shares(scalars) if bars else {}
    facts = tuple(
        Fact(words.name("facts", key), fact_value(one, words), shares.get(key))
        for key, one in scalars.items()
    )
    groups = [FactGroup(title, facts)] if facts else []
    for key in value:
        name = " · ".join(filter(None, (title, words.name("facts", key))))
        if inner.get(key):
            groups += fact_groups(inner[key], words, name, bars=bars)
        elif key in listed:
            groups.append(FactGroup(name, listed[key]))
    return groups


def _counted(value: Any) -> tuple[Fact, ...]:
    """Bars of a list of `{name, calls, ...}`; nothing for another list."""
    rows = value if isinstance(value, list) else []
    if not all(isinstance(one, dict) and {"name", "calls"} <= set(one) for one in rows):
        return ()
    most = max((int(one["calls"]) for one in rows), default=0) or 1
    return tuple(
        Fact(str(one["name"]), number(int(one["calls"])), int(one["calls"]) / most) for one in rows
    )


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


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram: `height` is a share of the highest; `title` says it in words."""

    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """Rows by length. `ticks`: places as shares of the width, and their texts."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    peak: str
    description: str


def histogram(profile: dict[str, Any], words: Language) -> Histogram | None:
    """Rows by tokens; ranges before the first row and after the last are left out."""
    tokens = profile.get("tokens") or {}
    buckets = list(tokens.get("histogram") or [])
    used = [place for place, bucket in enumerate(buckets) if bucket["rows"]]
    if not used:
        return None
    buckets = buckets[used[0] : used[-1] + 1]
    most = max(bucket["rows"] for bucket in buckets)
    edges = [bucket["from"] for bucket in buckets] + [buckets[-1]["to"]]
    return Histogram(
        tuple(
            Bar(
                bucket["rows"] / most,
                words(
                    "figure.bucket",
                    low=number(bucket["from"]),
                    high=number(bucket["to"] - 1),
                    rows=number(bucket["rows"]),
                ),
            )
            for bucket in buckets
        ),
        tuple(
            (place / len(buckets), number(edges[place]))
            for place in sorted({0, len(buckets) // 2, len(buckets)})
        ),
        words("figure.peak", rows=number(most)),
        words(
            "figure.lengths",
            rows=number(sum(bucket["rows"] for bucket in buckets)),
            low=number(edges[0]),
            high=number(edges[-1]),
            median=number(tokens.get("median")),
        ),
    )


@dataclass(frozen=True)
class MaskedRow:
    """A sample row: text and supervision of each token, up to MOST_TOKENS of them."""

    id: str
    head: tuple[tuple[str, bool], ...]
    left_out: int


@dataclass(frozen=True)
class ProfileView:
    """One variant's data."""

    tiles: tuple[Fact, ...]
    lengths: Histogram | None
    groups: list[FactGroup]
    rows: list[MaskedRow]


def profile_view(profile: dict[str, Any], words: Language) -> ProfileView:
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
    return ProfileView(
        tuple(Fact(words.name("facts", key), value) for key, value in tiles.items()),
        histogram(profile, words),
        fact_groups(rest, words),
        [masked_row(sample) for sample in profile.get("samples") or []],
    )


def masked_row(sample: dict[str, Any]) -> MaskedRow:
    """One of the profile's sample rows."""
    tokens = [(str(piece), bool(supervised)) for piece, supervised in sample["tokens"]]
    left_out = max(0, len(tokens) - MOST_TOKENS)
    return MaskedRow(str(sample["id"]), tuple(tokens[:MOST_TOKENS]), left_out)


def leakage_view(found: dict[str, Any], words: Language) -> dict[str, Any]:
    """What was checked, how many hits there are, and the first of them."""
    hits: Sequence[dict[str, Any]] = found.get("hits") or []
    return {
        "checked": fact_groups(found.get("checked") or {}, words, bars=False),
        "count": len(hits),
        "hits": [{key: str(value) for key, value in hit.items()} for hit in hits[:MOST_HITS]],
    }


@dataclass(frozen=True)
class CostTable:
    """A table of costs: columns (key of `strings.yaml`) and one line per run, dashes included."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def money(data: ReportData, seconds: float | None) -> str:
    """The price of so many seconds, where an hour has one: hundredths, or two digits below 0.1."""
    settings = data.configuration.report
    if seconds is None or settings.price_per_hour is None:
        return "–"
    amount = seconds / 3600 * settings.price_per_hour
    shown = f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else number(amount, 2)
    return f"{shown}\u00a0{settings.currency}"


def training_costs(data: ReportData, words: Language) -> CostTable:
    """One row per variant and seed."""
    return _cost_table(
        data,
        [
            (
                f"{run.variant} · {words('seed_n', seed=run.seed)}",
                run.metrics.get("runtime_seconds"),
                _training_cost(run),
            )
            for run in data.trainings
        ],
        words,
    )


def _training_cost(run: SeedFiles) -> dict[str, str]:
    m = run.metrics
    memory = m.get("peak_device_memory_mb") or m.get("peak_memory_mb")
    return {
        "steps": number(m.get("steps")),
        "tokens_per_second": number(m.get("tokens_per_second")),
        "samples_per_second": number(m.get("samples_per_second")),
        "trainable": number(m.get("trainable_parameters")),
        "mean_loss": number(m.get("train_loss"), 4),
        "peak_memory": gigabytes(memory),
        "device": f"{str(m.get('device') or '–').upper()} · {m.get('precision') or '–'}",
    }


def evaluation_costs(data: ReportData, words: Language) -> CostTable:
    """One row per subject and suite. Time and memory come from the records of its parts."""
    rows = []
    for subject in data.subjects:
        for suite in data.suites:
            evaluated = data.evaluated[subject.id, suite]
            steps = [step for transcript in evaluated.transcripts for step in transcript.steps]
            runs = [
                run
                for run in data.runs_below(f"evaluation/{subject.id}/{suite}")
                if run.stage == "run_scenarios"
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
            label = subject_label(subject, words)
            rows.append((f"{label} · {suite}" if len(data.suites) > 1 else label, seconds, cells))
    return _cost_table(data, rows, words)


def _cost_table(
    data: ReportData, rows: list[tuple[str, float | None, dict[str, str]]], words: Language
) -> CostTable:
    """With time first, and money where a price is set."""
    priced = data.configuration.report.price_per_hour is not None
    full = [
        (
            label,
            {"time": duration(seconds, words)}
            | ({"money": money(data, seconds)} if priced else {})
            | cells,
        )
        for label, seconds, cells in rows
    ]
    return CostTable(
        tuple(full[0][1]) if full else (),
        tuple((label, tuple(cells.values())) for label, cells in full),
    )


@dataclass(frozen=True)
class StageView:
    """One stage that ran. `left`, `width`: its place on the run's clock, as shares of it."""

    stage: str
    artefact: str
    started: str
    wall: str
    memory: str
    left: float
    width: float
    seconds: float
    facts: tuple[Fact, ...]
    command: str


def stage_views(data: ReportData, words: Language) -> list[StageView]:
    """Every recorded stage in the order of starting.

    The clock leaves out the time in which no stage was at work: a run that was taken up on another
    day would be all pause.
    """
    whole = elapsed(data.runs) or 1.0
    views = []
    for run in data.runs:
        span = span_of(run)
        before = [] if span is None else [one for one in data.runs if _begins(one) < span[0]]
        left = elapsed(before) - _overhang(before, span) if span else 0.0
        facts = run.record.get("facts") or {}
        views.append(
            StageView(
                stage=run.stage,
                artefact=run.artefact,
                started=str(run.record.get("started", "")).replace("T", " ").removesuffix("Z"),
                wall=duration(run.wall_seconds, words),
                memory=gigabytes(run.memory_mb),
                left=min(1.0, left / whole),
                width=min(1.0, run.wall_seconds / whole),
                seconds=run.wall_seconds,
                facts=tuple(Fact(key, fact_value(value, words)) for key, value in facts.items()),
                command=str(run.record.get("command") or ""),
            )
        )
    return views


def _begins(run: Any) -> float:
    span = span_of(run)
    return span[0] if span else 0.0


def _overhang(before: Sequence[Any], span: tuple[float, float]) -> float:
    """How long the stages that began earlier were still at work after this one began."""
    ends = [found[1] for one in before if (found := span_of(one))]
    return max(0.0, max(ends, default=span[0]) - span[0])


def merged_facts(data: ReportData, key: str) -> Iterator[Fact]:
    """Versions or hardware over all stages, each distinct value once."""
    found: dict[str, dict[str, None]] = {}
    for run in data.runs:
        for name, value in (run.record.get(key) or {}).items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.setdefault(name, {})[shown] = None
    for name, values in sorted(found.items()):
        yield Fact(name, " / ".join(values))
