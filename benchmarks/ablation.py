"""Which training data teaches tool calls: a model trained on one mix after another, and compared.

    python benchmarks/ablation.py run --model FOLDER --name gemma3_270m --template gemma_action \
        --glaive FOLDER --results benchmarks/results/ablation
    python benchmarks/ablation.py page --results benchmarks/results/ablation > docs/ablation.md

`ablation_method.md` beside this file says what is compared, and how, `ablation_findings.md` what
came out when it was last run. Each arm and seed writes one JSON file; what is there already is not
done again, so that a broken run goes on. `--glaive` holds LLaMA-Factory's
glaive_toolcall_en_demo.json and glaive_toolcall_zh_demo.json.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "benchmarks")]

from heldout import (  # noqa: E402
    GROUPS,
    PLAIN_LISTS,
    evaluate,
    held_out_rows,
    split_catalogue,
)

from matinee.config import CALL_FORMS, Training  # noqa: E402
from matinee.data.synthesis import SynthesisSettings, generate  # noqa: E402
from matinee.evaluation.significance import clustered_mean  # noqa: E402
from matinee.messages.conversations import Conversation  # noqa: E402
from matinee.messages.rendering import Renderer  # noqa: E402
from matinee.models.memory import keep_freed  # noqa: E402
from matinee.runtime.records import hardware, read_json, versions, write_json  # noqa: E402

CATALOGUE = ROOT / "workflow/resources/catalogue"
CUTOFF = 1024
GLAIVE = ("glaive_toolcall_en_demo", "glaive_toolcall_zh_demo")

SEVERAL = {"single": 40, "coded": 15, "complete": 5, "parallel": 12, "repeated": 8, "no_tool": 20}
CHAINS = {"chain": 40, "recovery": 5, "follow_up": 5}
MISSING = {"missing_asked": 20, "missing_complete": 25, "changed": 5}
# Arm: the kinds of synthesized rows that stand beside glaive's, and the share of masked lists.
ARMS: dict[str, tuple[dict[str, int], float] | None] = {
    "untuned": None,
    "glaive": ({}, 0.0),
    "+ several tools": (SEVERAL, 0.0),
    "+ chains": (SEVERAL | CHAINS, 0.0),
    "+ missing parameters": (SEVERAL | CHAINS | MISSING, 0.0),
    "+ masking": (SEVERAL | CHAINS | MISSING, 0.6),
}
COMMANDS = """```bash
python benchmarks/ablation.py run --model results/model/gemma3_270m --name gemma3_270m \\
    --template gemma_action --glaive FOLDER --results benchmarks/results/ablation
python benchmarks/ablation.py run --model results/model/smollm2_135m_instruct \\
    --name smollm2_135m_instruct --template chatml_action --glaive FOLDER \\
    --results benchmarks/results/ablation
python benchmarks/ablation.py page --results benchmarks/results/ablation > docs/ablation.md
```

