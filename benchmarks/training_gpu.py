"""Training on one GPU: the published chat run on Yi-6B's architecture with random weights.

    python benchmarks/training_gpu.py             # sized for eight minutes on an H200; no downloads
    python benchmarks/training_gpu.py --tiny      # the same with a tiny model, on any machine

Rows have the lengths of glaive's rows and random tokens; 16 of them make an optimizer step. Timed
in turn in one process: ours with the published micro-batches of 4 rows, ours with the 16 rows in
one pass, and transformers' Trainer with padded rows. Utilisation is the arithmetic of the model
(training_limit.training_flops, attention left out) over time, as a share of what bare products of
the model's shapes reach on this device. Results go to benchmarks/results/training_gpu.json.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "benchmarks")]
RESULTS = ROOT / "benchmarks/results/training_gpu.json"

YI_6B = {
    "vocab_size": 64000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
}
TINY = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# Every twentieth quantile of the lengths in tokens of the rows of glaive_toolcall_en_demo.json
# (LLaMA-Factory), rendered with chatml_action by SmolLM2's tokenizer and cut to 1,024 tokens.
LENGTHS = (
    *(139, 168, 187, 215, 234, 260, 288, 311, 326, 345, 366, 413),
    *(436, 515, 576, 650, 726, 783, 863, 937, 1024),
)
# The share of supervised tokens in those rows.
SUPERVISED = 0.57
ROWS_PER_STEP = 16
PUBLISHED_STEPS = 1875
WARM_UP_STEPS = 5
RANK = 8


@dataclass(frozen=True)
class Timed:
    """Steady steps: how many, in how many seconds, with how many tokens and supervised ones."""

    steps: int
    seconds: float
    tokens: int
    supervised: int


def main() -> None:
    arguments = _arguments()
    import torch
    from training_limit import matrix_rate
    from transformers import LlamaConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.tiny:
        raise SystemExit("No CUDA device; --tiny runs anywhere.")
    shape: dict[str, Any] = TINY if arguments.tiny else YI_6B
    config = LlamaConfig(**shape, max_position_embeddings=4096)
    rows = random_rows(config.vocab_size, arguments.rows)
    tokens = sum(len(ids) for ids, _ in rows) // len(rows) * ROWS_PER_STEP
    dtype = "bfloat16" if device == "cuda" else "float32"
    possible = matrix_rate(config, tokens, device, dtype)
    found: dict[str, Any] = {}
    for name, batch in (
        ("ours 4 x 4", (4, 4)),
        ("ours 16 x 1", (16, 1)),
        ("plain Trainer", (4, 4)),
    ):
        seconds = arguments.seconds if name.startswith("ours") else arguments.seconds / 2
        run = _run_plain if name == "plain Trainer" else _run_ours
        found[name] = _measure(run, config, rows, batch, seconds, device, possible)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    plain = found["plain Trainer"]["seconds_per_step"]
    report = {
        "command": " ".join(["python", "benchmarks/training_gpu.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "matrix_flops_per_second": possible,
        "runs": found,
        "faster_than_plain": {
            name: plain / run["seconds_per_step"] for name, run in found.items() if "ours" in name
        },
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to test this file")
    parser.add_argument("--seconds", type=float, default=70.0, help="of steady steps, per run")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def random_rows(vocabulary: int, count: int) -> list[tuple[list[int], list[int]]]:
    """Rows of glaive's lengths; the last tokens of each are supervised."""
    chance = random.Random(1)
    rows = []
    for _ in range(count):
        place = chance.random() * (len(LENGTHS) - 1)
        below = int(place)
        length = round(LENGTHS[below] + (place - below) * (LENGTHS[below + 1] - LENGTHS[below]))
        kept = round(SUPERVISED * length)
        ids = chance.choices(range(3, vocabulary), k=length)
        rows.append((ids, [0] * (length - kept) + [1] * kept))
    return rows


def _measure(
    run: Any,
    config: Any,
    rows: Sequence[Any],
    batch: tuple[int, int],
    seconds: float,
    device: str,
    possible: float,
) -> dict[str, Any]:
    """One system's steady rate, and what follows from it."""
    import torch
    from training_limit import training_flops

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as scratch:
        timed, facts = run(config, rows, batch, seconds, device, Path(scratch))
    flops = training_flops(config, timed.tokens, timed.supervised) / timed.seconds
    per_step = timed.seconds / timed.steps
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None
    return {
        "steps": timed.steps,
        "seconds": timed.seconds,
        "seconds_per_step": per_step,
        "samples_per_second": ROWS_PER_STEP / per_step,
        "tokens_per_second": timed.tokens / timed.seconds,
        "utilisation": flops / possible,
        "published_run_minutes": PUBLISHED_STEPS * per_step / 60,
        "peak_device_memory_gb": peak,
        **facts,
    }


