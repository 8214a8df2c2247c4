"""Parts of a micro-batch side by side on a CPU, each in a thread of its own.

Two threads within each operation do not halve the time of a small model's step: every operation
ends with one thread waiting for the other, and what is short runs on one. Rows are independent of
each other, so the parts of a step are computed at the same time instead, with one thread each.
Imports torch at the top: only a training process imports this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class SideBySide:
    """Computes the summed loss of several parts, and its gradient, in `lanes` threads at once."""

    def __init__(self, lanes: int, parameters: Sequence[Tensor]) -> None:
        self._lanes = lanes
        self._parameters = tuple(parameters)
        # Kept over all steps: what torch sets up for a thread is set up once.
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="side-by-side")

    def sum(self, losses: Sequence[Callable[[], Tensor]]) -> Tensor:
        """The sum of all losses of the parts, a scalar whose gradient is computed with it.

        Parts are begun in the order given, so the longest should come first; they are added in
        that order too, whichever ends first, so that a run can be repeated to the bit.
        """
        return _Sum.apply(lambda: self._compute(losses), *self._parameters)  # type: ignore[no-any-return,no-untyped-call]

    def _compute(self, losses: Sequence[Callable[[], Tensor]]) -> tuple[Tensor, list[Tensor]]:
        with _threads_each(self._lanes):
            parts = deque(self._threads.submit(self._with_gradient, loss) for loss in losses)
            try:
                total, gradients = parts.popleft().result()
                while parts:
                    # Taken out, so that the part's gradient is not kept until the end of the step.
                    loss, more = parts.popleft().result()
                    total = total + loss
                    for mine, theirs in zip(gradients, more, strict=True):
                        mine.add_(theirs)
            finally:
                # After an error nothing may go on computing beside the next attempt.
                for part in parts:
                    part.cancel()
                wait(parts)
        return total, gradients

    def _with_gradient(self, loss: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
        value = loss().sum()
        gradients = torch.autograd.grad(value, self._parameters, materialize_grads=True)
        return value.detach(), [gradient.contiguous() for gradient in gradients]


@contextmanager
def _threads_each(lanes: int) -> Iterator[None]:
    """Divides torch's threads among the lanes, for as long as they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // lanes))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Sum(torch.autograd.Function):
    """Hands gradients that exist already to autograd, so that Trainer finds nothing unusual."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[[], tuple[Tensor, list[Tensor]]], *_: Tensor) -> Tensor:
        total, gradients = compute()
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *outgoing: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(gradient * outgoing[0] for gradient in ctx.saved_tensors)