With `--seeds 3 --arms "+ missing parameters" "+ masking"` for the third seed. `results/model` is
what `make demo` fetched; `FOLDER` holds LLaMA-Factory's two glaive demo files (Apache-2.0), which
are not part of this repository."""
# Of the supervised tokens, where there are synthesized rows at all.
GLAIVE_SHARE = 0.5


def main() -> None:
    arguments = _arguments()
    if arguments.command == "page":
        print(page(arguments.results))
        return
    for seed, arm in itertools.product(arguments.seeds, arguments.arms or reversed(ARMS)):
        path = arguments.results / f"{arguments.name}-{_file_name(arm)}-s{seed}.json"
        if path.exists():
            print(f"{path.name}: there already", flush=True)
            continue
        started = time.perf_counter()
        found = run_arm(arguments, arm, seed)
        write_json(path, found)
        right = sum(row["right"] for row in found["rows"])
        seconds = time.perf_counter() - started
        print(f"{path.name}: {right} of {len(found['rows'])} right, {seconds:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and test the arms that are missing")
    run.add_argument("--model", type=Path, required=True, help="folder of the start model")
    run.add_argument("--name", required=True, help="what the model is called in the table")
    run.add_argument("--template", required=True, choices=sorted(CALL_FORMS))
    run.add_argument("--glaive", type=Path, required=True, help="folder of glaive's demo rows")
    run.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    run.add_argument("--arms", nargs="+", choices=list(ARMS))
    run.add_argument("--supervised", type=int, default=4000, help="supervised tokens of an arm")
    run.add_argument("--steps", type=int, default=30, help="optimizer steps of an arm, about")
    run.add_argument("--rows", type=int, default=80, help="held-out rows of a seed")
    shown = commands.add_parser("page", help="print how it was measured, and what came out")
    for command in (run, shown):
        command.add_argument("--results", type=Path, required=True)
    return parser.parse_args()


def _file_name(arm: str) -> str:
    return arm.replace("+ ", "").replace(" ", "-")


def run_arm(arguments: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """Trains one arm with one seed (unless it is the start model) and tests it."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        training: dict[str, Any] = {}
        if ARMS[arm] is not None:
            training = train_arm(arguments, arm, seed, scratch)
        started = time.perf_counter()
        held_out = split_catalogue(CATALOGUE, "held_out", scratch / "held_out")
        rows = held_out_rows(held_out, arguments.rows, seed)
        model = _model(arguments.model, scratch / "adapter" if training else None)
        outcomes = evaluate(model, _renderer(arguments), rows)
    return {
        "model": arguments.name,
        "arm": arm,
        "seed": seed,
        "supervised": arguments.supervised,
        "training": training,
        "evaluation_seconds": round(time.perf_counter() - started, 1),
        "versions": versions(),
        "hardware": hardware(),
        "rows": [asdict(outcome) for outcome in outcomes],
    }


def train_arm(arguments: argparse.Namespace, arm: str, seed: int, scratch: Path) -> dict[str, Any]:
    """Leaves `scratch/adapter`; returns what was trained on and the trainer's metrics."""
    from matinee.training.batching import Job
    from matinee.training.run import train

    rows = token_rows(arguments, arm, seed, scratch)
    batch = max(1, round(len(rows) / arguments.steps))
    settings = Training.model_validate(
        {
            "lora": {"r": 16, "alpha": 32},
            "learning_rate": 0.001,
            "epochs": 1,
            "batch_size": batch,
            "packing": "shared_prefix",
        }
    )
    job = Job(
        model=arguments.model,
        rows=rows,
        settings=settings,
        seed=seed,
        shuffle=True,
        checkpoints=scratch / "checkpoints",
        output=scratch,
        label=f"{arguments.name} {arm} s{seed}",
    )
    return {"rows": len(rows), "settings": settings.model_dump(mode="json"), **train(job)}


def token_rows(
    arguments: argparse.Namespace, arm: str, seed: int, scratch: Path
) -> list[tuple[list[int], list[int]]]:
    """The arm's rows, cut off where their supervised tokens fill the budget."""
    recipe = ARMS[arm]
    assert recipe is not None
    mix, masked = recipe
    renderer = _renderer(arguments)
    glaive_budget = round(arguments.supervised * (GLAIVE_SHARE if mix else 1.0))
    rows = _up_to(glaive_budget, renderer, _glaive(arguments.glaive, seed), CUTOFF)
    if mix:
        folder = split_catalogue(CATALOGUE, "train", scratch / "train")
        left = arguments.supervised - sum(sum(mask) for _, mask in rows)
        rows += _up_to(left, renderer, _synthesized(folder, mix, masked, seed), CUTOFF)
    return rows


def _up_to(
    budget: int, renderer: Any, conversations: Iterable[Conversation], cutoff: int
) -> list[tuple[list[int], list[int]]]:
    """Token rows until their supervised tokens come nearest to the budget."""
    rows: list[tuple[list[int], list[int]]] = []
    total = 0
    for conversation in conversations:
        for row in renderer.rows_within([conversation], cutoff)[0]:
            supervised = sum(row.mask)
            if total + supervised / 2 > budget:
                return rows
            rows.append((row.ids, row.mask))
            total += supervised
    raise SystemExit(f"the data ends after {total} supervised tokens; {budget} are asked for")


def _glaive(folder: Path, seed: int) -> Iterator[Conversation]:
    from matinee.data.readers import read_dataset

    rows = [
        row
        for name in GLAIVE
        for row in read_dataset(
            "sharegpt", [folder / f"{name}.json"], source=name, on_bad_row="skip"
        )
    ]
    random.Random(seed).shuffle(rows)
    return iter(rows)


