"""A transformers Trainer that feeds packed batches and weighs the loss as configured."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.attention import use_layouts
from matinee.batching import EpochBatches, Row, prefix_groups
from matinee.config import Training
from matinee.devices import Placement
from matinee.training.head_loss import release_head
from matinee.training.job import Job
from matinee.training.loss import collate, supervised_loss

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, TrainerCallback, TrainingArguments


def processes() -> int:
    """How many processes train together; `accelerate launch` and torchrun say it so."""
    return int(os.environ.get("WORLD_SIZE", "1"))


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
        report_to=["wandb"] if job.report_to_wandb else [],
        run_name=job.label.replace(" ", "-"),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=placement.device == "cuda",
    )
    # One process uses one device: torch's DataParallel would split a packed batch in the middle.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def epoch_batches(job: Job, settings: Training) -> EpochBatches:
    """The run's micro-batches, dealt out over the processes that train together."""
    return EpochBatches(
        prefix_groups(job.rows, share=settings.packing == "shared_prefix"),
        settings.batch_size,
        settings.gradient_accumulation * processes(),
        job.seed if job.shuffle else None,
    )


def make_trainer(job: Job, settings: Training, placement: Placement, model: Any) -> Any:
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
            batches = epoch_batches(job, settings)
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
    from matinee.training.callbacks import (
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
