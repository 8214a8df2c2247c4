"""Generation with a local model: shared prompt prefix, continuous batching, kept caches."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from matinee.engines.base import Completion, Reply, Request
from matinee.engines.constraining import Constrainer, Constraint
from matinee.engines.decoding import (
    DecodeLayout,
    DecodingSlot,
    PrefillLayout,
    PrefixLayout,
    SlotCache,
)
from matinee.engines.sampling import GREEDY, Chooser
from matinee.engines.slots import OwnCaches, own_caches
from matinee.messages.rendering import Renderer
from matinee.models.attention import Layout
from matinee.models.devices import Placement
from matinee.models.loading import load_model
from matinee.models.packing import MINIMUM_PREFIX, common_prefix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# New prompt tokens computed in one forward pass; bounds the memory of activations.
PREFILL_TOKENS = 2048


@dataclass
class Running:
    """A request that holds a slot. `chooser` is None where the likeliest token is taken."""

    request: Request
    number: int
    slot: DecodingSlot
    prompt: list[int]
    started: float
    cached: int
    chooser: Chooser | None
    written: list[int] = field(default_factory=list)


class TransformersEngine:
    """Answers requests with a model in this process, several conversations side by side."""

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        batch_size: int,
        constrainer: Constrainer | None = None,
    ) -> None:
        self._model = model.train(False)
        self._own = own_caches(model)
        self._renderer = renderer
        self._batch_size = batch_size
        self._constrainer = constrainer

    @classmethod
    def load(
        cls,
        folder: Path,
        template: str,
        placement: Placement,
        batch_size: int,
        constrained: bool = False,
        thinking: bool = False,
    ) -> TransformersEngine:
        """Loads model and tokenizer from a folder; see `load`."""
        model, renderer, constrainer = load(folder, template, placement, constrained, thinking)
        return cls(model, renderer, batch_size, constrainer)

    @property
    def form(self) -> str:
        """How the model is to write calls."""
        return self._renderer.form

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Answers each request and the further ones that `reply` returns."""
        import torch

        waiting = deque(requests)
        if not waiting:
            return
        with torch.inference_mode():
            run = GenerationRun(
                self._model, self._renderer, self._batch_size, reply, self._constrainer, self._own
            )
            run.share([self._prompt(request) for request in waiting])
            run.work(waiting, self._prompt)

    def _prompt(self, request: Request) -> list[int]:
        return self._renderer.prompt(request.messages, request.tools)


def load(
    folder: Path,
    template: str,
    placement: Placement,
    constrained: bool = False,
    thinking: bool = False,
) -> tuple[PreTrainedModel, Renderer, Constrainer | None]:
    """The model of a folder on its device, what spells its prompts, and what bounds its answers.

    `constrained`: calls can only be written so that they can be read. `thinking`: a model that can
    be asked to think before it answers is.
    """
    from transformers import AutoTokenizer

    model = load_model(folder, placement)
    renderer = Renderer(AutoTokenizer.from_pretrained(folder), template, thinking=thinking)
    vocabulary = model.config.get_text_config().vocab_size
    constrainer = Constrainer(renderer, renderer.form, vocabulary) if constrained else None
    return model, renderer, constrainer