def _random_model(config: Any, device: str) -> Any:
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            # A copy: packing writes into the configuration which attention to use.
            return LlamaForCausalLM(copy.deepcopy(config))
    finally:
        torch.set_default_dtype(torch.float32)


def _clock(rows: Sequence[Any], order: Sequence[int] | None, seconds: float, device: str) -> Any:
    """A callback that times steps after the warm-up and ends the run after so many seconds.

    `order`: the rows in the order of training, to know the tokens of the timed steps; None where
    the order is not known, and all rows count as average.
    """
    import torch
    from transformers import TrainerCallback

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    class Clock(TrainerCallback):
        started = ended = 0.0
        first = last = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == WARM_UP_STEPS:
                self.started, self.first = now(), state.global_step
            elif state.global_step > WARM_UP_STEPS and state.global_step % 5 == 0:
                self.ended, self.last = now(), state.global_step
                control.should_training_stop = self.ended - self.started >= seconds

        def timed(self) -> Timed:
            steps = self.last - self.first
            places = range(self.first * ROWS_PER_STEP, self.last * ROWS_PER_STEP)
            seen = (
                [rows[order[place % len(order)]] for place in places] if order is not None else rows
            )
            share = 1.0 if order is not None else steps * ROWS_PER_STEP / len(rows)
            return Timed(
                steps,
                self.ended - self.started,
                round(share * sum(len(ids) for ids, _ in seen)),
                round(share * sum(sum(mask) for _, mask in seen)),
            )

    return Clock()


def _run_ours(
    config: Any,
    rows: Sequence[Any],
    batch: tuple[int, int],
    seconds: float,
    device: str,
    scratch: Path,
) -> tuple[Timed, dict[str, Any]]:
    from matinee.config import Training
    from matinee.models.devices import place
    from matinee.training.batching import Job
    from matinee.training.trainer import PackedTrainer, make_trainable

    settings = Training.model_validate(
        {
            "lora": {"r": RANK, "alpha": 2 * RANK},
            "learning_rate": 5e-4,
            "epochs": 3,
            "batch_size": batch[0],
            "gradient_accumulation": batch[1],
            "packing": "plain",
            "loss": "row" if batch[1] > 1 else "token",
            "precision": "bf16" if device == "cuda" else "fp32",
            "save_steps": 1_000_000,
        }
    )
    model = make_trainable(_random_model(config, device), settings)
    job = Job(Path(), rows, settings, 42, False, scratch, scratch, "training_gpu")
    trainer = PackedTrainer(job, settings, place(settings.precision), model)
    clock = _clock(rows, range(len(rows)), seconds, device)
    trainer.add_callback(clock)
    trainer.train()
    choice = trainer.choice
    return clock.timed(), {"attention": choice.kernel, "attention_reason": choice.reason}


def _run_plain(
    config: Any,
    rows: Sequence[Any],
    batch: tuple[int, int],
    seconds: float,
    device: str,
    scratch: Path,
) -> tuple[Timed, dict[str, Any]]:
    """What a user would write without this project: Trainer, peft, rows padded to the longest."""
    import peft
    import torch
    from transformers import Trainer, TrainingArguments

    model: Any = _random_model(config, device)
    model.config.use_cache = False
    adapter = peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )

    def padded(chosen: list[Any]) -> dict[str, Any]:
        longest = max(len(ids) for ids, _ in chosen)
        return {
            "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in chosen]),
            "attention_mask": torch.tensor(
                [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in chosen]
            ),
            "labels": torch.tensor(
                [
                    [token if kept else -100 for token, kept in zip(ids, mask, strict=True)]
                    + [-100] * (longest - len(ids))
                    for ids, mask in chosen
                ]
            ),
        }

    clock = _clock(rows, None, seconds, device)
    trainer = Trainer(
        model=peft.get_peft_model(model, adapter),
        args=TrainingArguments(
            output_dir=str(scratch),
            per_device_train_batch_size=batch[0],
            gradient_accumulation_steps=batch[1],
            learning_rate=5e-4,
            lr_scheduler_type="cosine",
            num_train_epochs=3,
            bf16=device == "cuda",
            use_cpu=device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=device == "cuda",
        ),
        train_dataset=list(rows),
        data_collator=padded,
        callbacks=[clock],
    )
    trainer.train()
    return clock.timed(), {"attention": "sdpa"}


if __name__ == "__main__":
    main()
