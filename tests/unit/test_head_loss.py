"""The loss without logits is cross-entropy, and its gradient that of cross-entropy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from matinee.training import loss as module
from matinee.training.loss import CPU_COLUMNS, head_loss

VOCABULARY = 2 * CPU_COLUMNS + 77


def drawn(scale: float = 1.0, dtype: Any = torch.float32) -> tuple[torch.Tensor, ...]:
    chance = torch.Generator().manual_seed(0)
    hidden = torch.randn(9, 16, generator=chance) * scale
    weight = torch.randn(VOCABULARY, 16, generator=chance).to(dtype)
    targets = torch.randint(VOCABULARY, (9,), generator=chance)
    # The ends of the blocks, and a target in each.
    targets[:4] = torch.tensor([0, CPU_COLUMNS - 1, CPU_COLUMNS, VOCABULARY - 1])
    return hidden.requires_grad_(), weight, targets


def assert_is_cross_entropy(hidden: torch.Tensor, *rest: torch.Tensor, rel: float = 1e-5) -> None:
    weight, targets = rest
    outgoing = torch.linspace(0.1, 2, len(targets))
    losses = head_loss(hidden, weight, targets)
    (losses * outgoing).sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    leaf = hidden.detach().double().requires_grad_()
    expected = cross_entropy(leaf @ weight.double().t(), targets, reduction="none")
    (expected * outgoing).sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    torch.testing.assert_close(losses.double(), expected, rtol=rel, atol=rel)
    distance = (hidden.grad - leaf.grad).norm() / leaf.grad.norm()
    assert distance < rel


@pytest.mark.parametrize("scale", [0.01, 1.0, 60.0], ids=["flat", "usual", "far over exp's range"])
def test_loss_and_gradient(scale: float) -> None:
    assert_is_cross_entropy(*drawn(scale))


def test_half_precision_heads_sum_in_full() -> None:
    hidden, weight, targets = drawn(dtype=torch.bfloat16)
    states = hidden.detach().to(torch.bfloat16).float().requires_grad_()
    assert_is_cross_entropy(states, weight, targets, rel=2e-2)


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, targets = drawn()
    expected = head_loss(hidden, weight, targets)
    for columns in (1, 100, VOCABULARY, 10 * VOCABULARY):
        monkeypatch.setattr(module, "CPU_COLUMNS", columns)
        torch.testing.assert_close(head_loss(hidden, weight, targets), expected)


def test_a_logit_that_is_no_number_is_not_hidden() -> None:
    hidden, weight, targets = drawn()
    weight[5, 3] = float("nan")
    assert head_loss(hidden, weight, targets).isnan().all()
