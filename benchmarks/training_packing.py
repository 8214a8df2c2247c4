"""Our training with packing none, plain and shared_prefix in turn, on the same optimizer steps.

    python benchmarks/training_packing.py --rows 64     # a random Llama, synthesized rows
    python benchmarks/training_packing.py --rows 256 --model FOLDER --template chatml_hermes

The rows come from the catalogue of tools, without shuffling between steps, so that all three
learn from the same rows in the same order. Each run has a process of its own; the first step's
loss must agree, or the comparison means nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(WORKFLOW))

CATALOGUE = WORKFLOW / "resources/catalogue"
PACKINGS = ("none", "plain", "shared_prefix")
COLUMNS = ("samples_per_second", "tokens_per_second", "computed_share", "peak_mb", "first_loss")
TOLERANCE = 0.01


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_train(arguments)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.model is None:
            arguments.model = Path(scratch) / "model"
            _make_model(arguments.model)
        _compare(arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder of the start model")
    parser.add_argument("--template", default="chatml_hermes")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--cutoff", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--one", choices=PACKINGS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _make_model(folder: Path) -> None:
    from matinee.config import RandomSource
    from matinee.data.sources.tiny import make

    folder.mkdir()
    make(RandomSource(kind="random", hidden_size=256, layers=4), folder)


def _rows(arguments: argparse.Namespace) -> list[Any]:
    """Token rows of synthesized conversations, in the order in which they were made."""
    from transformers import AutoTokenizer

    from matinee.data.synthesis import SynthesisSettings, generate
    from matinee.messages.rendering import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(arguments.model), arguments.template)
    made = generate(SynthesisSettings(conversations=arguments.rows), CATALOGUE)
    cut = renderer.rows_within(list(made), arguments.cutoff)
    return [(row.ids, row.mask) for rows in cut for row in rows]


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from matinee.config import Training
    from matinee.training.batching import Job
    from matinee.training.run import train

    settings = Training.model_validate(
        {
            "learning_rate": 1e-4,
            "epochs": 1,
            "batch_size": arguments.batch_size,
            "packing": arguments.one,
            "precision": arguments.precision,
            "gradient_checkpointing": arguments.gradient_checkpointing,
            "logging_steps": 1,
            "save_steps": 1_000_000,
        }
    )
    rows = _rows(arguments)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        job = Job(
            model=arguments.model,
            rows=rows,
            settings=settings,
            seed=42,
            shuffle=False,
            checkpoints=output / "checkpoints",
            output=output,
            label=arguments.one,
        )
        metrics = train(job)
        state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    first = next(entry["loss"] for entry in state["log_history"] if "loss" in entry)
    peak = metrics.get("peak_device_memory_mb", metrics["peak_memory_mb"])
    return metrics | {"first_loss": first, "peak_mb": peak}


def _compare(arguments: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, Any]]] = {packing: [] for packing in PACKINGS}
    for number in range(arguments.rounds):
        # Every packing is first, second and third once in three rounds.
        turn = number % len(PACKINGS)
        for packing in PACKINGS[turn:] + PACKINGS[:turn]:
            command = [sys.executable, *sys.argv, "--one", packing, "--model", str(arguments.model)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[packing].append(json.loads(run.stdout.splitlines()[-1]))
    losses = {packing: runs[0]["first_loss"] for packing, runs in found.items()}
    print(f"{'packing':14}" + "".join(f"{column:>20}" for column in COLUMNS))
    for packing, runs in found.items():
        medians = [statistics.median(run[column] for run in runs) for column in COLUMNS]
        print(f"{packing:14}" + "".join(f"{value:20.4f}" for value in medians))
    if max(losses.values()) - min(losses.values()) > TOLERANCE * max(losses.values()):
        raise SystemExit(f"first-step losses differ, nothing was compared: {losses}")


if __name__ == "__main__":
    main()
