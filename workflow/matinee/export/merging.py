"""Adapter + base shards → merged shards, streamed: the model is never loaded as a whole."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.models.weights import INDEX, Entry, read_entries
from matinee.runtime import records
from matinee.runtime.errors import MergeError

if TYPE_CHECKING:
    from torch import Tensor

# Types that a delta can be added to, as safetensors and torch name them.
TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
UNITS = {"MB": 10**6, "GB": 10**9}
# Weights are written from the merged tensors; everything else of the base folder is copied.
NOT_COPIED = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth"),
    *("*.gguf", "*.h5", "*.msgpack", "*.onnx", "run.json", ".cache"),
)


def shard_bytes(size: str) -> int:
    """`2GB` as a number of bytes (decimal units, as on the hubs)."""
    return int(float(size[:-2]) * UNITS[size[-2:]])


class Adapter:
    """The LoRA factors of a peft folder, found by the name of the base weight they change."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        config = records.read_json(folder / "adapter_config.json")
        for key in ("use_dora", "modules_to_save", "fan_in_fan_out", "alora_invocation_tokens"):
            if config.get(key):
                raise MergeError(f"{folder}: an adapter with {key} cannot be merged by addition.")
        if config.get("bias", "none") != "none":
            raise MergeError(f"{folder}: an adapter that trains biases cannot be merged.")
        self._config = config
        self._file: Any = safe_open(str(folder / "adapter_model.safetensors"), framework="pt")
        self._modules: dict[str, dict[str, str]] = {}
        keys: list[str] = self._file.keys()  # type: ignore[no-untyped-call]
        for key in keys:
            match = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", key)
            if match is None:
                raise MergeError(f"{folder}: {key} is not a LoRA factor; it cannot be merged.")
            self._modules.setdefault(match[1], {})[match[2]] = key
        self.names = frozenset(f"{module}.weight" for module in self._modules)

    def _scale(self, module: str, rank: int) -> float:
        """alpha / r, or alpha / √r where rank-stabilised, with peft's per-module patterns."""
        alpha = float(self._config["lora_alpha"])
        for pattern, value in (self._config.get("alpha_pattern") or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = float(value)
                break
        return alpha / math.sqrt(rank) if self._config.get("use_rslora") else alpha / rank

    def apply(self, name: str, weight: Tensor) -> Tensor:
        """The weight plus its delta: added in fp32, rounded once to the weight's own type."""
        module = name.removesuffix(".weight")
        keys = self._modules[module]
        down = self._file.get_tensor(keys["A"]).float()
        up = self._file.get_tensor(keys["B"]).float()
        delta = (up @ down) * self._scale(module, down.shape[0])
        if delta.shape != weight.shape:
            raise MergeError(
                f"{name}: the adapter's shape {tuple(delta.shape)} is not the base's "
                f"{tuple(weight.shape)}. Was it trained on another model?"
            )
        merged: Tensor = delta.add_(weight.float()).to(weight.dtype)
        return merged


def plan_shards(entries: list[Entry], limit: int) -> list[list[Entry]]:
    """Entries by output shard, in order; a shard passes `limit` bytes only for a single tensor."""
    shards: list[list[Entry]] = [[]]
    filled = 0
    for entry in entries:
        if shards[-1] and filled + entry.size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(entry)
        filled += entry.size
    return shards


def merge(base: Path, adapter: Path, output: Path, shard_size: str) -> dict[str, Any]:
    """Writes the merged model's weights and the base's other files to `output`.

    Returns changed_tensors, unchanged_tensors, largest_relative_change, shards and bytes. Peak
    memory: about three fp32 copies of the largest tensor. Raises MergeError where the adapter
    does not belong to the base or changes nothing.
    """
    factors = Adapter(adapter)
    entries = read_entries(base)
    if not entries:
        raise MergeError(f"{base}: there are no weights (*.safetensors).")
    unknown = factors.names - {entry.name for entry in entries}
    if unknown:
        raise MergeError(f"{base}: has no weight {min(unknown)!r}, which the adapter changes.")
    output.mkdir(parents=True, exist_ok=True)
    shutil.copytree(base, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    shards = plan_shards(entries, shard_bytes(shard_size))
    largest = 0.0
    changed = 0
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = (
            "model.safetensors"
            if len(shards) == 1
            else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        for relative in _write_shard(output / name, shard, factors):
            changed += relative > 0
            largest = max(largest, relative)
        weight_map.update({entry.name: name for entry in shard})
    if changed == 0:
        raise MergeError("The merged model equals the start model: training changed nothing.")
    total = sum(entry.size for entry in entries)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        records.write_json(output / INDEX, index)
    return {
        "changed_tensors": changed,
        "unchanged_tensors": len(entries) - changed,
        "largest_relative_change": largest,
        "shards": len(shards),
        "bytes": total,
    }


def _write_shard(path: Path, entries: list[Entry], adapter: Adapter) -> Iterator[float]:
    """Writes one safetensors file tensor by tensor; yields each tensor's relative change."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for entry in entries:
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [offset, offset + entry.size],
        }
        offset += entry.size
    text = json.dumps(header).encode()
    # The format wants the data aligned to 8 bytes and allows spaces after the header.
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for entry in entries:
            data, relative = _merged_bytes(entry, adapter)
            file.write(data)
            yield relative


def _merged_bytes(entry: Entry, adapter: Adapter) -> tuple[memoryview, float]:
    import torch

    if entry.name not in adapter.names:
        return memoryview(read_bytes(entry)), 0.0
    weight = read_tensor(entry)
    merged = adapter.apply(entry.name, weight)
    before = weight.float()
    relative = float((merged.float() - before).norm() / before.norm().clamp_min(1e-12))
    return memoryview(merged.contiguous().reshape(-1).view(torch.uint8).numpy()), relative  # type: ignore[arg-type]


def read_bytes(entry: Entry) -> bytearray:
    """A tensor's bytes. Raises MergeError where its file ends early."""
    # Read, not mapped: mapped pages of the whole base would count as this process's memory.
    data = bytearray(entry.size)
    with entry.file.open("rb") as file:
        file.seek(entry.offset)
        if file.readinto(data) != entry.size:
            raise MergeError(f"{entry.file}: ended early while it was read; is it being written?")
    return data


def read_tensor(entry: Entry) -> Tensor:
    """A tensor on the CPU. Raises MergeError for a type that no delta can be added to."""
    import torch

    if entry.dtype not in TYPES:
        raise MergeError(
            f"{entry.name}: a delta cannot be added to weights of type {entry.dtype}. "
            "Use a base that is not quantized."
        )
    data = torch.frombuffer(read_bytes(entry), dtype=getattr(torch, TYPES[entry.dtype]))
    return data.reshape(entry.shape)
