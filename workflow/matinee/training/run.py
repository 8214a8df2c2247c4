"""Trains one adapter, from the last checkpoint, in the memory that there is."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import set_seed

from matinee.config import Training
from matinee.models.devices import place
from matinee.models.memory import keep_freed
from matinee.models.selfcheck import first_line
from matinee.runtime import progress, records
from matinee.runtime.errors import TrainingError
from matinee.training.batching import Job, planned
from matinee.training.checkpoints import discard_broken, discard_run, last_checkpoint, step_of
from matinee.training.pace import Pace, one_after_another, pace_for, split
from matinee.training.parallel import processes, take_own_device
from matinee.training.trainer import PackedTrainer, UnfitError, load_trainable


def train(job: Job) -> dict[str, Any]:
    """Trains and writes `adapter/`, `trainer_state.json` and `metrics.json` to `job.output`.

    Returns the metrics. Goes on from the last complete checkpoint in `job.checkpoints`. Where
    memory runs out, it goes on with fewer rows per micro-batch and as much more accumulation.
    Raises TrainingError for a loss that is not finite, for memory that is too small for one row,
    and for a number of processes that the gradient accumulation cannot be divided over.
    """
    if not any(any(mask[1:]) for _, mask in job.rows):
        raise TrainingError("No row has a supervised token; nothing could be learned from this.")
    settings = _per_process(job.settings, len(job.rows), processes())
    pace = pace_for(job, settings)
    shortages: list[str] = []
    while True:
        try:
            return _train_once(job, pace, shortages)
        except UnfitError as unfit:
            settings = _padded(settings, alone=unfit.alone)
            job = replace(job, settings=settings)
            pace = pace_for(job, settings)
            progress.say(
                f"! train {job.label}: {unfit}. It is trained by transformers' own attention, "
                f"{'one row at a time' if unfit.alone else 'with padded rows'}: slower, and right."
            )
            continue
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            shortages.append(f"batch_size {pace.settings.batch_size}: {first_line(error)}")
        pace = _smaller(job, settings, pace, shortages)
        _free_memory()


def _padded(settings: Training, *, alone: bool) -> Training:
    rows = 1 if alone else settings.batch_size
    return split(settings, rows).model_copy(update={"packing": "none"})


def _per_process(settings: Training, rows: int, processes: int) -> Training:
    """The settings of one process: the rows of an optimizer step are dealt out, not multiplied."""
    if processes == 1:
        return settings
    accumulation, rest = divmod(settings.gradient_accumulation, processes)
    if rest:
        raise TrainingError(
            f"gradient_accumulation: {settings.gradient_accumulation} cannot be divided over "
            f"{processes} processes, and the rows per optimizer step must not depend on them. "
            "Choose a gradient_accumulation that is a multiple (and a smaller batch_size)."
        )
    if rows < settings.batch_size * settings.gradient_accumulation:
        raise TrainingError(
            f"{rows} rows do not fill one optimizer step of {settings.batch_size} x "
            f"{settings.gradient_accumulation}; train on one device."
        )
    return settings.model_copy(update={"gradient_accumulation": accumulation})


def _smaller(job: Job, asked: Training, pace: Pace, shortages: Sequence[str]) -> Pace:
    settings = pace.settings
    if settings.batch_size == 1:
        raise TrainingError(
            f"Out of memory with one row at a time. {shortages[-1]}. Try gradient_checkpointing: "
            "true, a smaller cutoff_length, packing: shared_prefix, or a smaller model."
        )
    if processes() > 1:
        raise TrainingError(
            f"Out of memory at {shortages[-1]}. Halve batch_size and double gradient_accumulation."
        )
    if pace.lanes > 1:
        smaller = one_after_another(asked, job.rows)
    else:
        smaller = Pace(split(settings, math.gcd(settings.batch_size, settings.batch_size // 2)))
    progress.say(
        f"! train {job.label}: out of memory at {shortages[-1]}; going on with batch_size "
        f"{smaller.settings.batch_size}, gradient_accumulation "
        f"{smaller.settings.gradient_accumulation}"
    )
    return smaller


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _train_once(job: Job, pace: Pace, shortages: Sequence[str] = ()) -> dict[str, Any]:
    settings = pace.settings
    set_seed(job.seed)
    take_own_device()
    placement = place(settings.precision)
    model: Any = load_trainable(job.model, settings, placement)
    keep_freed()  # now: what loading freed is given back
    # peft counts a quantised weight by what it stands for, not by its bytes.
    trainable, total = model.get_nb_trainable_parameters()
    trainer = PackedTrainer(job, settings, placement, model, pace.lanes)
    if trainer.is_world_process_zero():
        discard_broken(job.checkpoints)
        if trainer.head is None:
            progress.say(
                f"train {job.label}: the head is trained, or is more than one product: its loss is "
                "computed from whole logits, in more memory."
            )
    checkpoint = last_checkpoint(job.checkpoints)
    trainer.first_step = step_of(checkpoint) if checkpoint else 0
    if checkpoint and trainer.is_world_process_zero():
        progress.say(f"train {job.label}: goes on from step {trainer.first_step}")
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    runtime = time.perf_counter() - started
    validation_loss = trainer.evaluate()["eval_loss"] if job.validation else None
    samples, tokens, computed = trainer.totals()
    counts = planned(job, settings, trainer.state.global_step)
    metrics = {
        "steps": trainer.state.global_step,
        "epochs": settings.epochs,
        "samples": counts["samples"],
        "train_loss": mean_loss(trainer.state.log_history),
        "validation_loss": validation_loss,
        "validation_rows": len(job.validation),
        "runtime_seconds": runtime,
        "samples_per_second": samples / runtime,
        "steps_per_second": (trainer.state.global_step - trainer.first_step) / runtime,
        "tokens_per_second": tokens / runtime,
        "trainable_parameters": trainable,
        "total_parameters": total - trainable,
        "tokens": counts["tokens"],
        "computed_share": computed / max(1, tokens),
        "supervised_tokens": counts["supervised_tokens"],
        "batch_size": settings.batch_size,
        "gradient_accumulation": settings.gradient_accumulation,
        "processes": processes(),
        "side_by_side": pace.lanes,
        "out_of_memory": list(shortages),
        "packing": settings.packing,
        "attention": trainer.choice.kernel,
        "attention_reason": trainer.choice.reason,
        "quantization": settings.quantization,
        "device": placement.device,
        "precision": placement.precision,
        "precision_reason": placement.reason,
        "resumed_from_step": trainer.first_step,
        "peak_memory_mb": records.peak_memory_mb(),
    }
    if placement.device == "cuda":
        metrics["peak_device_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    trainer.save_adapter(job.output / "adapter")
    if trainer.is_world_process_zero():
        trainer.state.save_to_json(str(job.output / "trainer_state.json"))
        records.write_json(job.output / "metrics.json", metrics)
        discard_run(job.checkpoints)
    return metrics


def mean_loss(history: Sequence[dict[str, Any]]) -> float:
    """Mean loss over all optimizer steps, those before a resumption included.

    Each entry with a loss is the mean over the steps since the entry before it.
    """
    total, last = 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - last)
            last = entry["step"]
    return total / max(1, last)
