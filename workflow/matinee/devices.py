"""Which device and number format a stage computes in, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matinee.errors import EngineError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Placement:
    """Device ("cuda" or "cpu"), precision, and the reason for the precision in one sentence."""

    device: str
    precision: Precision
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of frozen weights and activations."""
        import torch

        names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return names[self.precision]


def place(asked: Literal["auto", "fp32", "bf16", "fp16"]) -> Placement:
    """Chooses device and precision. Raises EngineError for what the hardware cannot do."""
    import torch

    if not torch.cuda.is_available():
        if asked == "fp16":
            raise EngineError("precision: fp16 needs a CUDA device; use auto, fp32 or bf16 here.")
        if asked == "auto":
            return Placement("cpu", "fp32", "no CUDA device; fp32 is the fastest on most CPUs")
        return Placement("cpu", asked, "asked for")
    if asked != "auto":
        return Placement("cuda", asked, "asked for")
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Placement("cuda", "bf16", "the CUDA device computes bf16 natively")
    return Placement("cuda", "fp16", "the CUDA device has no native bf16; fp16 with loss scaling")
