"""Tiny seeded models and token rows, made on the spot, that the tests of models start from."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

from matinee.config import Training
from matinee.models.packing import MaskedIds

VOCABULARY = 300
WINDOW = 8


def llama(*, seed: int = 0, tied: bool = False, vocabulary: int = VOCABULARY) -> Any:
    """Two layers, grouped-query attention, weights large enough that tokens differ."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=2,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config)


def gemma(*, seed: int = 0, vocabulary: int = VOCABULARY) -> Any:
    """Gemma 3 with one sliding layer (a window of 8 tokens) and one full layer."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        max_position_embeddings=4096,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=2,
        initializer_range=0.2,
    )
    return Gemma3ForCausalLM(config)


FAMILIES = {"llama": llama, "gemma": gemma}


def save(folder: Path, **settings: Any) -> Path:
    """A Llama folder to train from."""
    llama(**settings).save_pretrained(folder)
    return folder


@cache
def tokenizer() -> Any:
    """A byte-level tokenizer that knows the turn tokens of every template."""
    from matinee.data.sources.tiny import make_tokenizer

    made = make_tokenizer()
    made.add_tokens(["<start_of_turn>", "<end_of_turn>"], special_tokens=True)
    return made


def random_rows(
    seed: int, count: int, *, prefix: int = 0, longest: int = 40, vocabulary: int = VOCABULARY
) -> list[MaskedIds]:
    """Rows of 2 to `longest` own tokens behind one of two common beginnings of `prefix` tokens.

    The last quarter of each row, and at least its last token, is supervised.
    """
    chance = random.Random(seed)
    beginnings = [[chance.randrange(3, vocabulary) for _ in range(prefix)] for _ in range(2)]
    rows = []
    for _ in range(count):
        own = chance.randint(2, longest)
        ids = chance.choice(beginnings) + [chance.randrange(3, vocabulary) for _ in range(own)]
        supervised = max(1, own // 4)
        rows.append((ids, [0] * (len(ids) - supervised) + [1] * supervised))
    return rows


def training(**changes: Any) -> Training:
    """Settings of a short training run in fp32."""
    values: dict[str, Any] = {
        "learning_rate": 0.01,
        "epochs": 1.0,
        "batch_size": 4,
        "gradient_accumulation": 2,
        "precision": "fp32",
        "logging_steps": 2,
        "save_steps": 1000,
    }
    return Training.model_validate(values | changes)
