"""LoRA supervised fine-tuning: token rows and a start model in, an adapter out."""

from __future__ import annotations

import itertools
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee import records
from matinee.attention import PackedLayout, use_layouts
from matinee.batching import EpochBatches, Row, prefix_groups
from matinee.config import Training
from matinee.devices import Placement, place
from matinee.errors import TrainingError
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
    memory runs out, it goes on with half the rows per micro-batch and twice the accumulation.
    Raises TrainingError for a loss that is not finite.
    """
    if not any(any(mask) for _, mask in job.rows):
        raise TrainingError("No row has a supervised token; nothing could be learned from this.")
    settings = job.settings
    while True:
        try:
            return _train_once(job, settings)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error) or settings.batch_size == 1:
                raise
            settings = _halved(settings)


def _planned(job: Job, settings: Training, steps: int) -> dict[str, int]:
    """Samples and tokens of the whole run, however often it was killed and went on."""
    batches = _epoch_batches(job, settings)
    counts = {"samples": 0, "tokens": 0, "supervised_tokens": 0}
    left = steps * settings.gradient_accumulation
    epoch = 0
    while left > 0:
        batches.set_epoch(epoch)
        for batch in itertools.islice(batches, left):
            counts["samples"] += len(batch)
            counts["tokens"] += sum(len(job.rows[row][0]) for row in batch)
            counts["supervised_tokens"] += sum(sum(job.rows[row][1][1:]) for row in batch)
        left -= len(batches)
        epoch += 1
    return counts


def _epoch_batches(job: Job, settings: Training) -> EpochBatches:
    return EpochBatches(
        prefix_groups(job.rows, share=settings.packing == "shared_prefix"),
        settings.batch_size,
        settings.gradient_accumulation,
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


def _train_once(job: Job, settings: Training) -> dict[str, Any]:
    import torch
    from transformers import set_seed

    set_seed(job.seed)
    placement = place(settings.precision)
    model = load_trainable(job.model, settings, placement)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    trainer = _make_trainer(job, settings, placement, model)
    checkpoint = last_checkpoint(job.checkpoints)
    trainer.first_step = int(checkpoint.name.split("-")[1]) if checkpoint else 0
    started = time.perf_counter()
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    runtime = time.perf_counter() - started
    planned = _planned(job, settings, trainer.state.global_step)
    metrics = {
        "steps": trainer.state.global_step,
        "epochs": settings.epochs,
        "samples": planned["samples"],
        "train_loss": result.training_loss,
        "runtime_seconds": runtime,
        "samples_per_second": trainer.samples_seen / runtime,
        "steps_per_second": (trainer.state.global_step - trainer.first_step) / runtime,
        "tokens_per_second": trainer.tokens_seen / runtime,
        "trainable_parameters": trainable,
        "total_parameters": total - trainable,
        "tokens": planned["tokens"],
        "computed_share": trainer.tokens_computed / max(1, trainer.tokens_seen),
        "supervised_tokens": planned["supervised_tokens"],
        "batch_size": settings.batch_size,
        "gradient_accumulation": settings.gradient_accumulation,
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

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=placement.dtype)
    model.config.use_cache = False
    if settings.packing != "none":
        use_layouts(model)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()
    return peft.get_peft_model(model, lora_config(settings))  # type: ignore[return-value]


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
    """The newest checkpoint that was written to its end."""
    complete = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)


def training_arguments(job: Job, settings: Training, placement: Placement) -> TrainingArguments:
    """The settings as transformers' TrainingArguments."""
    from transformers import TrainingArguments

    return TrainingArguments(
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
        gradient_checkpointing_kwargs={"use_reentrant": False},
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
            "sources": torch.tensor([source for source, _ in places]),
            "targets": torch.tensor([target for _, target in places]),
            "counts": (len(rows), tokens, len(rows) * length),
        }
    packed = pack(rows, share=packing == "shared_prefix")
    return {
        "input_ids": torch.tensor([packed.ids]),
        "position_ids": torch.tensor([packed.positions]),
        "sources": torch.tensor(packed.sources),
        "targets": torch.tensor(packed.targets),
        "groups": packed.groups,
        "counts": (packed.rows, packed.tokens, len(packed.ids)),
    }


def supervised_loss(model: Any, batch: dict[str, Any]) -> Tensor:
    """Cross-entropy of each supervised token, (N,), in fp32; logits exist for those alone."""
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
    return cross_entropy(logits.float(), batch["targets"], reduction="none")


def _make_trainer(
    job: Job, settings: Training, placement: Placement, model: PreTrainedModel
) -> Any:
    """A transformers Trainer that feeds packed batches and weighs the loss as configured."""
    import torch
    from torch.utils.data import DataLoader
    from transformers import Trainer

    pad = model.config.pad_token_id or 0

    class PackedTrainer(Trainer):
        samples_seen = tokens_seen = tokens_computed = first_step = 0

        def get_train_dataloader(self) -> DataLoader[Any]:
            batches = _epoch_batches(job, settings)
            loader: DataLoader[Any] = DataLoader(
                _Rows(job.rows, batches),  # type: ignore[arg-type]
                batch_sampler=batches,  # type: ignore[arg-type]
                collate_fn=lambda rows: collate(rows, settings.packing, pad),
            )
            return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

        def get_batch_samples(
            self, epoch_iterator: Any, num_batches: int, device: torch.device
        ) -> tuple[list[Any], Tensor]:
            batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
            for batch in batches:
                rows, tokens, computed = batch["counts"]
                self.samples_seen += rows
                self.tokens_seen += tokens
                self.tokens_computed += computed
            count = torch.tensor(sum(len(batch["targets"]) for batch in batches), device=device)
            return batches, self.accelerator.gather(count).sum()  # type: ignore[no-any-return]

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Tensor | int | None = None,
        ) -> Any:
            losses = supervised_loss(model, inputs)
            if settings.loss == "row":
                return losses.mean() / self.current_gradient_accumulation_steps
            # Data-parallel training averages gradients over processes; the count is over all.
            return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    trainer = PackedTrainer(
        model=model,
        args=training_arguments(job, settings, placement),
        train_dataset=list(job.rows),  # type: ignore[arg-type]
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
    from matinee.training_callbacks import CompleteCheckpoints, FiniteLoss, ProgressBar, StopOnSignal

    return [CompleteCheckpoints(), FiniteLoss(job.checkpoints), ProgressBar(job.label), StopOnSignal()]
