"""LoRA supervised fine-tuning: token rows and a start model in, an adapter out."""

from __future__ import annotations

import gc
import itertools
import math
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee import progress, records
from matinee.attention import PackedLayout, use_layouts
from matinee.batching import EpochBatches, Row, prefix_groups
from matinee.config import Training
from matinee.devices import Placement, place
from matinee.errors import TrainingError
from matinee.head_loss import head_loss, release_head
from matinee.memory import keep_freed
from matinee.packing import pack

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

COMPLETE = "complete"


@dataclass(frozen=True)
class Job:
    """One training run. `rows`: (token ids, mask); `checkpoints`: a folder that survives a kill."""

    model: Path
    rows: Sequence[Row]
    settings: Training
    seed: int
    shuffle: bool
    checkpoints: Path
    output: Path
    label: str
    wandb_mode: str = "disabled"
    wandb_project: str = "matinee"


def train(job: Job) -> dict[str, Any]:
    """Trains and writes `adapter/`, `trainer_state.json` and `metrics.json` to `job.output`.

    Returns the metrics. Goes on from the last complete checkpoint in `job.checkpoints`. Where
    memory runs out, it goes on with fewer rows per micro-batch and as much more accumulation.
    Raises TrainingError for a loss that is not finite, for memory that is too small for one row,
    and for a number of processes that the gradient accumulation cannot be divided over.
    """
    if not any(any(mask[1:]) for _, mask in job.rows):
        raise TrainingError("No row has a supervised token; nothing could be learned from this.")
    settings = _per_process(job.settings, len(job.rows), _processes())
    shortages: list[str] = []
    while True:
        try:
            return _train_once(job, settings, shortages)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            shortages.append(f"batch_size {settings.batch_size}: {_first_line(error)}")
        settings = _smaller(job, settings, shortages)
        _free_memory()


