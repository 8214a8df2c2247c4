"""The published experiment: its steps and its adapter follow from config.yaml alone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tiny import training

from matinee.config import Configuration, Lora, Variant
from matinee.config.checking import parse_configuration
from matinee.messages.conversations import Conversation, Message, write_conversations
from matinee.messages.documents import open_document
from matinee.messages.rendering import silent_row
from matinee.models.packing import pack
from matinee.training.batching import EpochBatches
from matinee.training.trainer import lora_config

REPOSITORY = Path(__file__).resolve().parents[2]
QUESTIONS = ["Is it late?", "Is it late? " * 100, "Is it early?"]
# Rows of oaast_sft_zh, the only published data set of the base variant with fewer than 8,000.
OAAST_ROWS = 689


@cache
def configuration() -> Configuration:

    path = REPOSITORY / "config.yaml"
    if not path.exists():
        pytest.skip("config.yaml is not there")
    return parse_configuration(open_document(path).value, REPOSITORY)


def variants(model: str) -> list[Variant]:
    """The variants that start from the model of that repository name."""
    ids = {
        entry.id
        for entry in configuration().models
        if any(getattr(source, "repo", "").endswith(f"/{model}") for source in entry.sources)
    }
    return [variant for variant in configuration().variants if variant.model in ids]


def steps(variant: Variant, rows: int) -> int:
    settings = variant.training
    batches = EpochBatches(
        [[row] for row in range(rows)], settings.batch_size, settings.gradient_accumulation, 42
    )
    return int(len(batches) // settings.gradient_accumulation * settings.epochs)


def test_the_chat_variant_takes_the_published_steps() -> None:
    (variant,) = variants("Yi-6B-Chat")
    rows = sum(part.max_samples or 0 for part in variant.data)
    assert rows == 10_000
    assert steps(variant, rows) == 1875


def test_the_base_variant_takes_the_published_steps() -> None:
    (variant,) = variants("Yi-6B")
    assert [part.max_samples for part in variant.data] == [8000] * 4
    rows = 3 * 8000 + OAAST_ROWS
    assert steps(variant, rows) == 12_344


def test_a_row_that_is_too_long_keeps_its_place_in_a_step(tmp_path: Path) -> None:
    from matinee.config import RandomSource
    from matinee.config.parameters import TokenizeData
    from matinee.data.sources.tiny import make
    from matinee.data.tokens import read_tokens
    from matinee.stages.data import tokenize_data

    make(RandomSource(kind="random"), tmp_path / "model")
    file = tmp_path / "conversations.jsonl"
    messages = [(Message("user", words), Message("assistant", "Yes.")) for words in QUESTIONS]
    write_conversations(
        file, [Conversation(str(place), pair) for place, pair in enumerate(messages)]
    )
    output, facts = tmp_path / "tokens.parquet", tmp_path / "profile.json"
    told = TokenizeData(template="plain_action", cutoff_length=64)
    tokenize_data(told, file, tmp_path / "model", profile=facts, output=output)
    rows = read_tokens(output)
    assert len(rows) == len(QUESTIONS)
    assert [sum(mask) > 0 for _, mask in rows] == [True, False, True]
    assert json.loads(facts.read_text(encoding="utf-8"))["dropped"] == 1


def test_a_silent_row_adds_nothing_to_the_loss() -> None:
    row = silent_row("long", 5)
    packed = pack([([3, 4], [0, 1]), (row.ids, row.mask)], share=True)
    assert packed.targets == [4]
    assert packed.rows == 2


PUBLISHED = {
    "Yi-6B-Chat": {"learning_rate": 5e-4, "batch_size": 4, "epochs": 3},
    "Yi-6B": {"learning_rate": 5e-5, "batch_size": 1, "epochs": 2},
}


@pytest.mark.parametrize(("model", "expected"), PUBLISHED.items(), ids=PUBLISHED)
def test_settings_are_the_published_ones(model: str, expected: dict[str, Any]) -> None:
    (variant,) = variants(model)
    settings = variant.training
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.gradient_accumulation == 4
    assert settings.lora == Lora(r=8, alpha=16, dropout=0.0, target="all-linear")
    assert (settings.schedule, settings.warmup_steps, settings.weight_decay) == ("cosine", 0, 0)
    assert (settings.max_grad_norm, variant.cutoff_length) == (1.0, 1024)
    assert variant.seeds[0] == 42


def test_the_adapter_has_the_published_number_of_parameters() -> None:
    import peft
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
        adapted = peft.get_peft_model(model, lora_config(training()))  # type: ignore[arg-type]
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained == 18_153_472
