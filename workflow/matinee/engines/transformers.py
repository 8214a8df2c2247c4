"""Greedy generation with a local model: shared prompt prefix, continuous batching, kept caches."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.attention import Layout, use_layouts
from matinee.devices import Placement
from matinee.engines.base import Completion, Reply, Request
from matinee.engines.decoding import (
    DecodeLayout,
    PrefillLayout,
    PrefixLayout,
    Slot,
    SlotCache,
)
from matinee.packing import MINIMUM_PREFIX, common_prefix
from matinee.rendering import Renderer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# New prompt tokens computed in one forward pass; bounds the memory of activations.
PREFILL_TOKENS = 2048


@dataclass
class _Running:
    """A request that holds a slot."""

    request: Request
    number: int
    slot: Slot
    prompt: list[int]
    started: float
    written: list[int] = field(default_factory=list)


class TransformersEngine:
    """Answers requests with a model in this process, several conversations side by side."""

    def __init__(self, model: PreTrainedModel, renderer: Renderer, batch_size: int) -> None:
        self._model = model.train(False)
        use_layouts(model)
        self._renderer = renderer
        self._batch_size = batch_size

    @classmethod
    def load(
        cls, folder: Path, template: str, placement: Placement, batch_size: int
    ) -> TransformersEngine:
        """Loads model and tokenizer from a folder."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=placement.dtype)
        renderer = Renderer(AutoTokenizer.from_pretrained(folder), template)
        return cls(model.to(placement.device), renderer, batch_size)

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Answers each request and the further ones that `reply` returns."""
        import torch

        waiting = deque(requests)
        if not waiting:
            return
        with torch.inference_mode():
            run = _Run(self._model, self._renderer, self._batch_size, reply)
            run.share([self._prompt(request) for request in waiting])
            run.work(waiting, self._prompt)

    def _prompt(self, request: Request) -> list[int]:
        return self._renderer.prompt(request.messages, request.tools)


class _Run:
    """The state of one `serve`."""

    def __init__(
        self, model: PreTrainedModel, renderer: Renderer, batch_size: int, reply: Reply
    ) -> None:
        self._model = model
        self._renderer = renderer
        self._reply = reply
        self._cache = SlotCache(batch_size)
        self._free = list(range(batch_size))
        self._prefix: list[int] = []
        self._context: int = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
        self._running: dict[int, _Running] = {}

    def share(self, prompts: list[list[int]]) -> None:
        """Computes what all prompts begin with, once."""
        first, last = min(prompts), max(prompts)
        # All prompts share exactly what the lexicographically first and last one share. At least
        # one token of each prompt stays outside, because its logits choose the first new token.
        length = min(common_prefix(first, last), min(len(prompt) for prompt in prompts) - 1)
        if len(prompts) > 1 and length >= MINIMUM_PREFIX:
            self._prefix = first[:length]
            self._forward(
                self._prefix, list(range(length)), PrefixLayout(self._cache), [length - 1]
            )

    def work(
        self,
        waiting: deque[Request],
        prompt_of: Callable[[Request], list[int]],
    ) -> None:
        """Runs until no request is left."""
        fresh: list[_Running] = []
        while waiting or self._running or fresh:
            while waiting and self._free:
                admitted = self._admit(waiting.popleft(), prompt_of)
                if admitted is not None:
                    fresh.append(self._open(*admitted, self._free.pop(0), None))
            if fresh:
                self._prefill(fresh)
                fresh = []
            else:
                self._decode()
            for row in [row for row in self._running.values() if self._ended(row)]:
                del self._running[row.number]
                following = self._admit(self._finish(row), prompt_of)
                if following is None:
                    self._free.append(row.number)
                else:
                    fresh.append(self._open(*following, row.number, row.slot))

    def _admit(
        self, request: Request | None, prompt_of: Callable[[Request], list[int]]
    ) -> tuple[Request, list[int]] | None:
        """The request with its prompt; one that fills the model's context is answered at once."""
        while request is not None:
            prompt = prompt_of(request)
            if len(prompt) + request.max_new_tokens <= self._context:
                return request, prompt
            full = Completion("", len(prompt), 0, "length", 0.0)
            request = self._reply(request, full)
        return None

    def _open(
        self, request: Request, prompt: list[int], number: int, kept: Slot | None
    ) -> _Running:
        """A slot for the request that keeps what it can of the tokens computed before."""
        if kept is None:
            shared = min(common_prefix(self._prefix, prompt), len(prompt) - 1)
            slot = Slot(shared, prompt[:shared])
        else:
            same = min(common_prefix(kept.ids, prompt), len(prompt) - 1)
            slot = Slot(min(kept.shared, same), prompt[:same])
        return _Running(request, number, slot, prompt, time.perf_counter())

    def _prefill(self, rows: list[_Running]) -> None:
        """Computes the new prompt tokens of the rows, in passes of bounded size."""
        batch: list[_Running] = []
        tokens = 0
        for row in rows:
            new = len(row.prompt) - len(row.slot.ids)
            if batch and tokens + new > PREFILL_TOKENS:
                self._prefill_together(batch)
                batch, tokens = [], 0
            batch.append(row)
            tokens += new
        self._prefill_together(batch)

    def _prefill_together(self, rows: list[_Running]) -> None:
        ids: list[int] = []
        positions: list[int] = []
        parts: list[tuple[int, int, int, int]] = []
        last: list[int] = []
        for row in rows:
            known = len(row.slot.ids)
            new = row.prompt[known:]
            parts.append((row.number, row.slot.shared, row.slot.own, len(new)))
            ids += new
            positions += range(known, len(row.prompt))
            last.append(len(ids) - 1)
            row.slot.ids = list(row.prompt)
        chosen = self._forward(ids, positions, PrefillLayout(self._cache, parts), last)
        for row, token in zip(rows, chosen, strict=True):
            self._running[row.number] = row
            row.written.append(token)

    def _decode(self) -> None:
        """One more token for every running row."""
        import torch

        rows = list(self._running.values())
        device = self._model.device
        kept = [row.slot.own for row in rows]
        layout = DecodeLayout(
            self._cache,
            torch.tensor([row.number for row in rows], device=device),
            torch.tensor([row.slot.shared for row in rows], device=device),
            torch.tensor(kept, device=device),
            max(kept),
        )
        ids = [row.written[-1] for row in rows]
        positions = [len(row.slot.ids) for row in rows]
        chosen = self._forward(ids, positions, layout, list(range(len(rows))))
        for row, token in zip(rows, chosen, strict=True):
            row.slot.ids.append(row.written[-1])
            row.written.append(token)

    def _ended(self, row: _Running) -> bool:
        return (
            row.written[-1] in self._renderer.stop_ids
            or len(row.written) >= row.request.max_new_tokens
        )

    def _finish(self, row: _Running) -> Request | None:
        stopped = row.written[-1] in self._renderer.stop_ids
        text = self._renderer.tokenizer.decode(row.written[:-1] if stopped else row.written)
        return self._reply(
            row.request,
            Completion(
                text=str(text),
                prompt_tokens=len(row.prompt),
                completion_tokens=len(row.written),
                finish="stop" if stopped else "length",
                seconds=time.perf_counter() - row.started,
            ),
        )

    def _forward(
        self, ids: list[int], positions: list[int], layout: Layout, keep: list[int]
    ) -> list[int]:
        """The most likely next token after each position of the sequence named in `keep`."""
        import torch

        device = self._model.device

        def tensor(values: list[int]) -> Tensor:
            return torch.tensor(values, device=device)

        logits = self._model(
            input_ids=tensor(ids)[None],
            position_ids=tensor(positions)[None],
            layout=layout,
            logits_to_keep=tensor(keep),
            use_cache=False,
        ).logits[0]
        return [int(token) for token in logits.argmax(dim=-1)]
