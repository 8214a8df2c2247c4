"""Whether our attention computes a model rightly, tried on a few tokens in the precision used.

Layers that keep a state of their own (recurrent, convolutional) never ask a layout, so that rows
which lie side by side flow into one another; others need what our attention lacks. Such models are
computed by transformers' own means instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from matinee.models.attention import PackedLayout, use_layouts
from matinee.models.packing import Group

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Share of the largest logit by which two ways of computing may differ, and by which a row may
# change when another row does: nothing but rounding, and in 16 bits experts that are grouped anew.
AGREEMENT = {"float32": 1e-4, "float64": 1e-6, "bfloat16": 5e-2, "float16": 2e-2}
LEAK = {"float32": 1e-6, "float64": 1e-9, "bfloat16": 5e-3, "float16": 2e-3}


def lend_layouts(model: PreTrainedModel) -> str | None:
    """Lends the model our attention; what speaks against it, where the model was left as it was.

    Two rows with a common prefix, and a third, are computed side by side and each alone.
    """
    rows = sample_rows(model)
    expected = [forward(model, row) for row in rows]

    def side_by_side(first: list[int], second: list[int], third: list[int]) -> list[Tensor]:
        ids = [*first, *second[4:], *third]
        groups = [Group(0, 4, (len(first) - 4, len(second) - 4)), Group(14, 0, (len(third),))]
        positions = [*range(len(first)), *range(4, len(second)), *range(len(third))]
        logits = forward(model, ids, positions, layout=PackedLayout(groups))
        return [logits[:9], logits[9:14], logits[14:]]

    with attention_kept(model) as keep:
        try:
            use_layouts(model)
            computed = side_by_side(rows[0], rows[1], rows[2])
            # A state that is carried on is seen behind the rows that it comes from.
            others = [[token + 1 for token in row] for row in rows]
            before = side_by_side(rows[0], rows[1], others[2])
            behind = side_by_side(others[0], others[1], rows[2])
        # Whatever an architecture raises, transformers' own way is left.
        except Exception as error:  # noqa: BLE001
            return first_line(error)
        problem = compare(model, computed, [expected[0], expected[1][4:], expected[2]])
        unmoved = [*before[:2], behind[2]]
        leak = max(_difference(*pair) for pair in zip(unmoved, computed, strict=True))
        if problem is None and leak > LEAK[_precision(model)]:
            problem = f"a row changes by {leak:.1e} of its logits with the rows beside it"
        if problem is None:
            keep()
        return problem


def padded_problem(model: PreTrainedModel) -> str | None:
    """What speaks against padding rows to one length, by transformers' own attention."""
    rows = sample_rows(model)
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=model.device)
    mask = torch.tensor(
        [[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device
    )
    try:
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    except Exception as error:  # noqa: BLE001
        return first_line(error)
    computed = [one[: len(row)] for one, row in zip(logits, rows, strict=True)]
    return compare(model, computed, [forward(model, row) for row in rows])


def sample_rows(model: PreTrainedModel) -> list[list[int]]:
    """Three short rows of token ids; the first two have four tokens in common."""
    vocabulary = min(int(model.config.get_text_config().vocab_size), 20_000) - 2
    drawn = [1 + (number * 7919 + 13) % vocabulary for number in range(20)]
    return [drawn[:9], drawn[:4] + drawn[9:14], drawn[14:]]


def forward(
    model: PreTrainedModel, ids: Sequence[int], positions: Sequence[int] | None = None, **more: Any
) -> Tensor:
    """Logits (tokens, V) of one sequence."""
    if positions is not None:
        more["position_ids"] = torch.tensor([positions], device=model.device)
    with torch.no_grad():
        asked = torch.tensor([list(ids)], device=model.device)
        logits: Tensor = model(input_ids=asked, use_cache=False, **more).logits[0]
    return logits


def compare(
    model: PreTrainedModel, computed: Sequence[Tensor], expected: Sequence[Tensor]
) -> str | None:
    """What is wrong with computed logits, in a few words."""
    difference = max(_difference(*pair) for pair in zip(computed, expected, strict=True))
    if difference <= AGREEMENT[_precision(model)]:
        return None
    return f"differs by {difference:.1e} of the largest logit from transformers' own"


def _difference(one: Tensor, other: Tensor) -> float:
    difference = (one.float() - other.float()).abs().max() / other.float().abs().max()
    # Not a number is as far away as can be.
    return float(difference) if bool(difference.isfinite()) else float("inf")


def _precision(model: PreTrainedModel) -> str:
    return str(model.dtype).removeprefix("torch.")


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


@contextmanager
def attention_kept(model: PreTrainedModel) -> Iterator[Callable[[], None]]:
    """In evaluation; afterwards as before, and so is the attention, unless `keep` was called."""
    training, before = model.training, model.config._attn_implementation
    kept: list[bool] = []
    model.train(False)
    try:
        yield lambda: kept.append(True)
    finally:
        model.train(training)
        if not kept:
            model.config._attn_implementation = before
