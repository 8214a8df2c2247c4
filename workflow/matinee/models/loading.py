"""Loads a model folder for one device, in full or quantised, without running code of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from matinee.models.devices import Placement
from matinee.runtime import records
from matinee.runtime.errors import EngineError

Quantization = Literal["none", "8bit", "4bit"]


def load_model(
    folder: Path, placement: Placement, quantization: Quantization = "none", *, spread: bool = False
) -> PreTrainedModel:
    """The causal language model of a folder, on the device and in the precision of the placement.

    `spread`: leave it in main memory, for FSDP to spread over the devices. Raises EngineError for
    an architecture that needs code of its own, and for quantisation where it cannot be done.
    """
    require_known_architecture(folder)
    if quantization == "none":
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=placement.dtype)
        return model if spread else model.to(placement.device)  # type: ignore[no-any-return]
    require_quantization(placement, quantization)
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=placement.dtype,
        quantization_config=quantization_config(quantization, placement),
        # The whole model on the device of this process.
        device_map={"": torch.cuda.current_device() if placement.device == "cuda" else "cpu"},
    )


def require_known_architecture(folder: Path) -> None:
    """Raises EngineError where transformers does not know the model's architecture.

    Code that comes with a model is not run, even if it is trusted: packed training and shared
    prompts replace attention in transformers' own models, and such code would ignore that.
    """
    kind = records.read_json(folder / "config.json").get("model_type")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise EngineError(
            f"{folder}: the architecture {kind!r} is not one of transformers' causal language "
            "models. Code that comes with a model is not run here. Choose a model whose "
            "architecture transformers knows, or a newer version of transformers."
        )


def require_quantization(placement: Placement, quantization: Quantization) -> None:
    """Raises EngineError where bitsandbytes or its device is missing."""
    if placement.device != "cuda":
        raise EngineError(
            f"quantization: {quantization} needs a CUDA device, and there is none; "
            "use `quantization: none` here."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise EngineError(
            f"quantization: {quantization} needs the package bitsandbytes: run `pip install "
            "bitsandbytes` in the environment of the workflow, or use `quantization: none`."
        )


def quantization_config(quantization: Quantization, placement: Placement) -> BitsAndBytesConfig:
    """How bitsandbytes keeps the frozen weights; 4 bits as in QLoRA (arXiv:2305.14314)."""
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=placement.dtype,
    )
