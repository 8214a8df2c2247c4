"""The same work on block after block, over processes, with the results in order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Block = TypeVar("Block")
Result = TypeVar("Result")

# Blocks in memory for each process: one that is worked on, one that waits.
AHEAD = 2


def in_order(
    work: Callable[[Block], Result], blocks: Iterable[Block], processes: int
) -> Iterator[Result]:
    """`work` of every block, in the order of the blocks, taken as they are needed.

    With one process everything happens here. With more, `work`, blocks and results travel, and
    what `work` raises is raised here.
    """
    if processes == 1:
        yield from map(work, blocks)
        return
    # One tokenizer thread in each process: together they have as many as there are processes.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Spawned, not forked: a fork of a process with threads can wait for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: deque[Future[Result]] = deque()
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) >= AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
