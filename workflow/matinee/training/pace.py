"""How many rows of an optimizer step are computed at once; which rows make a step never changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.config import Training
from matinee.models.devices import place
from matinee.models.packing import MaskedIds
from matinee.training import batching
from matinee.training.batching import Job
from matinee.training.parallel import processes


@dataclass(frozen=True)
class Pace:
    """Micro-batches as `settings` have them, each in parts that `lanes` threads compute."""

    settings: Training
    lanes: int = 1


def pace_for(job: Job, settings: Training) -> Pace:
    """The fastest pace on this device that holds no more rows at once than `batch_size`.

    On a CPU plainly packed rows are computed side by side, one part to a thread, or where that
    cannot be done, in smaller micro-batches one after another. With `shared_prefix` the rows of a
    micro-batch share work, and with `loss: row` they share a weight, so those are left alone.
    """
    import torch

    placement = place(settings.precision)
    plain = settings.packing == "plain" and settings.loss == "token"
    if not plain or placement.device != "cpu":
        return Pace(settings)
    lanes = min(settings.batch_size, torch.get_num_threads())
    alone = processes() == 1 and not settings.gradient_checkpointing
    if lanes > 1 and alone and placement.precision == "fp32" and _independent(job.model, settings):
        # All rows of the step are dealt out at once, so that no thread waits for the others' last.
        rows = settings.batch_size * settings.gradient_accumulation
        whole = {"batch_size": rows, "gradient_accumulation": 1}
        return Pace(settings.model_copy(update=whole), lanes)
    return one_after_another(settings, job.rows)


def one_after_another(settings: Training, rows: Sequence[MaskedIds]) -> Pace:
    """Micro-batches of about CPU_TOKENS tokens; more at once make a CPU no faster."""
    mean = sum(len(ids) for ids, _ in rows) / len(rows)
    sizes = [size for size in range(1, settings.batch_size + 1) if settings.batch_size % size == 0]
    return Pace(
        split(
            settings,
            max(size for size in sizes if size == 1 or size * mean <= batching.CPU_TOKENS),
        )
    )


def split(settings: Training, batch_size: int) -> Training:
    """The same optimizer step in micro-batches of a size that divides the old one."""
    factor = settings.batch_size // batch_size
    return settings.model_copy(
        update={
            "batch_size": batch_size,
            "gradient_accumulation": settings.gradient_accumulation * factor,
        }
    )


def _independent(folder: Path, settings: Training) -> bool:
    """Whether two threads may compute the model at once and a run can still be repeated.

    Dropout draws from one generator, in the order in which threads come; rotary embeddings that
    follow the length of a row are kept in the model.
    """
    from transformers import AutoConfig

    values = dict(_leaves(AutoConfig.from_pretrained(folder).to_dict()))
    drops = any(
        isinstance(value, float) and value > 0
        for key, value in values.items()
        if "dropout" in key or key.endswith("pdrop")
    )
    rotary = {value for key, value in values.items() if key.endswith("rope_type")}
    return settings.lora.dropout == 0 and not drops and not rotary & {"dynamic", "longrope"}


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [leaf for key, below in value.items() for leaf in _leaves(below, f"{path}.{key}")]