def _processes() -> int:
    """How many processes train together; `accelerate launch` and torchrun say it so."""
    return int(os.environ.get("WORLD_SIZE", "1"))


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


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _smaller(job: Job, settings: Training, shortages: list[str]) -> Training:
    if settings.batch_size == 1:
        raise TrainingError(
            f"Out of memory with one row at a time. {shortages[-1]}. Try gradient_checkpointing: "
            "true, a smaller cutoff_length, packing: shared_prefix, or a smaller model."
        )
    if _processes() > 1:
        raise TrainingError(
            f"Out of memory at {shortages[-1]}. Halve batch_size and double gradient_accumulation."
        )
    smaller = _halved(settings)
    progress.say(
        f"! {job.label}: out of memory at {shortages[-1]}; going on with batch_size "
        f"{smaller.batch_size}, gradient_accumulation {smaller.gradient_accumulation}"
    )
    return smaller


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _planned(job: Job, settings: Training, steps: int) -> dict[str, int]:
    """Samples and tokens of the whole run, however often it was killed and went on."""
    batches = _epoch_batches(job, settings)
    counts = {"samples": 0, "tokens": 0, "supervised_tokens": 0}
    accumulation = settings.gradient_accumulation * _processes()
    steps_per_epoch = -(-len(batches) // accumulation)
    for epoch in range(-(-steps // steps_per_epoch)):
        batches.set_epoch(epoch)
        left = (steps - epoch * steps_per_epoch) * accumulation
        for batch in itertools.islice(batches, left):
            counts["samples"] += len(batch)
            counts["tokens"] += sum(len(job.rows[row][0]) for row in batch)
            counts["supervised_tokens"] += sum(sum(job.rows[row][1][1:]) for row in batch)
    return counts


def _epoch_batches(job: Job, settings: Training) -> EpochBatches:
    return EpochBatches(
        prefix_groups(job.rows, share=settings.packing == "shared_prefix"),
        settings.batch_size,
        settings.gradient_accumulation * _processes(),
        job.seed if job.shuffle else None,
    )


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def _halved(settings: Training) -> Training:
    smaller = math.gcd(settings.batch_size, settings.batch_size // 2)
    factor = settings.batch_size // smaller
    return settings.model_copy(
        update={
            "batch_size": smaller,
            "gradient_accumulation": settings.gradient_accumulation * factor,
        }
    )


def _train_once(job: Job, settings: Training, shortages: Sequence[str] = ()) -> dict[str, Any]:
    import torch
    from transformers import set_seed

    keep_freed()
    set_seed(job.seed)
    placement = place(settings.precision)
    model = load_trainable(job.model, settings, placement)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    trainer = _make_trainer(job, settings, placement, model)
    if trainer.is_world_process_zero():
        discard_broken(job.checkpoints)
    checkpoint = last_checkpoint(job.checkpoints)
    trainer.first_step = _step_of(checkpoint) if checkpoint else 0
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    runtime = time.perf_counter() - started
    samples, tokens, computed = trainer.totals()
    planned = _planned(job, settings, trainer.state.global_step)
    metrics = {
        "steps": trainer.state.global_step,
        "epochs": settings.epochs,
        "samples": planned["samples"],
        "train_loss": mean_loss(trainer.state.log_history),
        "runtime_seconds": runtime,
        "samples_per_second": samples / runtime,
        "steps_per_second": (trainer.state.global_step - trainer.first_step) / runtime,
        "tokens_per_second": tokens / runtime,
        "trainable_parameters": trainable,
        "total_parameters": total - trainable,
        "tokens": planned["tokens"],
        "computed_share": computed / max(1, tokens),
        "supervised_tokens": planned["supervised_tokens"],
        "batch_size": settings.batch_size,
        "gradient_accumulation": settings.gradient_accumulation,
        "processes": _processes(),
        "out_of_memory": list(shortages),
        "packing": settings.packing,
        "device": placement.device,
        "precision": placement.precision,
        "precision_reason": placement.reason,
        "resumed_from_step": trainer.first_step,
        "peak_memory_mb": records.peak_memory_mb(),
    }
    if placement.device == "cuda":
        metrics["peak_device_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    if trainer.is_world_process_zero():
        model.save_pretrained(str(job.output / "adapter"))
        trainer.state.save_to_json(str(job.output / "trainer_state.json"))
        records.write_json(job.output / "metrics.json", metrics)
        shutil.rmtree(job.checkpoints, ignore_errors=True)
    return metrics


def load_trainable(folder: Path, settings: Training, placement: Placement) -> PreTrainedModel:
    """The start model with a fresh adapter; adapter weights are fp32 whatever the base is in."""
    import peft
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=placement.dtype)
    model.config.use_cache = False
    if settings.packing != "none":
        use_layouts(model)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()  # a checkpointed layer needs an input with a gradient
    return peft.get_peft_model(model, lora_config(settings))  # type: ignore[no-any-return]


def lora_config(settings: Training) -> Any:
    """The settings as peft's LoraConfig."""
    import peft

    return peft.LoraConfig(
        r=settings.lora.r,
        lora_alpha=settings.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.lora.dropout,
        target_modules=settings.lora.target,
        task_type="CAUSAL_LM",
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end and is still whole."""
    named = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"\D+-\d+", path.name)]
    return next(filter(_is_whole, sorted(named, key=_step_of, reverse=True)), None)


def discard_broken(folder: Path) -> None:
    """Removes what a kill left half-written: Trainer counts it when it deletes old checkpoints."""
    for path in folder.glob("checkpoint-*"):
        if not path.is_dir():
            path.unlink()
        elif not _is_whole(path):
            shutil.rmtree(path)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def mark_complete(checkpoint: Path) -> None:
    """Notes every file of a finished checkpoint with its size."""
    files = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.is_file()}
    files.pop(COMPLETE, None)
    records.write_json(checkpoint / COMPLETE, {"files": files})


def _is_whole(checkpoint: Path) -> bool:
    try:
        files = records.read_json(checkpoint / COMPLETE)["files"]
        return all((checkpoint / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


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


def training_arguments(job: Job, settings: Training, placement: Placement) -> TrainingArguments:
    """The settings as transformers' TrainingArguments."""
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(job.checkpoints),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch",
        bf16=placement.precision == "bf16",
        fp16=placement.precision == "fp16",
        use_cpu=placement.device == "cpu",
        gradient_checkpointing=settings.gradient_checkpointing,
        logging_steps=settings.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_steps=settings.save_steps,
        save_total_limit=2,
        seed=job.seed,
        report_to=[] if job.wandb_mode == "disabled" else ["wandb"],
        run_name=job.label.replace(" ", "-"),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=placement.device == "cuda",
    )
    # One process uses one device: torch's DataParallel would split a packed batch in the middle.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def collate(rows: Sequence[Row], packing: str, pad: int) -> dict[str, Any]:
    """One micro-batch.

    Packed: `input_ids` and `position_ids` (1, L), `sources` and `targets` (N), `groups`.
    Padded: `input_ids` and `attention_mask` (B, L), `sources` into B·L, `targets` (N).
    """
    import torch

    tokens = sum(len(ids) for ids, _ in rows)
    if packing == "none":
        length = max(len(ids) for ids, _ in rows)
        places = [
            (number * length + place - 1, ids[place])
            for number, (ids, mask) in enumerate(rows)
            for place in range(1, len(ids))
            if mask[place]
        ]
        padded = [ids + [pad] * (length - len(ids)) for ids, _ in rows]
        seen = [[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows]
        return {
            "input_ids": torch.tensor(padded),
            "attention_mask": torch.tensor(seen),
            # An empty list would become a tensor of floats.
            "sources": torch.tensor([source for source, _ in places], dtype=torch.long),
            "targets": torch.tensor([target for _, target in places], dtype=torch.long),
            "counts": (len(rows), tokens, len(rows) * length),
        }
    packed = pack(rows, share=packing == "shared_prefix")
    return {
        "input_ids": torch.tensor([packed.ids]),
        "position_ids": torch.tensor([packed.positions]),
        "sources": torch.tensor(packed.sources, dtype=torch.long),
        "targets": torch.tensor(packed.targets, dtype=torch.long),
        "groups": packed.groups,
        "counts": (packed.rows, packed.tokens, len(packed.ids)),
    }


def supervised_loss(model: Any, batch: dict[str, Any], head: Tensor | None = None) -> Tensor:
    """Cross-entropy of each supervised token, (N,), in fp32; logits exist for those alone.

    `head`: the LM head's weight where `release_head` took it off the model.
    """
    from torch.nn.functional import cross_entropy

    if "groups" in batch:
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            layout=PackedLayout(batch["groups"]),
            logits_to_keep=batch["sources"],
            use_cache=False,
        ).logits[0]
    else:
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        )
        logits = output.logits.flatten(0, 1)[batch["sources"]]
    if head is not None:
        return head_loss(logits, head, batch["targets"])
    return cross_entropy(logits.float(), batch["targets"], reduction="none")


def _make_trainer(job: Job, settings: Training, placement: Placement, model: Any) -> Any:
    """A transformers Trainer that feeds packed batches and weighs the loss as configured."""
    import torch
    from torch.utils.data import DataLoader
    from transformers import Trainer

    pad = model.config.pad_token_id or 0
    head = release_head(model.get_base_model())

    class PackedTrainer(Trainer):
        first_step = 0
        seen: tuple[int, ...] = (0, 0, 0)

        def get_train_dataloader(self) -> DataLoader[Any]:
            batches = _epoch_batches(job, settings)
            loader: DataLoader[Any] = DataLoader(
                _Rows(job.rows, batches),  # type: ignore[arg-type]
                batch_sampler=batches,
                collate_fn=lambda rows: collate(rows, settings.packing, pad),
            )
            return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

        def get_batch_samples(
            self, epoch_iterator: Any, num_batches: int, device: torch.device
        ) -> tuple[list[Any], Tensor]:
            batches = list(itertools.islice(epoch_iterator, num_batches))
            for batch in batches:
                self.seen = tuple(map(sum, zip(self.seen, batch["counts"], strict=True)))
            count = torch.tensor(sum(len(batch["targets"]) for batch in batches), device=device)
            # At least 1: a step without a supervised token has the loss 0, not 0 / 0.
            return batches, self.accelerator.gather(count).sum().clamp_min(1)

        def totals(self) -> list[int]:
            """Samples, tokens and computed tokens of this run, over all processes."""
            mine = torch.tensor([self.seen], device=self.args.device)
            return [int(count) for count in self.accelerator.gather(mine).sum(dim=0)]

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Tensor | int | None = None,
        ) -> Any:
            losses = supervised_loss(model, inputs, head)
            if settings.loss == "row":
                mean = losses.sum() / max(1, len(losses))
                return mean / self.current_gradient_accumulation_steps
            # Data-parallel training averages gradients over processes; the count is over all.
            return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    trainer = PackedTrainer(
        model=model,
        args=training_arguments(job, settings, placement),
        train_dataset=list(job.rows),
        callbacks=_callbacks(job),
    )
    # compute_loss above divides by the tokens (or micro-batches) of the step itself.
    trainer.model_accepts_loss_kwargs = True
    return trainer


class _Rows:
    """The rows as a data set that passes the epoch on to the sampler, however it is wrapped."""

    def __init__(self, rows: Sequence[Row], batches: EpochBatches) -> None:
        self._rows = rows
        self._batches = batches

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Row:
        return self._rows[number]

    def set_epoch(self, epoch: int) -> None:
        self._batches.set_epoch(epoch)


def _callbacks(job: Job) -> list[TrainerCallback]:
    from matinee.training_callbacks import (
        CompleteCheckpoints,
        FiniteLoss,
        ProgressBar,
        StopOnSignal,
    )

    return [
        ProgressBar(job.label),
        StopOnSignal(),
        FiniteLoss(job.checkpoints),
        CompleteCheckpoints(),
    ]
