"""The merged weights are the base plus the adapter, as exactly as their type allows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import FAMILIES, llama

from matinee.export.merging import merge, plan_shards, shard_bytes
from matinee.models.weights import Entry
from matinee.runtime.errors import DataError, MergeError


def save_base(folder: Path, dtype: str = "float32", *, shards: str = "5GB", **options: Any) -> Path:
    import torch

    model = llama(**options).to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size=shards)
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def save_adapter(base: Path, folder: Path, **options: Any) -> Path:
    """An adapter whose deltas are about a tenth of the weights."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    values = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**(values | options)))
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=chance) * 0.05)
            elif parameter.requires_grad and "lora_A" not in name:
                parameter.mul_(1 + torch.rand(parameter.shape, generator=chance) * 0.2)
    adapted.save_pretrained(str(folder))
    return folder


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}


def merged_by_peft(base: Path, adapter: Path) -> dict[str, Any]:
    import peft
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    merged: Any = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return dict(merged.state_dict())


def exact(base: Path, adapter: Path, name: str, scale: float = 2.0) -> Any:
    """The weight plus its delta in float64, never rounded."""
    from safetensors.torch import load_file

    factors = load_file(adapter / "adapter_model.safetensors")
    module = f"base_model.model.{name.removesuffix('.weight')}"
    weight = tensors(base)[name].double()
    if f"{module}.lora_A.weight" not in factors:
        return weight
    down, up = (factors[f"{module}.lora_{part}.weight"].double() for part in "AB")
    return weight + scale * (up @ down)


def assert_bit_equal(folder: Path, expected: dict[str, Any]) -> None:
    import torch

    found = tensors(folder)
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_in_fp32_it_is_pefts_merge_to_the_bit(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    facts = merge(base, adapter, tmp_path / "merged", "2GB")
    assert_bit_equal(tmp_path / "merged", merged_by_peft(base, adapter))
    assert facts["changed_tensors"] == 14
    assert facts["unchanged_tensors"] == len(tensors(base)) - 14
    assert facts["largest_relative_change"] > 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_it_is_never_farther_from_the_exact_sum_than_pefts(
    tmp_path: Path, dtype: str
) -> None:
    import torch

    base = save_base(tmp_path / "base", dtype)
    adapter = save_adapter(base, tmp_path / "adapter")
    merge(base, adapter, tmp_path / "merged", "2GB")
    ours, pefts = tensors(tmp_path / "merged"), merged_by_peft(base, adapter)
    for name, weight in ours.items():
        assert str(weight.dtype) == f"torch.{dtype}"
        truth = exact(base, adapter, name)
        our_error = (weight.double() - truth).abs()
        peft_error = (pefts[name].double() - truth).abs()
        # The sum is made in fp32: where two numbers are equally near, its rounding decides.
        assert bool((our_error <= peft_error + 1e-6 * truth.abs() + 1e-9).all())
        # And no farther than the type itself makes necessary.
        spacing = torch.finfo(weight.dtype).eps * truth.abs()
        assert bool((our_error <= spacing / 2 + 1e-6 * truth.abs() + 1e-7).all())


@pytest.mark.parametrize(
    "options",
    [
        {"layers_to_transform": [1], "target_modules": ["q_proj", "up_proj"]},
        {"target_modules": ["q_proj", "down_proj"]},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 3, r".*\.1\..*": 5}, "rank_pattern": {"k_proj": 2}},
    ],
    ids=["some layers", "some modules", "rank-stabilised", "patterns"],
)
def test_every_way_to_place_and_scale_the_factors(tmp_path: Path, options: dict[str, Any]) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", **options)
    merge(base, adapter, tmp_path / "merged", "2GB")
    assert_bit_equal(tmp_path / "merged", merged_by_peft(base, adapter))


ROWS = {"model.embed_tokens": [5, 9]}
EXTRAS: dict[str, tuple[bool, dict[str, Any]]] = {
    "DoRA": (False, {"use_dora": True}),
    "rank-stabilised DoRA": (True, {"use_dora": True, "use_rslora": True}),
    "head": (False, {"modules_to_save": ["lm_head", "model.norm"]}),
    "tied head": (True, {"modules_to_save": ["lm_head"], "ensure_weight_tying": True}),
    "rows": (False, {"trainable_token_indices": ROWS | {"lm_head": [5, 9]}}),
    "tied rows": (True, {"trainable_token_indices": ROWS}),
}


@pytest.mark.parametrize(("tied", "options"), EXTRAS.values(), ids=EXTRAS)
def test_what_peft_trains_beside_factors_is_merged(
    tmp_path: Path, tied: bool, options: dict[str, Any]
) -> None:
    import torch

    base = save_base(tmp_path / "base", tied=tied)
    adapter = save_adapter(base, tmp_path / "adapter", **options)
    merge(base, adapter, tmp_path / "merged", "2GB")
    expected, before = merged_by_peft(base, adapter), tensors(base)
    found = tensors(tmp_path / "merged")
    assert found.keys() == before.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name])
    if "trainable_token_indices" in options:
        for name in set(found) & {"lm_head.weight", "model.embed_tokens.weight"}:
            changed = (found[name] != before[name]).any(dim=1).nonzero().flatten().tolist()
            assert changed == [5, 9]


