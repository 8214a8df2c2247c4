"""Requests as they come, answers as they grow: a thread that batches whoever is there."""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from matinee.engines.base import Completion, Request
from matinee.engines.constraining import Constrainer, GrammarError
from matinee.engines.decoding import DecodingSlot, PrefixLayout
from matinee.engines.slots import OwnCaches, own_caches
from matinee.engines.transformers import PREFILL_TOKENS, GenerationRun, Running, load
from matinee.messages.conversations import canonical_json
from matinee.models.devices import Placement
from matinee.models.packing import MINIMUM_PREFIX, common_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from matinee.messages.rendering import Renderer

LOG = logging.getLogger(__name__)
# The beginnings of so many requests are looked at to see which one is worth keeping.
REMEMBERED = 32


@dataclass(frozen=True)
class Written:
    """Text that was added to the answer."""

    text: str


@dataclass(frozen=True)
class TooLong:
    """The prompt does not fit: its tokens, and how many fit."""

    tokens: int
    limit: int


@dataclass(frozen=True)
class Failure:
    """No answer will come; `reason` is a sentence for whoever asked.

    `of_request`: the request is at fault and would fail again, not the model.
    """

    reason: str
    of_request: bool = False


# An answer is any number of Words and then one of the others.
Event = Written | Completion | TooLong | Failure
Listener = Callable[[Event], None]


class Ticket:
    """An answer under way."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stops the work; the listener hears nothing more after the step that is running."""
        self._cancelled.set()


class LiveEngine(Protocol):
    """Answers one request at a time from the caller's view, many at once from its own."""

    def submit(self, request: Request, listener: Listener) -> Ticket:
        """Begins an answer. `listener` is called from another thread and must return at once."""
        ...

    def close(self) -> None:
        """Ends the work; whoever still waits gets a Failure."""
        ...


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


@dataclass(frozen=True)
class LiveJob:
    """A request, and who waits for its answer."""

    request: Request
    listener: Listener
    ticket: Ticket


Inbox = queue.SimpleQueue[LiveJob | None]


