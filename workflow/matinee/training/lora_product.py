"""LoRA layers on a CPU: the branch is added by the matrix product that computes it.

peft computes y = x Wᵀ and s (x Aᵀ) Bᵀ, each as wide as the layer, and adds them; the backward pass
does the same with their gradients. On a CPU those passes over memory take longer than the branch's
arithmetic. Here `addmm` accumulates the branch into y, and its gradient into that of x.
Imports torch at the top: only a training process imports this module.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor


def use_lora_products(model: Any, dtype: torch.dtype = torch.float32) -> int:
    """Makes the LoRA layers of an fp32 peft model compute so; returns how many do.

    `dtype`: of the frozen weights and their products, those of layers without an adapter too, but
    for the head; sums, activations and the adapter stay in fp32. Layers that are quantised or not
    in fp32, with dropout, DoRA, a trained bias, or more than one adapter are left as they are.
    """
    from peft.tuners.lora import Linear

    modules: list[Any] = [module for module in model.modules() if type(module) is Linear]
    chosen = [module for module in modules if _is_plain(module)]
    for module in chosen:
        module.forward = _Forward(module)
        module.base_layer.weight.data = module.base_layer.weight.data.to(dtype)
    if dtype != torch.float32:
        left = {*(module.base_layer for module in modules), model.get_output_embeddings()}
        for module in model.modules():
            if module not in left and _is_frozen(module):
                module.weight.data = module.weight.data.to(dtype)
                module.forward = partial(_frozen_product, module)
    return len(chosen)


def _is_frozen(module: Any) -> bool:
    return type(module) is torch.nn.Linear and not any(
        parameter.requires_grad or parameter.dtype != torch.float32
        for parameter in module.parameters()
    )


def _frozen_product(module: torch.nn.Linear, x: Tensor) -> Tensor:
    """x Wᵀ + b in fp32, the product in the weight's type."""
    y = torch.nn.functional.linear(x.to(module.weight.dtype), module.weight).float()
    return y if module.bias is None else y + module.bias


def _is_plain(module: Any) -> bool:
    names = list(module.lora_A)
    if len(names) != 1 or names != list(module.active_adapters) or module.lora_variant:
        return False
    base, down, up = module.base_layer, module.lora_A[names[0]], module.lora_B[names[0]]
    return (
        type(base) is torch.nn.Linear
        and type(module.lora_dropout[names[0]]) is torch.nn.Identity
        and down.bias is None
        and up.bias is None
        and not any(parameter.requires_grad for parameter in base.parameters())
        and {part.weight.dtype for part in (base, down, up)} == {torch.float32}
    )


class _Forward:
    """Stands in for a layer's `forward`; calls that it was not made for go to peft's own."""

    def __init__(self, module: Any) -> None:
        (self._name,) = module.lora_A
        self._module = module
        self._peft = module.forward

    def __call__(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        module, name = self._module, self._name
        plain = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        if arguments or options or not plain or module.disable_adapters or module.merged:
            return self._peft(x, *arguments, **options)  # type: ignore[no-any-return]
        base, down, up = module.base_layer, module.lora_A[name].weight, module.lora_B[name].weight
        flat = x.reshape(-1, x.shape[-1])
        y = lora_product(flat, base.weight, base.bias, down, up, module.scaling[name])
        return y.view(*x.shape[:-1], y.shape[-1])


def lora_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
) -> Tensor:
    """x Wᵀ + b + s (x Aᵀ) Bᵀ, (L, O), with gradients for x, A and B.

    `x`: (L, I). `weight`: (O, I) and `bias`: (O), both frozen; with a weight in bf16 x Wᵀ and its
    gradient are products in bf16. `down`: A, (r, I). `up`: B, (O, r).
    """
    product: Tensor = _LoraProduct.apply(x, weight, bias, down, up, scale)  # type: ignore[no-untyped-call]
    return product


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        # A product with a narrow result is up to five times as fast where its long side lies
        # along the rows, hence the transposes.
        narrow = (down @ x.t()).t()
        if weight.dtype == x.dtype:
            y = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
        else:
            x = x.to(weight.dtype)
            y = (x @ weight.t()).float()
            y = y if bias is None else y.add_(bias)
        y.addmm_(narrow, up.t(), alpha=scale)
        ctx.save_for_backward(x, narrow, weight, down, up)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *outgoing: Tensor) -> tuple[Tensor | None, ...]:
        x, narrow, weight, down, up = ctx.saved_tensors
        (dy,) = outgoing
        dnarrow = (up.t().contiguous() @ dy.t()).mul_(ctx.scale).t()
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy.to(weight.dtype) @ weight).float().addmm_(dnarrow, down)
        ddown = dnarrow.t() @ x.float()
        dup = (narrow.t() @ dy).mul_(ctx.scale).t()
        return dx, None, None, ddown, dup, None
