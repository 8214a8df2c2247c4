"""Whether our caches fit a model, and one cache of transformers' own each where they do not."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from matinee.engines.decoding import DecodeLayout, PrefillLayout, PrefixLayout, SlotCache
from matinee.models.selfcheck import (
    attention_kept,
    compare,
    first_line,
    forward,
    lend_layouts,
    sample_rows,
)
from matinee.runtime import progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def lend_slots(model: PreTrainedModel) -> str | None:
    """Lends the model our attention for answering; what speaks against it, where it was left.

    Beside what training needs, a prefix, two conversations, and a new token for each are tried.
    """
    with attention_kept(model) as keep:
        rows = sample_rows(model)[:2]
        expected = [forward(model, row)[-1] for row in rows]
        problem = lend_layouts(model)
        if problem is None:
            try:
                problem = compare(model, list(_decoded(model, rows)), expected)
            except Exception as error:  # noqa: BLE001
                problem = first_line(error)
        if problem is None:
            keep()
        return problem


def _decoded(model: PreTrainedModel, rows: list[list[int]]) -> Tensor:
    """Logits (2, V) behind two rows that have four tokens in common, by our cache."""
    cache = SlotCache(2)
    forward(model, rows[0][:4], range(4), layout=PrefixLayout(cache))
    parts = [(number, 4, 0, len(row) - 5) for number, row in enumerate(rows)]
    places = [place for row in rows for place in range(4, len(row) - 1)]
    ids = [token for row in rows for token in row[4:-1]]
    forward(model, ids, places, layout=PrefillLayout(cache, parts))
    kept = [(number, 4, len(row) - 5) for number, row in enumerate(rows)]
    places, ids = [len(row) - 1 for row in rows], [row[-1] for row in rows]
    return forward(model, ids, places, layout=DecodeLayout(cache, kept))


def own_caches(model: PreTrainedModel) -> OwnCaches | None:
    """None where the model was lent our attention; else what answers without it, told in a line."""
    problem = lend_slots(model)
    if problem is None:
        return None
    progress.say(
        f"! {model.config.model_type}: {problem}. Answers are computed by transformers' own "
        "attention, one conversation after the other and each prompt in full: slower, and right."
    )
    return OwnCaches(model)


class OwnCaches:
    """Answers of several conversations, each with a cache that transformers made for the model.

    A cache is used for one new token after another. Some layers' states cannot go on with several
    tokens at once, and none can be taken back, so a new prompt is computed from its beginning.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._kept: dict[int, tuple[list[int], Any]] = {}
        takes = inspect.signature(model.forward).parameters
        self._last: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def logits(self, slots: Sequence[tuple[int, list[int]]]) -> Tensor:
        """Logits (slots, V) behind all tokens of each conversation, given by its slot."""
        return torch.stack([self._after(number, ids) for number, ids in slots])

    def _after(self, number: int, ids: list[int]) -> Tensor:
        known, cache = self._kept.pop(number, ([], None))
        if cache is None or known != ids[:-1]:
            cache, known = None, []
        new = torch.tensor([ids[len(known) :]], device=self._model.device)
        out = self._model(input_ids=new, past_key_values=cache, use_cache=True, **self._last)
        self._kept[number] = (list(ids), out.past_key_values)
        logits: Tensor = out.logits[0, -1]
        return logits