class GenerationRun:
    """Slots, what they keep, and the steps in which their answers grow side by side."""

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        batch_size: int,
        reply: Reply,
        constrainer: Constrainer | None = None,
        own: OwnCaches | None = None,
    ) -> None:
        self._model = model
        self._own = own
        self._renderer = renderer
        self._constrainer = constrainer
        self._fitting: Constrainer | None = None
        self._reply = reply
        self._cache = SlotCache(batch_size)
        self._free = list(range(batch_size))
        self._prefix: list[int] = []
        self._context: int = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
        self._running: dict[int, Running] = {}

    def share(self, prompts: list[list[int]]) -> None:
        """Computes what all prompts begin with, once."""
        first, last = min(prompts), max(prompts)
        # All prompts share exactly what the lexicographically first and last one share. At least
        # one token of each prompt stays outside, because its logits choose the first new token.
        length = min(common_prefix(first, last), min(len(prompt) for prompt in prompts) - 1)
        if self._own is None and len(prompts) > 1 and length >= MINIMUM_PREFIX:
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
        fresh: list[Running] = []
        while waiting or self._running or fresh:
            while waiting and self._free:
                admitted = self._admit(waiting.popleft(), prompt_of)
                if admitted is not None:
                    fresh.append(self._open(*admitted, self._free.pop(0), None))
            if fresh:
                self._prefill(fresh)
                fresh = []
            elif self._running:  # none where the last prompts were too long to be admitted
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
        self, request: Request, prompt: list[int], number: int, kept: DecodingSlot | None
    ) -> Running:
        """A slot for the request that keeps what it can of the tokens computed before."""
        if self._own is not None:
            slot = DecodingSlot(0)
        elif kept is None:
            shared = min(common_prefix(self._prefix, prompt), len(prompt) - 1)
            slot = DecodingSlot(shared, prompt[:shared])
        else:
            same = min(common_prefix(kept.ids, prompt), len(prompt) - 1)
            slot = DecodingSlot(min(kept.shared, same), prompt[:same])
        kept_tokens = len(slot.ids)
        chooser = self._chooser(request)
        return Running(request, number, slot, prompt, time.perf_counter(), kept_tokens, chooser)

    def _chooser(self, request: Request) -> Chooser | None:
        constraint = self._constraint(request)
        if request.sampling == GREEDY and not request.must_call and constraint is None:
            return None
        openings = [self._renderer.call_opening(name) for name in request.must_call]
        return Chooser(request.sampling, openings, constraint)

    def _constraint(self, request: Request) -> Constraint | None:
        if request.schema:
            if self._fitting is None:
                vocabulary = self._model.config.get_text_config().vocab_size
                self._fitting = self._constrainer or Constrainer(
                    self._renderer, "hermes", vocabulary
                )
            return self._fitting.fitting(request.schema)
        return self._constrainer.answer(request.tools) if self._constrainer else None

    def _prefill(self, rows: list[Running]) -> None:
        """Computes the new prompt tokens of the rows, in passes of bounded size."""
        batch: list[Running] = []
        tokens = 0
        for row in rows:
            new = len(row.prompt) - len(row.slot.ids)
            if batch and tokens + new > PREFILL_TOKENS:
                self._prefill_together(batch)
                batch, tokens = [], 0
            batch.append(row)
            tokens += new
        self._prefill_together(batch)

    def _prefill_together(self, rows: list[Running]) -> None:
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
        if self._own is None:
            logits = self._forward(ids, positions, PrefillLayout(self._cache, parts), last)
        else:
            logits = self._own.logits([(row.number, row.prompt) for row in rows])
        for row, token in zip(rows, self._choose(rows, logits), strict=True):
            self._running[row.number] = row
            row.written.append(token)

    def _decode(self) -> None:
        """One more token for every running row."""
        rows = list(self._running.values())
        if self._own is not None:
            told = [(row.number, [*row.slot.ids, row.written[-1]]) for row in rows]
            return self._take(rows, self._own.logits(told))
        layout = DecodeLayout(
            self._cache, [(row.number, row.slot.shared, row.slot.own) for row in rows]
        )
        ids = [row.written[-1] for row in rows]
        positions = [len(row.slot.ids) for row in rows]
        self._take(rows, self._forward(ids, positions, layout, list(range(len(rows)))))

    def _take(self, rows: list[Running], logits: Tensor) -> None:
        """Each row's next token, chosen by its logits (rows, V)."""
        for row, token in zip(rows, self._choose(rows, logits), strict=True):
            row.slot.ids.append(row.written[-1])
            row.written.append(token)

    def _choose(self, rows: list[Running], logits: Tensor) -> list[int]:
        """The next token of each row, from logits (rows, V)."""
        likeliest = logits.argmax(dim=-1).tolist()
        return [
            best if row.chooser is None else row.chooser.choose(logits[place], row.written)
            for place, (row, best) in enumerate(zip(rows, likeliest, strict=True))
        ]

    def _ended(self, row: Running) -> bool:
        return (
            row.written[-1] in self._renderer.stop_ids
            or len(row.written) >= row.request.max_new_tokens
            or (bool(row.request.stop) and _first(row.request.stop, self._text(row)) is not None)
        )

    def _text(self, row: Running) -> str:
        """What was written so far, without the token that ended it."""
        stopped = row.written[-1] in self._renderer.stop_ids
        return str(self._renderer.tokenizer.decode(row.written[:-1] if stopped else row.written))

    def _finish(self, row: Running) -> Request | None:
        return self._reply(row.request, self._completion(row))

    def _completion(self, row: Running) -> Completion:
        text = self._text(row)
        cut = _first(row.request.stop, text)
        stopped = cut is not None or row.written[-1] in self._renderer.stop_ids
        return Completion(
            text=text[:cut],
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.written),
            finish="stop" if stopped else "length",
            seconds=time.perf_counter() - row.started,
            cached_tokens=row.cached,
        )

    def _forward(
        self, ids: list[int], positions: list[int], layout: Layout, keep: list[int]
    ) -> Tensor:
        """Logits (len(keep), V) after each position of the sequence named in `keep`."""
        import torch

        device = self._model.device

        def tensor(values: list[int]) -> Tensor:
            return torch.tensor(values, device=device)

        logits: Tensor = self._model(
            input_ids=tensor(ids)[None],
            position_ids=tensor(positions)[None],
            layout=layout,
            logits_to_keep=tensor(keep),
            use_cache=False,
        ).logits[0]
        return logits


def _first(stops: tuple[str, ...], text: str) -> int | None:
    """Where the first of the stop texts begins; None where there is none."""
    return min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)
