"""What one training run is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.config import Training
from matinee.models.packing import MaskedIds


@dataclass(frozen=True)
class Job:
    """One training run.

    `rows`: (token ids, mask); `checkpoints`: a folder that survives a kill; `validation`: rows
    whose loss is measured and not learned from.
    """

    model: Path
    rows: Sequence[MaskedIds]
    settings: Training
    seed: int
    shuffle: bool
    checkpoints: Path
    output: Path
    label: str
    report_to_wandb: bool = False
    validation: Sequence[MaskedIds] = ()
