"""Training: ours against LLaMA-Factory and TRL, on the same token rows and optimizer steps.

    scripts/bench_rivals.sh && python benchmarks/training.py --model FOLDER
    python benchmarks/training.py --model FOLDER --glaive glaive_toolcall_en_demo.json

Two sets of rows: `glaive`, in which every row has a tool list of its own, and `shared`, in which
twenty conversations in sequence share a list of eleven tools. The systems take turns, each run in a
process of its own; the first step's loss must agree, or nothing was compared. Peak memory is that
of the whole process. Results go to benchmarks/results/training.json, and to training.md as a table.

LLaMA-Factory and TRL recompute activations by default, which takes time to save memory. Here that
is switched off for them, as it is off for us; `--recompute` leaves it on. All compute in fp32: the
model is copied in fp32 first, because LLaMA-Factory computes in the type of the files, and in bf16
a CPU without instructions for it takes many times as long. They get fewer of the `shared` rows
(`--rival-shared`), because each of their runs would take hours; rates are per row.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))
RESULTS = ROOT / "benchmarks/results/training.json"
RIVALS = {"llamafactory": "LLaMA-Factory 0.9.5", "trl": "TRL 1.16.0"}
LOSS_TOLERANCE = 0.002


@dataclass(frozen=True)
class Case:
    """One set of rows: the name, how ours packs it, and the micro-batches of ours and theirs."""

    name: str
    packing: str
    ours: tuple[int, int]
    rivals: tuple[int, int] = (4, 4)


# Both take 16 rows an optimizer step. Only rows of one micro-batch can share a prefix.
CASES = {
    "glaive": Case("glaive", "plain", ours=(4, 4)),
    "shared": Case("shared", "shared_prefix", ours=(16, 1)),
}


def main() -> None:
    from training_limit import limit_of

    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        arguments.model = _in_fp32(arguments.model, Path(scratch) / "model")
        found = {name: _compare(CASES[name], arguments, Path(scratch)) for name in arguments.cases}
        for case in found.values():
            case["limit"] = limit_of(arguments.model, case["ours"][0])
    report = {
        "command": " ".join(["python", "benchmarks/training.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {"processor": _processor(), "threads": _threads()},
        "recompute": arguments.recompute,
        "cases": found,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(table(found) + "\n", encoding="utf-8")
    print(table(found))
    for name, case in found.items():
        _require_equal_losses(name, case)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the start model")
    parser.add_argument("--glaive", type=Path, help="sharegpt file; without it rows are made")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--systems", nargs="+", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--glaive-rows", type=int, default=16)
    parser.add_argument("--shared-rows", type=int, default=200)
    parser.add_argument("--rival-shared", type=int, default=16)
    parser.add_argument("--recompute", action="store_true", help="the rivals' own default")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def _in_fp32(model: Path, folder: Path) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(model, dtype="float32").save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def _compare(case: Case, arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Every system's runs, and the same rows for ours as for theirs where theirs are fewer."""
    from training_rows import glaive_like_rows, published_rows, shared_list_rows, write_rows

    model = arguments.model
    if case.name == "shared":
        rows = shared_list_rows(model, arguments.shared_rows, 4096)
        theirs = rows[: arguments.rival_shared]
    else:
        count = arguments.glaive_rows
        rows = (
            published_rows(model, arguments.glaive, count, 1024)
            if arguments.glaive
            else glaive_like_rows(model, count, 1024)
        )
        theirs = rows
    all_rows, their_rows = scratch / f"{case.name}.jsonl", scratch / f"{case.name}-theirs.jsonl"
    write_rows(all_rows, rows)
    write_rows(their_rows, theirs)
    shared = {
        "model": str(model.resolve()),
        "rank": 8,
        "learning_rate": 1e-4,
        "checkpointing": arguments.recompute,
    }
    mine = dict(zip(("batch_size", "accumulation"), case.ours, strict=True))
    runs = {"ours": {**shared, **mine, "packing": case.packing, "rows": str(all_rows)}}
    if len(theirs) < len(rows):
        # The first loss can only be compared on the same rows.
        runs["ours, their rows"] = runs["ours"] | {"rows": str(their_rows)}
    batch = dict(zip(("batch_size", "accumulation"), case.rivals, strict=True))
    for system in arguments.systems:
        runs[system] = {**shared, **batch, "rows": str(their_rows)}
    found: dict[str, Any] = {name: [] for name in runs}
    for name in _turns(list(runs), arguments.rounds):
        found[name].append(_run(name.split(",")[0], runs[name], scratch))
        print(f"{case.name:8} {name:18} {json.dumps(found[name][-1])}", flush=True)
    return found


def _turns(names: list[str], rounds: int) -> Iterator[str]:
    """Every name once per round, in an order that moves on, so that none is always first."""
    for number in range(rounds):
        start = number % len(names)
        yield from names[start:] + names[:start]


def _run(system: str, run: dict[str, Any], scratch: Path) -> dict[str, Any]:
    file = scratch / "run.json"
    file.write_text(json.dumps(run), encoding="utf-8")
    script = str(Path(__file__).with_name("training_run.py"))
    log = scratch / "log"
    with log.open("w") as errors:
        done = subprocess.run(
            [_python(system), script, system, str(file)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{system} failed:\n{log.read_text()[-4000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _python(system: str) -> str:
    if system == "ours":
        return sys.executable
    found = ROOT / f".venv-{system}/bin/python"
    if not found.exists():
        raise SystemExit(f"{found} is missing; run scripts/bench_rivals.sh first")
    return str(found)


def median(runs: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(run[key] for run in runs))


def rate(runs: list[dict[str, Any]]) -> float:
    """Median rows per second."""
    return float(statistics.median(run["samples"] / run["seconds"] for run in runs))


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| rows | system | rows timed | seconds | rows/s | tokens/s | ours is faster by "
        "| peak memory | first loss |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, case in found.items():
        for system, runs in case.items():
            if system == "limit":
                continue
            faster = "" if system.startswith("ours") else f"{rate(case['ours']) / rate(runs):.1f} ×"
            tokens = statistics.median(run["tokens"] / run["seconds"] for run in runs)
            lines.append(
                f"| {name} | {RIVALS.get(system, system)} | {runs[0]['samples']} "
                f"| {median(runs, 'seconds'):.1f} | {rate(runs):.3f} | {tokens:.0f} | {faster} "
                f"| {median(runs, 'peak_mb') / 1000:.2f} GB | {runs[0]['first_loss']:.4f} |"
            )
    return "\n".join(
        [*lines, "", *(_limit_line(name, case["limit"]) for name, case in found.items())]
    )


def _limit_line(name: str, limit: dict[str, float]) -> str:
    return (
        f"{name}: ours computes {limit['flops_per_second'] / 1e9:.1f} GFLOP/s of the "
        f"{limit['matrix_flops_per_second'] / 1e9:.1f} that bare matrix products of the model's "
        f"shapes reach here, {limit['share']:.0%}."
    )


def _require_equal_losses(name: str, case: dict[str, Any]) -> None:
    same_rows = case.get("ours, their rows", case["ours"])
    ours = same_rows[0]["first_loss"]
    for system in RIVALS:
        for run in case.get(system, []):
            if abs(run["first_loss"] - ours) > LOSS_TOLERANCE * ours:
                raise SystemExit(
                    f"{name}: {system}'s first loss {run['first_loss']} is not ours, {ours}: "
                    "nothing was compared"
                )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0].split(":")[1].strip() if names else platform.processor()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


if __name__ == "__main__":
    main()
