"""Generation with a local model: shared prompt prefix, continuous batching, kept caches."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from matinee.engines.base import (
    Completion,
    Event,
    Failure,
    Listener,
    Reply,
    Request,
    Ticket,
    TooLong,
    Written,
)
from matinee.engines.constraining import Constrainer, GrammarError
from matinee.engines.decoding import (
    DecodeLayout,
    DecodingSlot,
    PrefillLayout,
    PrefixLayout,
    SlotCache,
)
from matinee.engines.sampling import GREEDY, Chooser, ThoughtLimit
from matinee.engines.slots import own_caches
from matinee.messages.conversations import canonical_json
from matinee.messages.rendering import Renderer
from matinee.models.attention import Layout
from matinee.models.devices import Placement
from matinee.models.loading import load_model
from matinee.models.packing import MINIMUM_PREFIX, common_prefix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

LOG = logging.getLogger(__name__)
# New prompt tokens from which on no further prompt joins a pass; bounds what activations take.
PREFILL_TOKENS = 2048
# The beginnings of so many requests are looked at to see which one is worth keeping.
REMEMBERED = 32


@dataclass
class Work:
    """What an engine has done so far: requests ended, steps, tokens, and the most side by side.

    `shared`: tokens of the beginning that is kept once for all.
    """

    requests: int = 0
    steps: int = 0
    tokens: int = 0
    widest: int = 0
    shared: int = 0


class TransformersEngine:
    """Answers requests with a model in this process, several conversations side by side.

    `batch_size`: answers that grow side by side; further requests wait. `context`: the most tokens
    of prompt and answer together; the model's own limit where that is smaller. `constrainer`:
    calls can only be spelled so that they can be read. `thinking`: after so many tokens thoughts
    are closed; None for no limit, 0 where there are none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        batch_size: int,
        context: int = sys.maxsize,
        constrainer: Constrainer | None = None,
        thinking: int | None = 0,
    ) -> None:
        self.thinking = thinking
        self.model = model.train(False)
        self.renderer = renderer
        self.batch_size = batch_size
        own = getattr(model.config, "max_position_embeddings", None)
        self.context = min(context, own or sys.maxsize)
        self.constrainer = constrainer
        self.own_caches = own_caches(model)
        self.work = Work()

    @classmethod
    def load(
        cls,
        folder: Path,
        template: str,
        placement: Placement,
        batch_size: int,
        context: int = sys.maxsize,
        constrained: bool = False,
        thinking: int | None = 0,
    ) -> Self:
        """The model and the tokenizer of a folder.

        `constrained`: calls can only be written so that they can be read. `thinking`: not 0, a
        model that can be asked to think before it answers is.
        """
        from transformers import AutoTokenizer

        model = load_model(folder, placement)
        renderer = Renderer(AutoTokenizer.from_pretrained(folder), template, thinking=thinking != 0)
        vocabulary = model.config.get_text_config().vocab_size
        constrainer = Constrainer(renderer, renderer.form, vocabulary) if constrained else None
        return cls(model, renderer, batch_size, context, constrainer, thinking)

    @property
    def form(self) -> str:
        """How the model is to write calls."""
        return self.renderer.form

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Answers each request and the further ones that `reply` returns; see `Engine`."""
        run = GenerationRun(self)

        def job(request: Request) -> Pending:
            return Pending(
                request, partial(hear, request), least=request.max_new_tokens, told=False
            )

        def hear(request: Request, event: Event) -> None:
            if isinstance(event, Failure) and event.cause is not None:
                raise event.cause
            if isinstance(event, TooLong):
                event = Completion("", event.tokens, 0, "length", 0.0)
            assert isinstance(event, Completion)
            following = reply(request, event)
            if following is not None:
                # First, so that its slot is still its own.
                run.queue.appendleft(job(following))

        run.queue.extend(map(job, requests))
        with torch.inference_mode():
            while run.asked:
                run.step()


@dataclass(frozen=True)
class Pending:
    """A request, and who waits for its answer.

    `least`: tokens that there must be room for behind the prompt. `told`: whether the answer is
    told as it grows.
    """

    request: Request
    listener: Listener
    ticket: Ticket = field(default_factory=Ticket)
    least: int = 1
    told: bool = True


@dataclass
class Running:
    """A job that holds a slot; `room`: the most new tokens; `sent`: characters told so far.

    `chooser` is None where the likeliest token is taken.
    """

    job: Pending
    number: int
    slot: DecodingSlot
    prompt: list[int]
    room: int
    cached: int
    chooser: Chooser | None
    started: float = field(default_factory=time.perf_counter)
    written: list[int] = field(default_factory=list)
    sent: int = 0


class GenerationRun:
    """Slots, what they keep, and the steps in which their answers grow side by side.

    A freed slot keeps its tokens, and the next request goes to the slot that holds most of its
    beginning. The beginning that most of the last requests share (tools and system message) is
    kept once for all; requests that begin otherwise carry their own.
    """

    def __init__(self, engine: TransformersEngine) -> None:
        self.queue: deque[Pending] = deque()
        self._engine = engine
        self._model = engine.model
        self._own = engine.own_caches
        self._renderer = engine.renderer
        self._fitting = engine.constrainer
        self._cache = SlotCache(engine.batch_size)
        self._free = list(range(engine.batch_size))
        self._running: dict[int, Running] = {}
        self._kept: dict[int, DecodingSlot] = {}
        self._prefix: list[int] = []
        self._last_heads: deque[tuple[int, ...]] = deque(maxlen=REMEMBERED)
        self._known_heads: dict[str, list[int]] = {}

    @property
    def asked(self) -> list[Pending]:
        """Everything that has no answer yet."""
        return [*(row.job for row in self._running.values()), *self.queue]

    def step(self) -> None:
        """Seats who waits, and adds a token to every answer under way."""
        for row in [row for row in self._running.values() if row.job.ticket.cancelled]:
            self._release(row)
        fresh = self._seated()
        if fresh:
            self._prefill(fresh)
            self._tell(fresh)
        if self._running:
            self._decode()
            self._tell(list(self._running.values()))
        self._engine.work.steps += 1

    def fail(self, reason: str) -> None:
        """Tells everyone who waits that no answer will come."""
        for job in self.asked:
            job.listener(Failure(reason))

    def _seated(self) -> list[Running]:
        """Waiting requests that got a slot, as many as one pass takes."""
        fresh: list[Running] = []
        tokens = 0
        while self.queue and self._free and tokens < PREFILL_TOKENS:
            job = self.queue.popleft()
            try:
                row = None if job.ticket.cancelled else self._seat(job)
            except Exception:
                self.queue.appendleft(job)
                raise
            if row is not None:
                fresh.append(row)
                tokens += len(row.prompt) - row.cached
        work = self._engine.work
        work.widest = max(work.widest, len(self._running))
        return fresh

    def _seat(self, job: Pending) -> Running | None:
        """A slot for the job; None where it cannot be answered, and the asker is told."""
        request = job.request
        try:
            prompt = self._renderer.prompt(request.messages, request.tools)
        except Exception as error:  # a template may stumble over anything that JSON can hold
            LOG.exception("A prompt cannot be spelled.")
            reason = "The chat template cannot spell these messages and tools."
            job.listener(Failure(reason, of_request=True, cause=error))
            return None
        room = self._engine.context - len(prompt)
        if room < job.least:
            job.listener(TooLong(len(prompt), self._engine.context - job.least))
            return None
        try:
            chooser = self._chooser(request, prompt)
        except GrammarError as error:
            job.listener(Failure(f"{error.problem} Simplify them.", of_request=True, cause=error))
            return None
        self._share_head(request)
        number, slot = self._best_slot(prompt)
        self._free.remove(number)
        self._kept.pop(number, None)
        most = min(request.max_new_tokens, room)
        row = Running(job, number, slot, prompt, most, len(slot.ids), chooser)
        self._running[number] = row
        return row

    def _best_slot(self, prompt: list[int]) -> tuple[int, DecodingSlot]:
        """The free slot that holds most of the prompt, else the oldest, and what it keeps of it.

        At least one token of the prompt stays outside: its logits choose the first new one.
        """
        if self._own is not None:
            return self._free[0], DecodingSlot(0)
        holding = {number: common_prefix(slot.ids, prompt) for number, slot in self._kept.items()}
        best = max(holding, key=lambda number: holding[number], default=None)
        ahead = common_prefix(self._prefix, prompt)
        if best is not None and holding[best] > ahead:
            same = min(holding[best], len(prompt) - 1)
            return best, DecodingSlot(min(self._kept[best].shared, same), prompt[:same])
        empty = [number for number in self._free if number not in self._kept]
        # Whoever leans on a few tokens of the kept beginning would hold up its change.
        shared = min(ahead, len(prompt) - 1) if ahead >= MINIMUM_PREFIX else 0
        return (empty or self._free)[0], DecodingSlot(shared, prompt[:shared])

    def _share_head(self, request: Request) -> None:
        """Keeps the request's head once for all, where more requests begin so than otherwise."""
        head = self._head(request)
        self._last_heads.append(tuple(head))
        asked = Counter(self._last_heads)
        if (
            self._own is not None
            or len(head) < MINIMUM_PREFIX
            or common_prefix(self._prefix, head) == len(head)
            or any(row.slot.shared for row in self._running.values())
            or (self._prefix and asked[tuple(head)] <= asked[tuple(self._prefix)])
        ):
            return
        self._prefix = head
        self._engine.work.shared = len(head)
        self._kept = {number: slot for number, slot in self._kept.items() if not slot.shared}
        positions = list(range(len(head)))
        self._forward(head, positions, PrefixLayout(self._cache), [len(head) - 1])

    def _head(self, request: Request) -> list[int]:
        """What all prompts with the request's tools and system message begin with."""
        system = [message for message in request.messages[:1] if message["role"] == "system"]
        key = canonical_json([system, request.tools])
        if key not in self._known_heads:
            one, other = (
                self._renderer.prompt([*system, {"role": "user", "content": text}], request.tools)
                for text in ("a", "好")
            )
            if len(self._known_heads) >= REMEMBERED:
                self._known_heads.clear()
            self._known_heads[key] = one[: common_prefix(one, other)]
        return self._known_heads[key]

    def _tell(self, rows: Sequence[Running]) -> None:
        """Sends new text to whoever waits for it, and the whole answer where it has ended."""
        self._engine.work.tokens += len(rows)
        for row in rows:
            if not self._ended(row):
                self._send(row, None)
                continue
            completion = self._completion(row)
            self._send(row, completion.text)
            self._release(row)
            self._engine.work.requests += 1
            row.job.listener(completion)

    def _send(self, row: Running, whole: str | None) -> None:
        """New text: up to the end, or what later tokens can neither complete nor take back."""
        if not row.job.told:
            return
        text = whole
        if text is None:
            unsure = max(map(len, row.job.request.stop), default=1) - 1
            text = self._text(row).rstrip("\ufffd")
            text = text[: max(0, len(text) - unsure)]
        if len(text) > row.sent:
            row.job.listener(Written(text[row.sent :]))
            row.sent = len(text)

    def _release(self, row: Running) -> None:
        """Frees a slot; its tokens stay for whoever goes on from them."""
        del self._running[row.number]
        self._kept[row.number] = row.slot
        self._free.append(row.number)

    def _chooser(self, request: Request, prompt: list[int]) -> Chooser | None:
        constraint = None
        if request.schema:
            if self._fitting is None:
                vocabulary = self._model.config.get_text_config().vocab_size
                self._fitting = Constrainer(self._renderer, "hermes", vocabulary)
            constraint = self._fitting.fitting(request.schema)
        elif self._engine.constrainer is not None:
            named = [
                tool
                for tool in request.tools
                if not request.must_call or tool["function"]["name"] in request.must_call
            ]
            constraint = self._engine.constrainer.answer(named)
        thoughts = None
        if self._engine.thinking and self._renderer.thought_tokens is not None:
            thoughts = ThoughtLimit(*self._renderer.thought_tokens, self._engine.thinking, prompt)
        steered = request.must_call or constraint is not None or thoughts is not None
        if request.sampling == GREEDY and not steered:
            return None
        openings = [self._renderer.call_opening(name) for name in request.must_call]
        return Chooser(request.sampling, openings, constraint, thoughts)

    def _prefill(self, rows: list[Running]) -> None:
        """Computes the new prompt tokens of the rows, and the first token of each answer."""
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
        self._write(rows, logits)

    def _decode(self) -> None:
        """One more token for every running row."""
        rows = list(self._running.values())
        if self._own is None:
            told = [(row.number, row.slot.shared, row.slot.own) for row in rows]
            ids, positions = [row.written[-1] for row in rows], [len(row.slot.ids) for row in rows]
            layout = DecodeLayout(self._cache, told)
            logits = self._forward(ids, positions, layout, list(range(len(rows))))
        else:
            logits = self._own.logits(
                [(row.number, [*row.slot.ids, row.written[-1]]) for row in rows]
            )
        for row in rows:
            row.slot.ids.append(row.written[-1])
        self._write(rows, logits)

    def _write(self, rows: list[Running], logits: Tensor) -> None:
        """Adds each row's next token, chosen by its logits (rows, V)."""
        likeliest = logits.argmax(dim=-1).tolist()
        for place, (row, best) in enumerate(zip(rows, likeliest, strict=True)):
            chooser = row.chooser
            row.written.append(chooser.choose(logits[place], row.written) if chooser else best)

    def _ended(self, row: Running) -> bool:
        if row.written[-1] in self._renderer.stop_ids or len(row.written) >= row.room:
            return True
        stops = row.job.request.stop
        return bool(stops) and _first(stops, self._text(row)) is not None

    def _text(self, row: Running) -> str:
        """What was written so far, without the token that ended it."""
        stopped = row.written[-1] in self._renderer.stop_ids
        return str(self._renderer.tokenizer.decode(row.written[:-1] if stopped else row.written))

    def _completion(self, row: Running) -> Completion:
        text = self._text(row)
        cut = _first(row.job.request.stop, text)
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
