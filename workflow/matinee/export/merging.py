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
# Endings of peft's names, and what stands there.
PARTS = {
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_magnitude_vector": "magnitude",
    "token_adapter.trainable_tokens_delta": "rows",
    "weight": "whole",
}
# Weights are written from the merged tensors; everything else of the base folder is copied.
NOT_COPIED = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth"),
    *("*.gguf", "*.h5", "*.msgpack", "*.onnx", "run.json", ".cache"),
)


def shard_bytes(size: str) -> int:
    """`2GB` as a number of bytes (decimal units, as on the hubs)."""
    return int(float(size[:-2]) * UNITS[size[-2:]])


class Adapter:
    """What a peft folder changes: by LoRA (rank-stabilised, DoRA), whole weights, rows of tokens.

    `names`: the base weights that it changes.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        config = records.read_json(folder / "adapter_config.json")
        for key in ("fan_in_fan_out", "alora_invocation_tokens"):
            if config.get(key):
                raise MergeError(f"{folder}: an adapter with {key} cannot be merged by addition.")
        if config.get("bias", "none") != "none":
            raise MergeError(f"{folder}: an adapter that trains biases cannot be merged.")
        self._config = config
        self._file: Any = safe_open(str(folder / "adapter_model.safetensors"), framework="pt")
        # By weight and then by part, the key in the file.
        self._parts: dict[str, dict[str, str]] = {}
        keys: list[str] = self._file.keys()  # type: ignore[no-untyped-call]
        for key in keys:
            match = re.fullmatch(rf"base_model\.model\.(.+?)\.({'|'.join(PARTS)})", key)
            whole = match is not None and match[2] == "weight"
            if match is None or (whole and not self._saved_whole(match[1])):
                raise MergeError(f"{folder}: {key} is not a LoRA factor; it cannot be merged.")
            self._parts.setdefault(f"{match[1]}.weight", {})[PARTS[match[2]]] = key
        self.names = frozenset(self._parts)

    def _saved_whole(self, module: str) -> bool:
        saved = self._config.get("modules_to_save") or []
        tied = self._config.get("ensure_weight_tying")
        return bool(tied) or any(f".{module}".endswith(f".{name}") for name in saved)

    def twins(self) -> frozenset[str]:
        """Weights that were saved although another one holds the same: tied heads."""
        wholes = [name for name in self.names if "whole" in self._parts[name]]
        return frozenset(
            name
            for name in wholes
            for other in wholes
            if name != other and self._tensor(name, "whole").equal(self._tensor(other, "whole"))
        )

    def _tensor(self, name: str, part: str) -> Tensor:
        found: Tensor = self._file.get_tensor(self._parts[name][part])
        return found.float()

    def _scale(self, module: str, rank: int) -> float:
        """alpha / r, or alpha / √r where rank-stabilised, with peft's per-module patterns."""
        alpha = float(self._config["lora_alpha"])
        for pattern, value in (self._config.get("alpha_pattern") or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = float(value)
                break
        return alpha / math.sqrt(rank) if self._config.get("use_rslora") else alpha / rank

    def _rows(self, name: str) -> list[int]:
        rows = self._config["trainable_token_indices"]
        if not isinstance(rows, dict):
            return list(rows)
        found: list[int] = next(
            ids for module, ids in rows.items() if f".{name}".endswith(f".{module}.weight")
        )
        return found

    def apply(self, name: str, weight: Tensor) -> Tensor:
        """The trained weight: computed in fp32, rounded once to the weight's own type."""
        import torch

        parts = self._parts[name]
        if "whole" in parts:
            merged = self._tensor(name, "whole")
        elif "rows" in parts:
            index = torch.tensor(self._rows(name))
            merged = weight.float().index_copy(0, index, self._tensor(name, "rows"))
        else:
            down, up = self._tensor(name, "down"), self._tensor(name, "up")
            merged = (up @ down) * self._scale(name.removesuffix(".weight"), down.shape[0])
        if merged.shape != weight.shape:
            raise MergeError(
                f"{name}: the adapter's shape {tuple(merged.shape)} is not the base's "
                f"{tuple(weight.shape)}. Was it trained on another model?"
            )
        if "down" in parts:
            merged = merged.add_(weight.float())
        if "magnitude" in parts:
            # DoRA (arXiv:2402.09353): the direction of each row, times its learned length.
            lengths = torch.linalg.norm(merged, dim=1)
            merged = merged.mul_((self._tensor(name, "magnitude") / lengths)[:, None])
        return merged.to(weight.dtype)


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
    # A tied head is the embeddings, which are changed under their own name.
    if unknown and not unknown <= factors.twins():
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
