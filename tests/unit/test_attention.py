"""Packing changes time only: loss and gradient are those of one row at a time, in float64."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, WINDOW, random_rows, training

from matinee.models.attention import use_layouts
from matinee.models.packing import MaskedIds
from matinee.runtime.errors import EngineError
from matinee.training.lora_product import use_lora_products
from matinee.training.loss import collate, release_head, supervised_loss
from matinee.training.trainer import lora_config

PACKINGS = ["none", "plain", "shared_prefix"]
TOLERANCE = 1e-5


def adapted(family: str, *, layouts: bool, double: bool = False) -> Any:
    """A tiny model with an adapter that already does something, the same for every call."""
    import peft
    import torch

    model = FAMILIES[family]()
    if layouts:
        use_layouts(model)
    adapted = peft.get_peft_model(model, lora_config(training()))
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=chance) * 0.1)
    return adapted.double() if double else adapted


def gradients(model: Any) -> Any:
    import torch

    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


def reference(family: str, rows: list[MaskedIds]) -> tuple[float, Any]:
    """Summed loss and adapter gradient: transformers' own attention, row by row, in float64."""
    import torch
    from torch.nn.functional import cross_entropy

    model = adapted(family, layouts=False, double=True)
    total = torch.zeros((), dtype=torch.float64)
    for ids, mask in rows:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        chosen = [place for place in range(1, len(ids)) if mask[place]]
        targets = torch.tensor([ids[place] for place in chosen])
        before = torch.tensor([place - 1 for place in chosen])
        total = total + cross_entropy(logits[before], targets, reduction="sum")
    total.backward()
    return float(total), gradients(model)


def ours(
    family: str, rows: list[MaskedIds], packing: str, *, head: bool = True
) -> tuple[float, Any]:
    """The same as training computes it, in float32."""
    model = adapted(family, layouts=packing != "none")
    assert use_lora_products(model)
    weight = release_head(model.get_base_model()) if head else None
    loss = supervised_loss(model, collate(rows, packing, pad=2), weight).sum()
    loss.backward()
    return float(loss), gradients(model)


def assert_same(family: str, rows: list[MaskedIds], packing: str, **options: Any) -> None:
    expected, expected_gradient = reference(family, rows)
    loss, gradient = ours(family, rows, packing, **options)
    assert loss == pytest.approx(expected, rel=TOLERANCE)
    assert (gradient - expected_gradient).norm() <= TOLERANCE * expected_gradient.norm()


@pytest.mark.parametrize("head", [True, False], ids=["head released", "head on the model"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_equal_those_of_single_rows(
    family: str, packing: str, head: bool
) -> None:
    rows = random_rows(11, 6, prefix=40, longest=30)
    assert max(len(ids) for ids, _ in rows) > 4 * WINDOW
    assert_same(family, rows, packing, head=head)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    family=st.sampled_from(sorted(FAMILIES)),
    packing=st.sampled_from(PACKINGS),
    prefix=st.sampled_from([0, 33, 60]),
)
def test_for_any_rows(seed: int, family: str, packing: str, prefix: int) -> None:
    assert_same(family, random_rows(seed, 5, prefix=prefix, longest=20), packing)


def test_a_row_without_a_supervised_token_adds_nothing() -> None:
    rows = random_rows(3, 2)
    silent = (list(range(10, 20)), [0] * 10)
    for packing in PACKINGS:
        loss, gradient = ours("llama", [*rows, silent], packing)
        expected, expected_gradient = ours("llama", rows, packing)
        assert loss == pytest.approx(expected, rel=TOLERANCE)
        assert (gradient - expected_gradient).norm() <= TOLERANCE * expected_gradient.norm()


def test_an_architecture_that_needs_more_than_the_layout_is_refused() -> None:
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    model = Gemma2ForCausalLM(config)
    use_layouts(model)
    with pytest.raises(EngineError, match="softcap"):
        model(input_ids=torch.tensor([[3, 4]]), layout=None, use_cache=False)