def test_tied_embeddings_stay_tied(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = save_base(tmp_path / "base", tied=True)
    adapter = save_adapter(base, tmp_path / "adapter")
    merge(base, adapter, tmp_path / "merged", "2GB")
    assert "lm_head.weight" not in tensors(tmp_path / "merged")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("base_shards", ["5GB", "20KB"], ids=["one file", "many files"])
@pytest.mark.parametrize("output_shards", ["2GB", "0.02MB"], ids=["to one", "to many"])
def test_any_sharding_gives_the_same_model(
    tmp_path: Path, base_shards: str, output_shards: str
) -> None:
    base = save_base(tmp_path / "base", shards=base_shards)
    assert (len(list(base.glob("*.safetensors"))) > 1) == (base_shards == "20KB")
    adapter = save_adapter(base, tmp_path / "adapter")
    facts = merge(base, adapter, tmp_path / "merged", output_shards)
    assert_bit_equal(tmp_path / "merged", merged_by_peft(base, adapter))
    files = sorted((tmp_path / "merged").glob("*.safetensors"))
    assert len(files) == facts["shards"]
    assert (tmp_path / "merged/model.safetensors.index.json").exists() == (len(files) > 1)
    if output_shards == "0.02MB":
        assert len(files) > 1
        for file in files:
            held = sum(t.numel() * t.element_size() for t in tensors_of(file).values())
            assert held <= 20_000 or len(tensors_of(file)) == 1


def tensors_of(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(file)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", ["2GB", "0.02MB"])
def test_plain_transformers_loads_the_folder_and_computes_what_was_trained(
    tmp_path: Path, family: str, size: str
) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    base = tmp_path / "base"
    FAMILIES[family]().save_pretrained(base)
    adapter = save_adapter(base, tmp_path / "adapter")
    merge(base, adapter, tmp_path / "merged", size)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]])
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        start = model(ids).logits
        trained = peft.PeftModel.from_pretrained(model, str(adapter))(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
    assert float((merged - trained).abs().max()) < 1e-4
    assert float((merged - start).abs().max()) > 1e-2


def test_other_files_come_along_but_no_other_weights(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    for name in ("LICENSE", "pytorch_model.bin", "model.gguf", "run.json"):
        (base / name).write_text("x")
    merge(base, save_adapter(base, tmp_path / "adapter"), tmp_path / "merged", "2GB")
    assert {path.name for path in (tmp_path / "merged").iterdir()} == {
        "LICENSE",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_truncated_shard_is_refused_by_name(tmp_path: Path, left: int) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[:left])
    with pytest.raises(DataError, match=r"model\.safetensors (is no|has)"):
        merge(base, adapter, tmp_path / "merged", "2GB")


def test_a_missing_shard_is_refused_by_name(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", shards="20KB")
    adapter = save_adapter(base, tmp_path / "adapter")
    gone = sorted(base.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(DataError, match=gone.name):
        merge(base, adapter, tmp_path / "merged", "2GB")


def test_an_adapter_of_a_wider_model_is_refused(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    weights = tensors(base)
    name = "model.layers.0.self_attn.q_proj.weight"
    weights[name] = weights[name][:16].clone()
    from safetensors.torch import save_file

    save_file(weights, base / "model.safetensors")
    with pytest.raises(MergeError, match=f"{name}.*another model"):
        merge(base, adapter, tmp_path / "merged", "2GB")


def test_an_adapter_of_another_architecture_is_refused(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    from safetensors.torch import load_file, save_file

    factors = load_file(adapter / "adapter_model.safetensors")
    renamed = {key.replace("layers.1", "layers.7"): value for key, value in factors.items()}
    save_file(renamed, adapter / "adapter_model.safetensors")
    with pytest.raises(MergeError, match=r"has no weight 'model\.layers\.7"):
        merge(base, adapter, tmp_path / "merged", "2GB")


def test_an_adapter_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    from safetensors.torch import load_file, save_file

    factors = load_file(adapter / "adapter_model.safetensors")
    silent = {k: v * 0 if "lora_B" in k else v for k, v in factors.items()}
    save_file(silent, adapter / "adapter_model.safetensors")
    with pytest.raises(MergeError, match="training changed nothing"):
        merge(base, adapter, tmp_path / "merged", "2GB")


@pytest.mark.parametrize("key", ["fan_in_fan_out", "bias"])
def test_an_adapter_that_is_not_a_plain_sum_is_refused(tmp_path: Path, key: str) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    config[key] = "all" if key == "bias" else ["lm_head"]
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(MergeError, match="cannot be merged"):
        merge(base, adapter, tmp_path / "merged", "2GB")


def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    name = "model.layers.0.self_attn.q_proj.weight"
    save_file(
        tensors(base) | {name: torch.zeros(32, 32, dtype=torch.int8)}, base / "model.safetensors"
    )
    with pytest.raises(MergeError, match=f"{name}.*I8"):
        merge(base, adapter, tmp_path / "merged", "2GB")


def test_merging_twice_gives_the_same_files(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    for name in ("first", "second"):
        merge(base, adapter, tmp_path / name, "0.02MB")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()
    shutil.rmtree(tmp_path / "first")


def test_a_shard_passes_its_limit_only_for_a_single_tensor() -> None:
    def entry(name: str, size: int) -> Entry:
        return Entry(name, Path("base"), "F32", (size,), 0, size)

    entries = [entry("a", 4), entry("b", 6), entry("c", 20), entry("d", 1), entry("e", 10)]
    planned = [[e.name for e in shard] for shard in plan_shards(entries, 10)]
    assert planned == [["a", "b"], ["c"], ["d"], ["e"]]


@pytest.mark.parametrize(("size", "expected"), [("2GB", 2 * 10**9), ("1.5MB", 1_500_000)])
def test_shard_sizes_are_decimal(size: str, expected: int) -> None:
    assert shard_bytes(size) == expected
