"""Which device and number format a stage computes in, and why."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matinee.runtime.errors import EngineError

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


def describe_build() -> str:
    """Which torch this is and what it computes on, in a few words.

    A login node without a GPU may have resolved to a build of torch that cannot use the GPU of
    the job. Raises EngineError where the job was given one; MATINEE_CPU=1 means it all the same.
    """
    import torch

    from matinee.runtime.leases import VARIABLE, visible_devices

    if torch.version.cuda is not None:
        return f"torch {torch.__version__}, for CUDA {torch.version.cuda}"
    if torch.version.hip is not None:
        return f"torch {torch.__version__}, for ROCm {torch.version.hip}"
    given = visible_devices()
    if given and os.environ.get("MATINEE_CPU") != "1":
        raise EngineError(
            f"This job was given a GPU ({given[0].name}), but torch {torch.__version__} here is "
            "a CPU build. Install a build for your GPU (https://pytorch.org/get-started/), ask "
            f"for no GPU (--set-resources train_adapter:gpu=0, or {VARIABLE}= on a workstation), "
            "or set MATINEE_CPU=1 to train on the CPU beside it."
        )
    return f"torch {torch.__version__}, a CPU build"


def place(asked: Literal["auto", "fp32", "bf16", "fp16"]) -> Placement:
    """Chooses device and precision. Raises EngineError for what the hardware cannot do."""
    import torch

    if not torch.cuda.is_available():
        if asked == "fp16":
            raise EngineError("precision: fp16 needs a CUDA device; use auto, fp32 or bf16 here.")
        if asked == "auto":
            return Placement("cpu", "fp32", "no CUDA device; fp32 is the fastest on most CPUs")
        if asked == "bf16" and not _multiplies_bf16():
            return Placement("cpu", "fp32", "this CPU has no instructions for bf16; fp32 is faster")
        return Placement("cpu", asked, "asked for")
    if asked != "auto":
        return Placement("cuda", asked, "asked for")
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Placement("cuda", "bf16", "the CUDA device computes bf16 natively")
    return Placement("cuda", "fp16", "the CUDA device has no native bf16; fp16 with loss scaling")


def _multiplies_bf16() -> bool:
    """Whether this CPU has matrix instructions for bf16: about twice the rate of fp32."""
    import torch

    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