def _synthesized(
    catalogue: Path, mix: dict[str, int], masked: float, seed: int
) -> Iterator[Conversation]:
    settings = SynthesisSettings.model_validate(
        {
            "conversations": 100_000,
            "conversations_per_list": 10,
            "tools_per_list": (3, 4),
            "masked_share": masked,
            "masked_parameters_share": 0.1,
            "answer_share": 0.0,
            "system_share": 0.7,
            **PLAIN_LISTS,
            "mix": mix,
            "seed": seed,
        }
    )
    return generate(settings, catalogue)


def _renderer(arguments: argparse.Namespace) -> Renderer:
    from transformers import AutoTokenizer

    return Renderer(AutoTokenizer.from_pretrained(arguments.model), arguments.template)


def _model(folder: Path, adapter: Path | None) -> Any:
    """The start model, or the start model with the adapter merged into it, in fp32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    keep_freed()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return (
        model if adapter is None else PeftModel.from_pretrained(model, adapter).merge_and_unload()
    )


def page(results: Path) -> str:
    """The method, what the tables say, the tables, and the commands that made them."""
    folder = ROOT / "benchmarks"
    method, findings = (
        (folder / f"ablation_{part}.md").read_text(encoding="utf-8")
        for part in ("method", "findings")
    )
    return f"{method}\n{findings}\n## The tables\n\n{table(results)}\n## Again\n\n{COMMANDS}"


def table(results: Path) -> str:
    """Markdown, two tables per model: nats per turn of each arm, and each against the arm above."""
    files = [read_json(path) for path in sorted(results.glob("*.json"))]
    lines = []
    for model in sorted({file["model"] for file in files}):
        runs = {
            arm: [file for file in files if file["model"] == model and file["arm"] == arm]
            for arm in ARMS
        }
        runs = {arm: found for arm, found in runs.items() if found}
        seen = {row["group"] for found in runs.values() for file in found for row in file["rows"]}
        groups = [group for group in dict.fromkeys(GROUPS.values()) if group in seen]
        heads = [*groups, "all"]
        lines += [f"**{model}**, nats per turn", ""]
        lines += _head(["data", "seeds", "tokens", "steps", *heads, "exact"])
        lines += [_arm_line(arm, found, groups) for arm, found in runs.items()]
        lines += ["", f"**{model}**, change against the line above", ""]
        lines += _head(["data", *heads])
        lines += [
            _line([arm, *(_change(runs[before], found, group) for group in [*groups, None])])
            for (before, (arm, found)) in zip(runs, list(runs.items())[1:], strict=False)
        ]
        lines.append("")
    return "\n".join(lines)


def _arm_line(arm: str, runs: list[dict[str, Any]], groups: list[str]) -> str:
    trained = [run["training"] for run in runs if run["training"]]
    tokens, steps = (
        " / ".join(f"{run[key]:,}" for run in trained) or "–"
        for key in ("supervised_tokens", "steps")
    )
    rows = _rows(runs)
    cells = []
    for group in [*groups, None]:
        mine = [row for row in rows.values() if group in (None, row["group"])]
        found = clustered_mean([row["nats"] for row in mine], [row["list"] for row in mine])
        cells.append(f"{found.estimate:.2f} ({found.low:.2f}–{found.high:.2f})")
    right = f"{sum(row['right'] for row in rows.values())} of {len(rows)}"
    return _line([arm, str(len(runs)), tokens, steps, *cells, right])


def _rows(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Test rows by seed and name; the lists of two seeds are different ones."""
    return {
        f"{run['seed']}/{row['row']}": {**row, "list": f"{run['seed']}/{row['tools']}"}
        for run in runs
        for row in run["rows"]
    }


def _change(before: list[dict[str, Any]], after: list[dict[str, Any]], group: str | None) -> str:
    """Mean difference on the same rows with its interval; bold where that leaves out 0."""
    old, new = _rows(before), _rows(after)
    mine = [key for key in new if key in old and group in (None, new[key]["group"])]
    differences = [new[key]["nats"] - old[key]["nats"] for key in mine]
    found = clustered_mean(differences, [new[key]["list"] for key in mine])
    text = f"{found.estimate:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
