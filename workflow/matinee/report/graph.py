"""The stages of the run as a graph: what feeds what, how often each ran, how long it took."""

from __future__ import annotations

from dataclasses import dataclass

from matinee.report.data import ReportData
from matinee.report.language import Language, duration

# Column and lane of each stage, as docs/design.md draws them.
PLACES: dict[str, tuple[float, float]] = {
    "synthesize_dataset": (0, 0),
    "fetch_dataset": (0, 1),
    "fetch_model": (0, 2),
    "prepare_suite": (0, 3),
    "format_dataset": (1, 1),
    "mix_data": (2, 0),
    "tokenize_data": (3, 0.7),
    "check_leakage": (3, 3),
    "train_adapter": (4, 1.25),
    "merge_model": (5, 1.25),
    "run_scenarios": (6, 2),
    "score_scenarios": (7, 2),
}
EDGES = (
    ("synthesize_dataset", "mix_data"),
    ("fetch_dataset", "format_dataset"),
    ("format_dataset", "mix_data"),
    ("mix_data", "tokenize_data"),
    ("mix_data", "check_leakage"),
    ("prepare_suite", "check_leakage"),
    ("fetch_model", "tokenize_data"),
    ("tokenize_data", "train_adapter"),
    ("check_leakage", "train_adapter"),
    ("fetch_model", "train_adapter"),
    ("train_adapter", "merge_model"),
    ("merge_model", "run_scenarios"),
    ("fetch_model", "run_scenarios"),
    ("check_leakage", "run_scenarios"),
    ("run_scenarios", "score_scenarios"),
)
WIDTH, HEIGHT = 116.0, 62.0
PITCH_X, PITCH_Y = 144.0, 84.0


@dataclass(frozen=True)
class Node:
    """One stage. `share` of the longest stage's time; `lines`: its name, broken in two."""

    x: float
    y: float
    lines: tuple[str, ...]
    label: str
    share: float


@dataclass(frozen=True)
class Graph:
    """The figure; `edges` are SVG paths."""

    width: float
    height: float
    node_width: float
    node_height: float
    nodes: tuple[Node, ...]
    edges: tuple[str, ...]
    description: str


def stage_graph(data: ReportData, words: Language) -> Graph | None:
    """The stages that left a record; None where none did."""
    seconds: dict[str, list[float]] = {}
    for run in data.runs:
        if run.stage in PLACES:
            seconds.setdefault(run.stage, []).append(run.wall_seconds)
    if not seconds:
        return None
    longest = max(sum(times) for times in seconds.values()) or 1.0
    first = (min(PLACES[name][0] for name in seconds), min(PLACES[name][1] for name in seconds))
    places = {name: _corner(name, first) for name in PLACES if name in seconds}
    nodes = tuple(
        _node(name, place, seconds[name], longest, words) for name, place in places.items()
    )
    return Graph(
        width=max(x for x, _ in places.values()) + WIDTH + 2,
        height=max(y for _, y in places.values()) + HEIGHT + 2,
        node_width=WIDTH,
        node_height=HEIGHT,
        nodes=nodes,
        edges=tuple(
            _curve(places[source], places[target])
            for source, target in EDGES
            if source in places and target in places
        ),
        description=words("punctuation.list").join(
            f"{' '.join(node.lines)}: {node.label}" for node in nodes
        ),
    )


def _corner(name: str, first: tuple[float, float]) -> tuple[float, float]:
    column, lane = PLACES[name]
    return 1 + (column - first[0]) * PITCH_X, 1 + (lane - first[1]) * PITCH_Y


def _node(
    name: str, place: tuple[float, float], times: list[float], longest: float, words: Language
) -> Node:
    total = sum(times)
    return Node(
        x=place[0],
        y=place[1],
        lines=tuple(name.split("_", 1)),
        label=f"{len(times)}\u00a0× · {duration(total, words)}",
        share=total / longest,
    )


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From the right side of one stage to the left side of another."""
    x, y = start[0] + WIDTH, start[1] + HEIGHT / 2
    to_x, to_y = end[0], end[1] + HEIGHT / 2
    bend = min(60.0, (to_x - x) / 2)
    return (
        f"M{x:.0f} {y:.0f}"
        f"C{x + bend:.0f} {y:.0f} {to_x - bend:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"
    )
