"""One training run of one system, in that system's own environment; prints a line of JSON.

    PYTHON benchmarks/training_run.py SYSTEM RUN.json

Started by benchmarks/training.py. LLaMA-Factory and TRL live in environments of their own, which
lack this project's packages: nothing of it is imported here but for the system `ours`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

IGNORED = -100  # the label of a token that is not supervised, in transformers and its users


def main() -> None:
    system, file = sys.argv[1], Path(sys.argv[2])
    run = json.loads(file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        found = SYSTEMS[system](run, Path(scratch))
    print(json.dumps(found | {"peak_mb": peak_mb()}))


def ours(run: dict[str, Any], scratch: Path) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
    from matinee.config import Training
    from matinee.training.batching import Job, deal_by_tokens
    from matinee.training.run import train

    settings = Training.model_validate(
        {
            "lora": {"r": run["rank"], "alpha": 2 * run["rank"]},
            "learning_rate": run["learning_rate"],
            "epochs": 1,
            "batch_size": run["batch_size"],
            "gradient_accumulation": run["accumulation"],
            "packing": run["packing"],
            "precision": "fp32",
            "logging_steps": 1,
            "save_steps": 1_000_000,
        }
    )
    metrics = train(
        Job(
            model=Path(run["model"]),
            rows=list(rows_of(run)),
            settings=settings,
            seed=42,
            shuffle=False,
            checkpoints=scratch / "checkpoints",
            output=scratch,
            label="ours",
        )
    )
    state = json.loads((scratch / "trainer_state.json").read_text(encoding="utf-8"))
    micro_batches = metrics["steps"] * metrics["gradient_accumulation"]
    if metrics["side_by_side"] > 1:
        # Each part has products of its own.
        lengths = [len(ids) for ids, _ in rows_of(run)]
        size = metrics["batch_size"]
        steps = (lengths[start : start + size] for start in range(0, len(lengths), size))
        micro_batches = sum(len(deal_by_tokens(step)) for step in steps)
    return {
        "seconds": metrics["runtime_seconds"],
        "samples": metrics["samples"],
        "tokens": metrics["tokens"],
        "computed_tokens": round(metrics["tokens"] * metrics["computed_share"]),
        "supervised_tokens": metrics["supervised_tokens"],
        "micro_batches": micro_batches,
        **losses(state["log_history"]),
    }


def llamafactory(run: dict[str, Any], scratch: Path) -> dict[str, Any]:
    from datasets import Dataset, DatasetDict
    from llamafactory.train.tuner import run_exp

    # LLaMA-Factory takes rows that are tokenized already from a folder of `datasets`.
    rows = labelled(run)
    folder = scratch / "tokens"
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(str(folder))
    run_exp(
        {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": run["model"],
            "finetuning_type": "lora",
            "lora_target": "all",
            "lora_rank": run["rank"],
            "lora_alpha": 2 * run["rank"],
            "template": "default",
            "dataset": "none",
            "tokenized_path": str(folder),
            "cutoff_len": max(len(row["input_ids"]) for row in rows),
            "disable_shuffling": True,
            "disable_gradient_checkpointing": not run["checkpointing"],
            "use_cpu": True,
            "output_dir": str(scratch / "output"),
            **trainer_arguments(run),
        }
    )
    state = json.loads((scratch / "output/trainer_state.json").read_text(encoding="utf-8"))
    return rival_result(rows, state["log_history"])


def trl(run: dict[str, Any], scratch: Path) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from trl import SFTConfig, SFTTrainer

    rows = labelled(run)

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    trainer = InOrder(
        model=run["model"],
        args=SFTConfig(
            output_dir=str(scratch / "output"),
            model_init_kwargs={"dtype": torch.float32},
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=run["checkpointing"],
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            dataloader_pin_memory=False,
            **trainer_arguments(run),
        ),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=run["rank"],
            lora_alpha=2 * run["rank"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    return rival_result(rows, trainer.state.log_history)


def trainer_arguments(run: dict[str, Any]) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": run["batch_size"],
        "gradient_accumulation_steps": run["accumulation"],
        "learning_rate": run["learning_rate"],
        "lr_scheduler_type": "cosine",
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }


def rows_of(run: dict[str, Any]) -> Any:
    with Path(run["rows"]).open(encoding="ascii") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["ids"], row["mask"]


def labelled(run: dict[str, Any]) -> list[dict[str, list[int]]]:
    """The rows as transformers' trainers take them."""
    return [
        {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "labels": [token if kept else IGNORED for token, kept in zip(ids, mask, strict=True)],
        }
        for ids, mask in rows_of(run)
    ]


def rival_result(rows: list[dict[str, list[int]]], history: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = next(entry["train_runtime"] for entry in history if "train_runtime" in entry)
    tokens = sum(len(row["input_ids"]) for row in rows)
    return {"seconds": seconds, "samples": len(rows), "tokens": tokens, **losses(history)}


def losses(history: list[dict[str, Any]]) -> dict[str, Any]:
    seen = [entry["loss"] for entry in history if "loss" in entry]
    return {"steps": len(seen), "first_loss": seen[0], "last_loss": seen[-1]}


def peak_mb() -> float:
    """The largest resident set of this process (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


SYSTEMS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "ours": ours,
    "llamafactory": llamafactory,
    "trl": trl,
}


if __name__ == "__main__":
    # LLaMA-Factory refuses versions of torch that it has not seen.
    os.environ.setdefault("DISABLE_VERSION_CHECK", "1")
    main()
