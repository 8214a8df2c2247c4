"""The certificate refuses a merged model that is not what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_merging import EXTRAS, exact, save_adapter, save_base, tensors

from matinee.export.certificate import certify
from matinee.export.merging import merge
from matinee.models.devices import Placement
from matinee.runtime.errors import MergeError

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], list(range(20, 60))]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_base(tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return save_adapter(base, tmp_path / "adapter")


def certified(base: Path, adapter: Path, merged: Path, **options: Any) -> dict[str, Any]:
    values = {"placement": Placement("cpu", "fp32", "test"), **options}
    prompts = values.pop("prompts", PROMPTS)
    return certify(base, adapter, merged, prompts, **values)


def test_a_true_merge_is_certified(base: Path, adapter: Path, tmp_path: Path) -> None:
    merge(base, adapter, tmp_path / "merged", "2GB")
    facts = certified(base, adapter, tmp_path / "merged")
    assert facts["prompts"] == facts["identical_greedy"] == len(PROMPTS)
    assert facts["largest_logit_difference"] < 1e-5
    assert facts["difference_from_start_model"] > 0.01


def test_an_adapter_of_the_upper_layers_alone_is_certified(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", exclude_modules=r"\D*\.(0)\..*")
    assert all(".layers.1." in name for name in tensors(adapter))
    merge(base, adapter, tmp_path / "merged", "2GB")
    assert certified(base, adapter, tmp_path / "merged")["difference_from_start_model"] > 0


@pytest.mark.parametrize(("tied", "options"), EXTRAS.values(), ids=EXTRAS)
def test_what_is_trained_beside_factors_is_certified_and_its_lack_is_seen(
    tmp_path: Path, tied: bool, options: dict[str, Any]
) -> None:
    base = save_base(tmp_path / "base", "bfloat16", tied=tied)
    adapter = save_adapter(base, tmp_path / "adapter", **options)
    merge(base, adapter, tmp_path / "merged", "2GB")
    assert certified(base, adapter, tmp_path / "merged")["difference_from_start_model"] > 0.01
    plain = save_adapter(base, tmp_path / "plain", use_rslora=options.get("use_rslora", False))
    merge(base, plain, tmp_path / "without", "2GB")
    with pytest.raises(MergeError, match="further from start model plus adapter"):
        certified(base, adapter, tmp_path / "without")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_the_weights_type_rounds_is_shown_and_no_error(tmp_path: Path, dtype: str) -> None:
    base = save_base(tmp_path / "base", dtype)
    adapter = save_adapter(base, tmp_path / "adapter")
    merge(base, adapter, tmp_path / "merged", "2GB")
    facts = certified(base, adapter, tmp_path / "merged")
    assert facts["largest_logit_difference"] < 1e-5 < 1e-4 < facts["rounding_logit_difference"]
    assert facts["weights"] == {"bfloat16": "BF16", "float16": "F16"}[dtype]


def test_the_start_model_is_no_merged_model(base: Path, adapter: Path) -> None:
    with pytest.raises(MergeError, match="exactly as the start model"):
        certified(base, adapter, base)


@pytest.mark.parametrize(
    ("dtype", "fault"),
    [
        *((dtype, fault) for dtype in ("float32", "bfloat16") for fault in ("alpha", "left out")),
        *(("bfloat16", fault) for fault in ("twice rounded", "cut off")),
    ],
)
def test_a_merge_that_is_not_the_trained_one_is_refused(
    tmp_path: Path, dtype: str, fault: str
) -> None:
    base = save_base(tmp_path / "base", dtype)
    adapter = save_adapter(base, tmp_path / "adapter")
    other = save_adapter(base, tmp_path / "other", lora_alpha=32 if fault == "alpha" else 8)
    merge(base, other, tmp_path / "merged", "2GB")
    if fault != "alpha":
        _spoil(base, adapter, tmp_path / "merged", fault)
    with pytest.raises(MergeError, match=r"further from start model plus adapter"):
        certified(base, adapter, tmp_path / "merged")


def _spoil(base: Path, adapter: Path, merged: Path, fault: str) -> None:
    """One weight of the folder as a faulty merge would have left it."""
    import torch
    from safetensors.torch import load_file, save_file

    name = "model.layers.0.mlp.up_proj.weight"
    (path,) = merged.glob("*.safetensors")
    values, before = load_file(path), tensors(base)[name]
    right = exact(base, adapter, name)
    if fault == "left out":
        values[name] = before
    elif fault == "twice rounded":
        values[name] = before + (right - before.double()).to(before.dtype)
    else:
        cut = right.float().view(torch.int32) & -65536
        values[name] = cut.view(torch.float32).to(before.dtype)
    save_file(values, path, metadata={"format": "pt"})


@pytest.mark.parametrize("token", [5, 9], ids=["in the first prompt", "in a later prompt"])
def test_logits_that_are_no_numbers_are_not_certified(
    base: Path, adapter: Path, tmp_path: Path, token: int
) -> None:
    from safetensors.torch import load_file, save_file

    merge(base, adapter, tmp_path / "merged", "2GB")
    (path,) = (tmp_path / "merged").glob("*.safetensors")
    tensors = load_file(path)
    tensors["model.embed_tokens.weight"][token] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(MergeError, match="not finite numbers"):
        certified(base, adapter, tmp_path / "merged")


def test_without_a_prompt_nothing_is_certified(base: Path, adapter: Path) -> None:
    with pytest.raises(MergeError, match="No prompt"):
        certified(base, adapter, base, prompts=[])
