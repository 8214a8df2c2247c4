"""How far training is from the limit: its arithmetic against bare matrix products.

python benchmarks/training_limit.py FOLDER [TOKENS]     # the rate of the model's shapes
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RANK = 8
REPEATS = 5


@dataclass(frozen=True)
class Layer:
    """A linear layer of the model: inputs, outputs, and how often it occurs."""

    inputs: int
    outputs: int
    count: int

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * self.count


def linear_layers(config: Any) -> list[Layer]:
    """The linear layers of a Llama, without the LM head."""
    width, inner = config.hidden_size, config.intermediate_size
    size = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries = size * config.num_attention_heads
    keys = size * config.num_key_value_heads
    depth = config.num_hidden_layers
    return [
        Layer(width, queries, depth),
        Layer(width, keys, 2 * depth),
        Layer(queries, width, depth),
        Layer(width, inner, 2 * depth),
        Layer(inner, width, depth),
    ]


def training_flops(config: Any, tokens: int, supervised: int = 0) -> float:
    """Floating-point operations of LoRA training that many tokens, attention left out.

    2 per weight and token forward, 2 more for the gradient of the inputs; frozen weights have no
    gradient, the adapter's have (2 more). Logits and their gradient for supervised tokens only.
    """
    layers = linear_layers(config)
    frozen = sum(layer.weights for layer in layers)
    adapter = sum(RANK * (layer.inputs + layer.outputs) * layer.count for layer in layers)
    head: float = 4.0 * supervised * config.hidden_size * config.vocab_size
    return tokens * (4.0 * frozen + 6.0 * adapter) + head


def matrix_rate(config: Any, tokens: int, device: str = "cpu", dtype: str = "float32") -> float:
    """FLOPs per second of bare products at the shapes of one forward and backward pass.

    Each of the model's products forward (tokens × inputs by inputs × outputs) and backward, timed
    on its own and weighted by how often it occurs.
    """
    import torch

    kind = getattr(torch, dtype)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = flops = 0.0
    for layer in linear_layers(config):
        weight = torch.randn(layer.outputs, layer.inputs, device=device, dtype=kind)
        for product in (weight.t(), weight):
            states = torch.randn(tokens, product.shape[0], device=device, dtype=kind)
            out = states @ product
            times = []
            for _ in range(REPEATS):
                wait()
                started = time.perf_counter()
                torch.mm(states, product, out=out)
                wait()
                times.append(time.perf_counter() - started)
            seconds += statistics.median(times) * layer.count
            flops += 2.0 * tokens * layer.weights
    return flops / seconds


def limit_of(model: Path, run: dict[str, Any]) -> dict[str, float]:
    """The share of the bare products' rate that a run of ours reached (a lower bound).

    Attention, norms and the optimizer count as time but not as work.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model)
    tokens = run["computed_tokens"]
    reached = training_flops(config, tokens, run["supervised_tokens"]) / run["seconds"]
    possible = matrix_rate(config, max(1, tokens // run["micro_batches"]))
    return {
        "flops_per_second": reached,
        "matrix_flops_per_second": possible,
        "share": reached / possible,
    }


if __name__ == "__main__":
    from transformers import AutoConfig

    folder, tokens = Path(sys.argv[1]), int((sys.argv[2:] or ["2048"])[0])
    print(
        json.dumps(
            {"matrix_flops_per_second": matrix_rate(AutoConfig.from_pretrained(folder), tokens)}
        )
    )
