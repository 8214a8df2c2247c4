"""Every attention kernel computes what SDPA computes piece by piece; else it is not chosen."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import FAMILIES, gemma, llama, random_rows, training

from matinee.models import kernels
from matinee.models.attention import AttentionCall, PackedLayout, use_layouts
from matinee.models.devices import Placement
from matinee.models.kernels import Choice, FlexLayout, Heads, VarlenLayout, choose_kernel, trial
from matinee.models.packing import Group
from matinee.training.loss import collate, supervised_loss
from matinee.training.trainer import attention_kernel

ROWS = [Group(0, 0, (50,)), Group(50, 0, (1,)), Group(51, 0, (140,))]
SHARED = [Group(0, 40, (7, 1, 30)), Group(78, 0, (60,)), Group(138, 130, (5, 9))]
CUDA = Placement("cuda", "bf16", "test")
HEADS = Heads(queries=4, keys=2, size=16)


def states(groups: list[Group], *, keys: int = 2) -> list[Any]:
    import torch

    chance = torch.Generator().manual_seed(3)
    shapes = [(1, heads, groups[-1].end, 16) for heads in (4, keys, keys)]
    return [torch.randn(shape, generator=chance) for shape in shapes]


def attended(layout: Any, groups: list[Group], window: int | None, keys: int = 2) -> Any:
    return layout.attend(AttentionCall(0, *states(groups, keys=keys), scaling=0.3, window=window))


@pytest.fixture
def varlen_by_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's varlen kernel exists on CUDA only; this does what its documentation says."""
    import torch
    from torch.nn.attention import varlen

    def varlen_attn(
        query: Any, key: Any, value: Any, starts: Any, key_starts: Any, longest: int, _: int,
        *, scale: float, window_size: tuple[int, int], enable_gqa: bool,
    ) -> Any:  # fmt: skip
        assert starts.dtype == torch.int32
        assert starts is key_starts
        left, right = window_size
        assert right == 0
        pieces = []
        for start, end in zip(starts.tolist(), starts.tolist()[1:], strict=False):
            assert end - start <= longest
            places = torch.arange(end - start)
            distance = places[:, None] - places[None, :]
            seen = (distance >= 0) & ((distance <= left) | (left < 0))
            piece = torch.nn.functional.scaled_dot_product_attention(
                *(each[start:end].transpose(0, 1)[None] for each in (query, key, value)),
                attn_mask=seen, scale=scale, enable_gqa=enable_gqa,
            )  # fmt: skip
            pieces.append(piece[0].transpose(0, 1))
        return torch.cat(pieces)

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)


@pytest.fixture
def flex_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this FlexAttention refuses gradients on a CPU, although its plain form has them."""
    from torch.nn.attention import flex_attention

    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)


@pytest.mark.parametrize("window", [None, 1, 20])
@pytest.mark.parametrize("keys", [1, 2, 4])
@pytest.mark.parametrize("groups", [ROWS, SHARED], ids=["rows", "shared prefixes"])
def test_flex_attention_is_sdpa(groups: list[Group], window: int | None, keys: int) -> None:
    import torch

    expected = attended(PackedLayout(groups), groups, window, keys)
    torch.testing.assert_close(attended(FlexLayout(groups), groups, window, keys), expected)


@pytest.mark.usefixtures("varlen_by_its_contract")
@pytest.mark.parametrize("window", [None, 1, 20])
@pytest.mark.parametrize("keys", [2, 4])
def test_varlen_attention_is_sdpa(window: int | None, keys: int) -> None:
    import torch

    expected = attended(PackedLayout(ROWS), ROWS, window, keys)
    torch.testing.assert_close(attended(VarlenLayout(ROWS), ROWS, window, keys), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_models_loss_is_the_same_with_flex_attention(family: str) -> None:
    import torch

    model = FAMILIES[family]()
    use_layouts(model)
    batch = collate(random_rows(7, 6, prefix=40), "shared_prefix", pad=2)
    assert any(len(group.branches) > 1 for group in batch["groups"])
    with torch.no_grad():
        losses = [supervised_loss(model, batch, None, kernel) for kernel in ("flex", "sdpa")]
    torch.testing.assert_close(*losses)


def test_a_mask_is_made_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = kernels.block_mask
    monkeypatch.setattr(kernels, "block_mask", lambda *a: made.append(a[1]) or real(*a))
    layout = FlexLayout(SHARED)
    for layer, window in enumerate([None, 20, None, 20]):
        layout.attend(AttentionCall(layer, *states(SHARED), scaling=0.3, window=window))
    assert made == [None, 20]


@pytest.mark.usefixtures("flex_gradients", "varlen_by_its_contract")
@pytest.mark.parametrize("kernel", ["flex", "varlen"])
def test_the_trial_passes_a_kernel_with_the_same_output_and_gradient(kernel: Any) -> None:
    import torch

    assert trial(kernel, HEADS, "cpu", torch.float32) is None


def test_the_trial_tells_why_a_kernel_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("not on this device")

    monkeypatch.setattr(kernels, "_flex", lambda _: refuse)
    problem = trial("flex", HEADS, "cpu", torch.float32)
    assert problem == "NotImplementedError: not on this device"


@pytest.mark.usefixtures("flex_gradients")
def test_the_trial_finds_a_kernel_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    real = kernels.block_mask
    monkeypatch.setattr(kernels, "block_mask", lambda groups, _, device: real(groups, 30, device))
    problem = trial("flex", HEADS, "cpu", torch.float32)
    assert problem is not None
    assert "differs from SDPA by" in problem


def test_without_cuda_it_is_sdpa() -> None:
    placement = Placement("cpu", "fp32", "test")
    assert choose_kernel(placement, "plain", HEADS, 0.0) == Choice("sdpa", "no CUDA device")


@pytest.mark.parametrize(
    ("packing", "broken", "kernel"),
    [
        ("plain", [], "varlen"),
        ("plain", ["varlen"], "flex"),
        ("plain", ["varlen", "flex"], "sdpa"),
        ("shared_prefix", [], "flex"),
        ("shared_prefix", ["flex"], "sdpa"),
    ],
)
def test_on_cuda_it_is_the_first_that_passes(
    monkeypatch: pytest.MonkeyPatch, packing: str, broken: list[str], kernel: str
) -> None:
    monkeypatch.setattr(
        kernels, "trial", lambda tried, *_: "no such kernel" if tried in broken else None
    )
    choice = choose_kernel(CUDA, packing, HEADS, 0.0)
    assert choice.kernel == kernel
    for name in broken:
        assert f"{name}: no such kernel" in choice.reason


def test_attention_weights_are_dropped_by_sdpa_alone() -> None:
    choice = choose_kernel(CUDA, "plain", HEADS, 0.1)
    assert choice.kernel == "sdpa"
    assert "drops attention weights" in choice.reason


def test_the_heads_are_those_of_the_model() -> None:
    assert Heads.of(llama().config) == Heads(queries=4, keys=2, size=8)
    assert Heads.of(gemma().config) == Heads(queries=4, keys=1, size=8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"packing": "none"}, "padded rows"), ({"attention": "sdpa"}, "asked for")],
)
def test_what_is_asked_for_is_not_tried(changes: dict[str, str], reason: str) -> None:
    choice = attention_kernel(llama(), training(**changes), CUDA)
    assert choice.kernel == "sdpa"
    assert reason in choice.reason
