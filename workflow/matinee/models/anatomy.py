"""How large a model is, from the headers of its weights, its `config.json`, or its name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.models.weights import read_entries


@dataclass(frozen=True)
class Anatomy:
    """Parameters of the layers and of the head, layers, their width and inner width, inputs plus
    outputs of all linear layers, GB of weights, and whether all of it is `guessed` from a name."""

    body: float
    head: float
    layers: int
    width: float
    inner: float
    linear: float
    stored: float
    guessed: bool = False

    @property
    def products(self) -> float:
        """Parameters that a token is multiplied with."""
        return self.body + self.head


def folder_anatomy(folder: Path) -> Anatomy:
    """By the headers of its weights; without weights, by building what `config.json` says."""
    if any(folder.glob("*.safetensors")):
        entries = read_entries(folder)
        stored = sum(entry.size for entry in entries) / 1e9
        return _anatomy({entry.name: entry.shape for entry in entries}, stored)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    return _anatomy(shapes, 2 * sum(map(math.prod, shapes.values())) / 1e9)


def _anatomy(shapes: Mapping[str, Sequence[int]], stored: float) -> Anatomy:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    embeddings = [name for name in shapes if re.search(r"embed_tokens|wte|embed_in", name)]
    heads = [name for name in shapes if "lm_head" in name] or embeddings
    body = [name for name in shapes if name not in {*embeddings, *heads}]
    linear = {name: shapes[name] for name in body if len(shapes[name]) == 2}
    layers = {found[1] for name in linear if (found := re.search(r"\.(\d+)\.", name))}
    return Anatomy(
        body=sum(sizes[name] for name in body),
        head=sum(sizes[name] for name in heads),
        layers=len(layers),
        width=min((min(shapes[name]) for name in embeddings), default=0),
        inner=max(map(max, linear.values()), default=0),
        linear=sum(map(sum, linear.values())),
        stored=stored,
    )


def named_anatomy(name: str) -> Anatomy | None:
    """By the size in the name (Yi-6B, coder_0_5b) and the shape that is usual for it; else None."""
    found = re.search(r"(\d+(?:[._]\d+)?)[ _-]?([bm])(?![a-z])", name.lower())
    if found is None:
        return None
    size = float(found[1].replace("_", ".")) * (1e9 if found[2] == "b" else 1e6)
    # 12 · layers · width² weights, width 128 · layers; a vocabulary of 64,000 twice.
    layers = max(2, round((size / 12 / 128**2) ** (1 / 3)))
    width = 128 * layers
    head = min(64_000 * width, size / 4)
    linear = layers * (8 * width + 3 * 3.7 * width)
    return Anatomy(size - 2 * head, head, layers, width, 2.7 * width, linear, 2 * size / 1e9, True)


def gigabytes(folders: Iterable[Path], names: Iterable[str]) -> float | None:
    """GB of a model's weights: of its files where a folder has them, else by a name that tells."""
    for folder in folders:
        if files := list(folder.glob("*.safetensors")):
            return sum(file.stat().st_size for file in files) / 1e9
    found = next(filter(None, map(named_anatomy, names)), None)
    return found.stored if found else None
