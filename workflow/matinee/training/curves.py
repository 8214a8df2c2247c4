"""The loss curve of one training run, as SVG and PNG."""

from __future__ import annotations

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
    steps, losses = _points(history, "loss")
    measured, held_out = _points(history, "eval_loss")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="#9db8cc", linewidth=1, label="loss")
    axes.plot(steps, _smoothed(losses), color="#1f5f8b", linewidth=2, label="smoothed")
    if held_out:
        axes.plot(
            measured, held_out, color="#b5562a", linewidth=2, marker="o", markersize=4,
            label="validation",
        )  # fmt: skip
    axes.set(xlabel="optimizer step", ylabel="cross-entropy per supervised token", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(folder / "loss.svg", metadata={"Date": None})
    figure.savefig(folder / "loss.png", dpi=150)


def _points(history: list[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    entries = [entry for entry in history if key in entry]
    return [entry["step"] for entry in entries], [float(entry[key]) for entry in entries]


def _smoothed(values: list[float]) -> list[float]:
    """Exponential moving average, corrected for its start as Adam's moments are."""
    average = 0.0
    smoothed = []
    for count, value in enumerate(values, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        smoothed.append(average / (1 - SMOOTHING**count))
    return smoothed
