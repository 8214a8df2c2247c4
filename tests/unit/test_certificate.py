"""The certificate refuses a merged model that is not what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_merging import save_adapter, save_base

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
    values = {"placement": Placement("cpu", "fp32", "test"), "tolerance": 0.02, **options}
    prompts = values.pop("prompts", PROMPTS)
    return certify(base, adapter, merged, prompts, **values)


def test_a_true_merge_is_certified(base: Path, adapter: Path, tmp_path: Path) -> None:
    merge(base, adapter, tmp_path / "merged", "2GB")
    facts = certified(base, adapter, tmp_path / "merged")
    assert facts["prompts"] == facts["identical_greedy"] == len(PROMPTS)
    assert facts["largest_logit_difference"] < 1e-5
    assert facts["difference_from_start_model"] > 0.01


def test_the_start_model_is_no_merged_model(base: Path, adapter: Path) -> None:
    with pytest.raises(MergeError, match=r"logits differ.*export\.tolerance"):
        certified(base, adapter, base)
    with pytest.raises(MergeError, match="exactly as the start model"):
        certified(base, adapter, base, tolerance=1e9)


def test_the_merge_of_another_adapter_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = save_adapter(base, tmp_path / "other", lora_alpha=32)
    merge(base, other, tmp_path / "merged", "2GB")
    with pytest.raises(MergeError, match="logits differ"):
        certified(base, adapter, tmp_path / "merged")


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
