"""A transformers Trainer that feeds packed batches and weighs the loss as configured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, PreTrainedModel, Trainer, TrainingArguments

from matinee.config import Training
from matinee.models.devices import Placement
from matinee.models.kernels import Choice, Heads, choose_kernel
from matinee.models.loading import load_model
from matinee.models.packing import MaskedIds
from matinee.models.selfcheck import lend_layouts, padded_problem
from matinee.models.suitability import refuse_targets, whole_modules
from matinee.runtime.errors import TrainingError
from matinee.training.batching import EpochBatches, Job, epoch_batches, prefix_groups
from matinee.training.callbacks import (
    CompleteCheckpoints,
    ProgressBar,
    SoundLoss,
    StopOnSignal,
    WithoutHarm,
)
from matinee.training.lora_product import use_lora_products
from matinee.training.loss import collate, collate_parts, release_head, supervised_loss
from matinee.training.side_by_side import SideBySide

# Share of the optimizer steps between two measurements of the validation loss.
VALIDATION_EVERY = 0.1


class UnfitError(TrainingError):
    """Rows of this model cannot lie side by side; `alone`: nor be padded to one length."""

    def __init__(self, problem: str, *, alone: bool) -> None:
        super().__init__(f"packed rows would be computed wrongly: {problem}")
        self.alone = alone


def load_trainable(folder: Path, settings: Training, placement: Placement) -> PreTrainedModel:
    """The start model with a fresh adapter; adapter weights are fp32 whatever the base is in.

    On a CPU bf16 is for the products with frozen weights; all else stays in fp32.
    """
    spread = settings.sharding == "fsdp"
    fp32_around = placement.device == "cpu" and placement.precision == "bf16"
    loaded_as = replace(placement, precision="fp32") if fp32_around else placement
    model = load_model(folder, loaded_as, settings.quantization, spread=spread)
    tokens = token_ids(folder, settings.lora.trainable_tokens)
    trainable = make_trainable(model, settings, tokens)
    if placement.device == "cpu" and not spread:
        use_lora_products(trainable, placement.dtype)
    return trainable


def token_ids(folder: Path, tokens: Sequence[str]) -> list[int]:
    """The ids of tokens given by their text. Raises TrainingError for a text that is not one."""
    if not tokens:
        return []
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found = [tokenizer.encode(token, add_special_tokens=False) for token in tokens]
    for token, ids in zip(tokens, found, strict=True):
        if len(ids) != 1:
            raise TrainingError(
                f"training.lora.trainable_tokens: {token!r} is {len(ids)} tokens of this model. "
                "Only rows of single tokens can be trained."
            )
    return [ids[0] for ids in found]


def make_trainable(model: Any, settings: Training, tokens: Sequence[int] = ()) -> PreTrainedModel:
    """The model with a fresh adapter, its own weights frozen, and attention as packing needs it.

    `tokens`: ids whose rows of the embeddings and the head are trained too.
    """
    refuse_targets(model, settings.lora.target)
    model.config.use_cache = False
    if settings.packing != "none" and (problem := lend_layouts(model)) is not None:
        raise UnfitError(problem, alone=padded_problem(model) is not None)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()  # a checkpointed layer needs an input with a gradient
    layers = model.config.get_text_config().num_hidden_layers
    config = lora_config(settings, layers)
    config.modules_to_save = whole_modules(model, settings.lora.modules_to_save) or None
    # A head that is tied to the embeddings is trained and saved with them.
    tied = bool(model.config.get_text_config().tie_word_embeddings)
    config.ensure_weight_tying = tied and config.modules_to_save is not None
    if tokens:
        ends = [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]
        names = {id(module): name for name, module in model.named_modules()}
        config.trainable_token_indices = {names[id(module)]: list(tokens) for module in ends}
    return peft.get_peft_model(model, config)  # type: ignore[no-any-return]


def lora_config(settings: Training, layers: int = 0) -> Any:
    """The settings as peft's LoraConfig, for a model of so many layers."""
    # The first number in a module's name is its layer's; peft's own layers_to_transform does not
    # go with `all-linear`.
    lower = "|".join(map(str, range(layers - math.ceil(layers * settings.lora.layers))))
    return peft.LoraConfig(
        exclude_modules=rf"\D*\.({lower})\..*" if lower else None,
        r=settings.lora.r,
        lora_alpha=settings.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.lora.dropout,
        use_rslora=settings.lora.rslora,
        use_dora=settings.lora.dora,
        target_modules=settings.lora.target,
        task_type="CAUSAL_LM",
    )


def training_arguments(job: Job, settings: Training, placement: Placement) -> TrainingArguments:
    """The settings as transformers' TrainingArguments."""
    schedule: str = settings.schedule
    if schedule == "constant" and settings.warmup_steps:
        schedule = "constant_with_warmup"  # transformers' `constant` would ignore the warm-up
    arguments = TrainingArguments(
        output_dir=str(job.checkpoints),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch",
        bf16=placement.precision == "bf16" and placement.device != "cpu",
        fp16=placement.precision == "fp16",
        use_cpu=placement.device == "cpu",
        gradient_checkpointing=settings.gradient_checkpointing,
        logging_steps=settings.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_steps=settings.save_steps,
        save_total_limit=2,
        eval_strategy="steps" if job.validation else "no",
        eval_steps=VALIDATION_EVERY,
        seed=job.seed,
        report_to=["wandb"] if job.report_to_wandb else [],
        run_name=f"train {job.label}".replace(" ", "-"),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=placement.device == "cuda",
        fsdp=settings.sharding == "fsdp" or None,  # type: ignore[arg-type]
    )
    # One process uses one device: torch's DataParallel would split a packed batch in the middle.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def attention_kernel(model: Any, settings: Training, placement: Placement) -> Choice:
    """What will compute attention, and why."""
    if settings.packing == "none":
        return Choice("sdpa", "padded rows: transformers' own attention")
    if settings.attention == "sdpa":
        return Choice("sdpa", "asked for")
    config = model.config.get_text_config()
    dropout = float(getattr(config, "attention_dropout", 0.0) or 0.0)
    return choose_kernel(placement, settings.packing, Heads.of(config), dropout)


