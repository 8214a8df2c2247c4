"""The loss curve of one training run, as SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matinee.runtime.records import read_json

# Weight of the past in the smoothed line.
SMOOTHING = 0.8


def draw_loss(trainer_state: Path, title: str, folder: Path) -> None:
    """Writes `loss.svg` and `loss.png`: training loss, raw and smoothed; held-out loss."""
    import matplotlib

    matplotlib.use("Agg")
    # Without these two an SVG differs from run to run.
    matplotlib.rcParams["svg.hashsalt"] = "matinee"
    from matplotlib.figure import Figure

    history = read_json(trainer_state)["log_history"]
    losses, held_out = log_points(history, "loss"), log_points(history, "eval_loss")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*_columns(losses), color="#9db8cc", linewidth=1, label="loss")
    axes.plot(*_columns(smoothed(losses)), color="#1f5f8b", linewidth=2, label="smoothed")
    if held_out:
        axes.plot(
            *_columns(held_out), color="#b5562a", linewidth=2, marker="o", markersize=4,
            label="validation",
        )  # fmt: skip
    axes.set(xlabel="optimizer step", ylabel="cross-entropy per supervised token", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(folder / "loss.svg", metadata={"Date": None})
    figure.savefig(folder / "loss.png", dpi=150)


def _columns(line: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in line], [value for _, value in line]


def log_points(history: Sequence[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """Step and value of every entry of the trainer's log that has a finite one."""
    return [
        (int(entry["step"]), float(entry[key]))
        for entry in history
        if isinstance(entry.get(key), int | float) and math.isfinite(entry[key])
    ]


def smoothed(line: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Exponential moving average, corrected for its start as Adam's moments are."""
    average = 0.0
    found = []
    for count, (step, value) in enumerate(line, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        found.append((step, average / (1 - SMOOTHING**count)))
    return found
