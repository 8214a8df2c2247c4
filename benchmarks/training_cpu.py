"""What each part of training on a CPU is worth: all of them, and each switched off in turn.

    python benchmarks/training_cpu.py --model FOLDER
    python benchmarks/training_cpu.py --model FOLDER --glaive glaive_toolcall_en_demo.json

`attention`: our own with its backward pass, else PyTorch's. `products`: the LoRA branch added by
the product beside it, else peft's layers. `side by side`: a row to a thread, else one micro-batch
after another with all threads. One optimizer step of plainly packed rows; each run in a process of
its own, in turn; the first step's loss must agree.
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

sys.path.insert(0, str(Path(__file__).parent))

PARTS = ("attention", "products", "side by side")
WITHOUT = ("nothing", *PARTS, "all three")
LOSS_TOLERANCE = 1e-4


def main() -> None:
    arguments = _arguments()
    if arguments.without:
        print(json.dumps(_train(arguments)))
        return
    found: dict[str, list[dict[str, Any]]] = {without: [] for without in WITHOUT}
    for number in range(arguments.rounds):
        turn = number % len(WITHOUT)
        for without in WITHOUT[turn:] + WITHOUT[:turn]:
            command = [sys.executable, *sys.argv, "--without", without]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[without].append(json.loads(run.stdout.splitlines()[-1]))
    whole = statistics.median(run["seconds"] for run in found["nothing"])
    print(
        "| without | seconds | ratio | peak memory | first loss |\n| --- | --- | --- | --- | --- |"
    )
    for without, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        peak = statistics.median(run["peak_mb"] / 1000 for run in runs)
        loss = runs[0]["first_loss"]
        print(f"| {without} | {seconds:.1f} | {seconds / whole:.2f} | {peak:.2f} GB | {loss:.5f} |")
    losses = [run["first_loss"] for runs in found.values() for run in runs]
    if max(losses) - min(losses) > LOSS_TOLERANCE * max(losses):
        raise SystemExit(f"first-step losses differ, nothing was compared: {losses}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the start model")
    parser.add_argument("--glaive", type=Path, help="sharegpt file; without it rows are made")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", choices=WITHOUT, help=argparse.SUPPRESS)
    return parser.parse_args()


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from training_rows import glaive_like_rows, published_rows, write_rows
    from training_run import ours, peak_mb

    if arguments.glaive:
        rows = published_rows(arguments.model, arguments.glaive, arguments.rows, 1024)
    else:
        rows = glaive_like_rows(arguments.model, arguments.rows, 1024)
    for part in PARTS if arguments.without == "all three" else (arguments.without,):
        _switch_off(part)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        write_rows(file, rows)
        run = {
            "model": str(arguments.model),
            "rows": str(file),
            "rank": 8,
            "learning_rate": 1e-4,
            "batch_size": 4,
            "accumulation": max(1, arguments.rows // 4),
            "packing": "plain",
        }
        return ours(run, Path(folder)) | {"peak_mb": peak_mb()}


def _switch_off(part: str) -> None:
    from matinee.models.attention import PackedLayout
    from matinee.training import lora_product, run
    from matinee.training.pace import one_after_another

    if part == "attention":
        PackedLayout._attend_on_cpu = PackedLayout._attend_by_pieces  # type: ignore[method-assign]
    elif part == "products":
        lora_product.use_lora_products = lambda model, dtype=None: 0
    elif part == "side by side":
        run.pace_for = lambda job, settings: one_after_another(  # type: ignore[attr-defined]
            settings, job.rows
        )


if __name__ == "__main__":
    main()