def validation_batches(
    job: Job, settings: Training, process: int, of: int
) -> list[list[MaskedIds]]:
    """One process's micro-batches of the held-out rows; together they hold each row once."""
    groups = prefix_groups(job.validation, share=settings.packing == "shared_prefix")
    rows = [job.validation[number] for group in groups for number in group]
    size = settings.batch_size
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    return batches[process::of]


class PackedTrainer(Trainer):
    """Feeds packed batches, weighs the loss as configured, and measures held-out rows.

    `lanes`: how many parts of a micro-batch are computed side by side, see `side_by_side.py`.
    """

    def __init__(
        self, job: Job, settings: Training, placement: Placement, model: Any, lanes: int = 1
    ) -> None:
        head = release_head(model.get_base_model())
        super().__init__(
            model=model,
            args=training_arguments(job, settings, placement),
            train_dataset=list(job.rows),
            eval_dataset=list(job.validation) or None,
            callbacks=[
                ProgressBar(f"train {job.label}"),
                StopOnSignal(),
                SoundLoss(job.checkpoints, model.config.get_text_config().vocab_size),
                CompleteCheckpoints(),
            ],
        )
        self.job, self.settings = job, settings
        self.choice = attention_kernel(model, settings, placement)
        self.first_step = 0
        self.seen: tuple[int, ...] = (0, 0, 0)
        self.measured: Mapping[int, dict[str, float]] = {}
        self.pad = model.config.pad_token_id or 0
        # With FSDP the model itself is still in main memory; on a CPU in bf16 it is in fp32.
        self.head = None if head is None else head.to(placement.device, placement.dtype)
        self.side_by_side = None
        if lanes > 1:
            trained = [p for p in model.parameters() if p.requires_grad]
            self.side_by_side = SideBySide(lanes, trained)
        # compute_loss divides by the tokens (or micro-batches) of the step itself.
        self.model_accepts_loss_kwargs = True
        self.callback_handler.callbacks = [
            WithoutHarm(callback) if type(callback).__name__ == "WandbCallback" else callback
            for callback in self.callback_handler.callbacks
        ]

    def get_train_dataloader(self) -> DataLoader[Any]:
        batches = epoch_batches(self.job, self.settings)
        loader: DataLoader[Any] = DataLoader(
            _Rows(self.job.rows, batches),  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=partial(
                collate if self.side_by_side is None else collate_parts,
                packing=self.settings.packing,
                pad=self.pad,
            ),
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

    def save_adapter(self, folder: Path) -> None:
        """Writes the adapter in peft's format; every process takes part where it is spread."""
        weights = None
        if self.settings.sharding == "fsdp":
            weights = self.accelerator.get_state_dict(self.model)
        if self.is_world_process_zero():
            adapted = self.accelerator.unwrap_model(self.model)
            adapted.save_pretrained(str(folder), state_dict=weights)

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
        assert num_items_in_batch is not None  # get_batch_samples counted them
        if self.side_by_side is not None:
            parts = [partial(self.losses, model, part) for part in inputs["parts"]]
            return self.side_by_side.sum(parts) / num_items_in_batch
        losses = self.losses(model, inputs)
        if self.settings.loss == "row":
            mean = losses.sum() / max(1, len(losses))
            return mean / self.current_gradient_accumulation_steps
        # Data-parallel training averages gradients over processes; the count is over all.
        return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    def losses(self, model: Any, batch: dict[str, Any]) -> Tensor:
        return supervised_loss(model, batch, self.head, self.choice.kernel)

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """The mean loss of a supervised token of the held-out rows, logged as `eval_loss`."""
        # Trainer may ask twice at the last step.
        if self.state.global_step not in self.measured:
            sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
            mine = self.accelerator.process_index, self.accelerator.num_processes
            self.model.eval()  # type: ignore[union-attr]
            with torch.no_grad(), self.compute_loss_context_manager():
                for rows in validation_batches(self.job, self.settings, *mine):
                    batch = collate(rows, self.settings.packing, self.pad)
                    losses = self.losses(self.model, self._prepare_inputs(batch))
                    sums += torch.stack([losses.sum(), torch.ones_like(losses).sum()])
            self.model.train()  # type: ignore[union-attr]
            total, count = self.accelerator.reduce(sums, "sum").tolist()
            found = {"eval_loss": float(total / max(1.0, count))}
            self.measured = {self.state.global_step: found}
            self.log(found)
        return self.measured[self.state.global_step]


class _Rows(list[MaskedIds]):
    """The rows as a data set that passes the epoch on to the sampler, however it is wrapped."""

    def __init__(self, rows: Sequence[MaskedIds], batches: EpochBatches) -> None:
        super().__init__(rows)
        self.set_epoch = batches.set_epoch