class LiveTransformersEngine:
    """A model in this process behind one worker thread.

    `batch_size`: answers that grow side by side; further requests wait. `context`: the most
    tokens of prompt and answer together; the model's own limit where that is smaller.
    `constrainer`: calls can only be spelled so that they can be read.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        batch_size: int,
        context: int,
        constrainer: Constrainer | None = None,
    ) -> None:
        self.work = Work()
        self._model = model.train(False)
        self._own = own_caches(model)
        self._renderer = renderer
        self._batch_size = batch_size
        self._context = context
        self._constrainer = constrainer
        self._inbox: Inbox = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    @classmethod
    def load(
        cls,
        folder: Path,
        template: str,
        placement: Placement,
        batch_size: int,
        context: int,
        constrained: bool = False,
    ) -> LiveTransformersEngine:
        """Loads model and tokenizer from a folder. `constrained`: calls can always be read."""
        model, renderer, constrainer = load(folder, template, placement, constrained)
        return cls(model, renderer, batch_size, context, constrainer)

    @property
    def form(self) -> str:
        """How the model is to write calls."""
        return self._renderer.form

    def submit(self, request: Request, listener: Listener) -> Ticket:
        """Begins an answer; see `LiveEngine`."""
        job = LiveJob(request, listener, Ticket())
        self._inbox.put(job)
        return job.ticket

    def close(self) -> None:
        """Ends the work; see `LiveEngine`."""
        self._inbox.put(None)
        self._thread.join()

    def _serve(self) -> None:
        import torch

        closing = False
        while not closing:
            run = LiveRun(
                self._model,
                self._renderer,
                self._batch_size,
                self._context,
                self.work,
                self._constrainer,
                self._own,
            )
            try:
                with torch.inference_mode():
                    run.serve(self._inbox)
            except Exception:
                # One request must not take the server down; a fresh run forgets everything.
                LOG.exception("The model failed; %d answers are lost.", len(run.asked))
                run.fail("The model failed on this request; the log says why.")
            closing = run.closing
        run.fail("The model is being stopped.")


class LiveRun(GenerationRun):
    """A run whose requests arrive while others are being answered.

    A freed slot keeps its tokens, and the next request goes to the slot that holds most of its
    beginning. The beginning that most of the last requests share (tools and system message) is
    kept once for all; requests that begin otherwise carry their own.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        batch_size: int,
        context: int,
        work: Work,
        constrainer: Constrainer | None = None,
        own: OwnCaches | None = None,
    ) -> None:
        super().__init__(model, renderer, batch_size, lambda *_: None, constrainer, own)
        self.closing = False
        self._context = min(self._context, context)
        self._work = work
        self._queue: deque[LiveJob] = deque()
        self._jobs: dict[int, LiveJob] = {}
        self._sent: dict[int, int] = {}
        self._kept: dict[int, DecodingSlot] = {}
        self._last_heads: deque[tuple[int, ...]] = deque(maxlen=REMEMBERED)
        self._known_heads: dict[str, list[int]] = {}

    @property
    def asked(self) -> list[LiveJob]:
        """Everything that has no answer yet."""
        return [*self._jobs.values(), *self._queue]

    def serve(self, inbox: Inbox) -> None:
        """Works until None is in the inbox."""
        while True:
            self._receive(inbox)
            if self.closing:
                return
            self._drop_cancelled()
            fresh = self._seated()
            if fresh:
                self._prefill(fresh)
                self._tell(fresh)
            if self._running:
                self._decode()
                self._tell(list(self._running.values()))
            self._work.steps += 1

    def fail(self, reason: str) -> None:
        """Tells everyone who waits that no answer will come."""
        for job in self.asked:
            job.listener(Failure(reason))
        self._jobs.clear()
        self._queue.clear()

    def _receive(self, inbox: Inbox) -> None:
        """Takes what has arrived; waits where there is nothing else to do."""
        idle = not self._running and not self._queue
        while idle or not inbox.empty():
            job = inbox.get()
            idle = False
            if job is None:
                self.closing = True
            else:
                self._queue.append(job)

    def _drop_cancelled(self) -> None:
        for number, job in list(self._jobs.items()):
            if job.ticket.cancelled:
                self._release(number)

    def _seated(self) -> list[Running]:
        """Waiting requests that got a slot, as many as one pass takes."""
        fresh: list[Running] = []
        tokens = 0
        while self._queue and self._free and tokens < PREFILL_TOKENS:
            job = self._queue[0]
            prompt = None if job.ticket.cancelled else self._fitting_prompt(job)
            if prompt is not None:
                self._share_head(job.request, [*self._running.values(), *fresh])
                row = self._seat(job, prompt)
                if row is not None:
                    fresh.append(row)
                    tokens += len(prompt) - row.cached
            self._queue.popleft()
        self._work.widest = max(self._work.widest, len(self._running) + len(fresh))
        return fresh

    def _fitting_prompt(self, job: LiveJob) -> list[int] | None:
        """The prompt's tokens; None where it cannot be answered, and the asker is told."""
        try:
            prompt = self._renderer.prompt(job.request.messages, job.request.tools)
        except Exception:  # a template may stumble over anything that JSON can hold
            LOG.exception("A prompt cannot be spelled.")
            reason = "The chat template cannot spell these messages and tools."
            job.listener(Failure(reason, of_request=True))
            return None
        if len(prompt) < self._context:
            return prompt
        job.listener(TooLong(len(prompt), self._context - 1))
        return None

    def _seat(self, job: LiveJob, prompt: list[int]) -> Running | None:
        """A slot for the request; None where its tools fit no grammar, and the asker is told."""
        number, kept = self._best_slot(prompt)
        room = self._context - len(prompt)
        request = replace(job.request, max_new_tokens=min(job.request.max_new_tokens, room))
        try:
            row = self._open(request, prompt, number, kept)
        except GrammarError as error:
            job.listener(Failure(f"{error.problem} Simplify them.", of_request=True))
            return None
        self._free.remove(number)
        self._kept.pop(number, None)
        self._jobs[number] = job
        self._sent[number] = 0
        return row

    def _best_slot(self, prompt: list[int]) -> tuple[int, DecodingSlot | None]:
        """The free slot that holds most of the prompt, and what it keeps; else the oldest."""
        holding = {number: common_prefix(slot.ids, prompt) for number, slot in self._kept.items()}
        best = max(holding, key=lambda number: holding[number], default=None)
        ahead = common_prefix(self._prefix, prompt)
        if best is not None and holding[best] > ahead:
            return best, self._kept[best]
        empty = [number for number in self._free if number not in self._kept]
        # Whoever leans on a few tokens of the kept beginning would hold up its change.
        return (empty or self._free)[0], None if ahead >= MINIMUM_PREFIX else DecodingSlot(0)

    def _share_head(self, request: Request, rows: Sequence[Running]) -> None:
        """Keeps the request's head once for all, where more requests begin so than otherwise."""
        head = self._head(request)
        self._last_heads.append(tuple(head))
        asked = Counter(self._last_heads)
        if (
            self._own is not None
            or len(head) < MINIMUM_PREFIX
            or common_prefix(self._prefix, head) == len(head)
            or any(row.slot.shared for row in rows)
            or (self._prefix and asked[tuple(head)] <= asked[tuple(self._prefix)])
        ):
            return
        self._prefix = head
        self._work.shared = len(head)
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
        self._work.tokens += len(rows)
        for row in rows:
            job = self._jobs[row.number]
            if not self._ended(row):
                self._send(job, row.number, self._safe_text(row))
                continue
            completion = self._completion(row)
            self._send(job, row.number, completion.text)
            self._release(row.number)
            self._work.requests += 1
            job.listener(completion)

    def _send(self, job: LiveJob, number: int, text: str) -> None:
        if len(text) > self._sent[number]:
            job.listener(Written(text[self._sent[number] :]))
            self._sent[number] = len(text)

    def _safe_text(self, row: Running) -> str:
        """The answer so far without what later tokens may still complete or take back."""
        text = self._text(row).rstrip("\ufffd")
        unsure = max(map(len, row.request.stop), default=1) - 1
        return text[: max(0, len(text) - unsure)]

    def _release(self, number: int) -> None:
        """Frees a slot; its tokens stay for whoever goes on from them."""
        row = self._running.pop(number)
        del self._jobs[number], self._sent[number]
        self._kept[number] = row.slot
        self._free.append(number)
