"""Requests as they come, answers as they grow: a thread that batches whoever is there."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from typing import TYPE_CHECKING

import torch

from matinee.engines.base import Listener, Request, Ticket
from matinee.engines.constraining import Constrainer
from matinee.engines.transformers import GenerationRun, Pending, TransformersEngine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from matinee.messages.rendering import Renderer

LOG = logging.getLogger(__name__)


class LiveTransformersEngine(TransformersEngine):
    """A model in this process behind one worker thread; see `LiveEngine`."""

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        batch_size: int,
        context: int = sys.maxsize,
        constrainer: Constrainer | None = None,
        thinking: int | None = 0,
    ) -> None:
        super().__init__(model, renderer, batch_size, context, constrainer, thinking)
        self._inbox: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, listener: Listener) -> Ticket:
        """Begins an answer; see `LiveEngine`."""
        job = Pending(request, listener, Ticket())
        self._inbox.put(job)
        return job.ticket

    def close(self) -> None:
        """Ends the work; see `LiveEngine`."""
        self._inbox.put(None)
        self._thread.join()

    def _work(self) -> None:
        run = GenerationRun(self)
        while self._receive(run):
            try:
                with torch.inference_mode():
                    run.step()
            except Exception:
                # One request must not take the server down; a fresh run forgets everything.
                LOG.exception("The model failed; %d answers are lost.", len(run.asked))
                run.fail("The model failed on this request; the log says why.")
                run = GenerationRun(self)
        run.fail("The model is being stopped.")

    def _receive(self, run: GenerationRun) -> bool:
        """Takes what has arrived, and waits where nothing else is to do; whether to go on."""
        while not run.asked or not self._inbox.empty():
            job = self._inbox.get()
            if job is None:
                return False
            run.queue.append(job)
        return True
