"""One training run, and which of its rows make a micro-batch, in which order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.config import Training
from matinee.models.packing import MaskedIds, shared_groups
from matinee.training.parallel import processes

# More packed tokens at once make a CPU no faster; fetching memory for them makes it slower.
CPU_TOKENS = 1024


@dataclass(frozen=True)
class Job:
    """One training run.

    `rows`: (token ids, mask); `checkpoints`: a folder that survives a kill; `validation`: rows
    whose loss is measured and not learned from.
    """

    model: Path
    rows: Sequence[MaskedIds]
    settings: Training
    seed: int
    shuffle: bool
    checkpoints: Path
    output: Path
    label: str
    report_to_wandb: bool = False
    validation: Sequence[MaskedIds] = ()


def plan_batches(
    groups: Sequence[Sequence[int]], batch_size: int, accumulation: int, order: random.Random | None
) -> list[list[int]]:
    """Micro-batches of row numbers for one pass.

    `groups` are kept together as far as the batch size allows, so that a common prefix is computed
    once; rows without a common prefix are groups of one. `order` shuffles groups and the rows in
    them; None keeps the given order. Like the trainer of the published run, the pass ends with its
    last whole optimizer step: 24,689 rows at accumulation 4 make 6,172 steps. Which rows a step
    holds depends on batch_size · accumulation alone, not on how that product is split.
    """
    arranged = [list(group) for group in groups]
    if order is not None:
        for group in arranged:
            order.shuffle(group)
        order.shuffle(arranged)
    rows = [row for group in arranged for row in group]
    used = rows_per_pass(len(rows), batch_size * accumulation)
    return [rows[start : min(used, start + batch_size)] for start in range(0, used, batch_size)]


def rows_per_pass(rows: int, rows_per_step: int) -> int:
    """Rows in whole optimizer steps; all rows where they do not fill even one."""
    return rows // rows_per_step * rows_per_step or rows


def deal_by_length(
    step: Sequence[int], lengths: Sequence[int], batch_size: int, *, padded: bool
) -> list[list[int]]:
    """The rows of one optimizer step as micro-batches of at most `batch_size`, by their lengths.

    `padded`: rows of like length together, so that little is padded. Else long rows with short
    ones, so that every micro-batch holds about as many tokens and none needs far more memory.
    """
    longest_first = sorted(step, key=lambda row: (-lengths[row], row))
    if padded:
        starts = range(0, len(longest_first), batch_size)
        return [longest_first[start : start + batch_size] for start in starts]
    count = -(-len(longest_first) // batch_size)
    dealt: list[list[int]] = [[] for _ in range(count)]
    for place, row in enumerate(longest_first):
        lap, seat = divmod(place, count)
        dealt[seat if lap % 2 == 0 else count - 1 - seat].append(row)
    return dealt


def deal_by_tokens(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in parts for threads that each take the next part when done, the longest first.

    A part has at most half of CPU_TOKENS tokens, or is one row: small parts at the end let the
    threads end together, but of too few tokens matrix products become slow.
    """
    limit = CPU_TOKENS // 2
    parts: list[tuple[int, list[int]]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        for place, (tokens, members) in enumerate(parts):
            if tokens + lengths[row] <= limit:
                parts[place] = (tokens + lengths[row], [*members, row])
                break
        else:
            parts.append((lengths[row], [row]))
    return [members for _, members in sorted(parts, key=lambda part: (-part[0], part[1]))]


def prefix_groups(rows: Sequence[MaskedIds], *, share: bool) -> list[list[int]]:
    """Row numbers grouped by common beginning, or one group per row."""
    if not share:
        return [[number] for number in range(len(rows))]
    return [sorted(members) for _, members in shared_groups(rows)]


class EpochBatches:
    """A batch sampler whose order depends on seed and epoch alone, so that a run can resume.

    With `lengths` (tokens per row) the rows of each optimizer step are dealt out by them, see
    `deal_by_length`; which rows make a step stays the same.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        batch_size: int,
        accumulation: int,
        seed: int | None,
        lengths: Sequence[int] | None = None,
        *,
        padded: bool = False,
    ) -> None:
        self._groups = groups
        self.batch_size = batch_size
        self.drop_last = False
        self._accumulation = accumulation
        self._seed = seed
        self._epoch = 0
        self._lengths = lengths
        self._padded = padded

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of that pass."""
        self._epoch = epoch

    def __len__(self) -> int:
        rows = sum(len(group) for group in self._groups)
        return -(-rows_per_pass(rows, self.batch_size * self._accumulation) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        # A string seed is hashed by value, alike on every Python and platform.
        order = None if self._seed is None else random.Random(f"{self._seed}/{self._epoch}")
        planned = plan_batches(self._groups, self.batch_size, self._accumulation, order)
        if self._lengths is None:
            yield from planned
            return
        for start in range(0, len(planned), self._accumulation):
            step = [row for batch in planned[start : start + self._accumulation] for row in batch]
            yield from deal_by_length(step, self._lengths, self.batch_size, padded=self._padded)


def epoch_batches(job: Job, settings: Training) -> EpochBatches:
    """The run's micro-batches, dealt out over the processes that train together.

    With `loss: row` a row's weight depends on the rows beside it, which are left as they come; with
    `shared_prefix` rows with a common beginning must stay together.
    """
    by_length = settings.loss == "token" and settings.packing != "shared_prefix"
    return EpochBatches(
        prefix_groups(job.rows, share=settings.packing == "shared_prefix"),
        settings.batch_size,
        settings.gradient_accumulation * processes(),
        job.seed if job.shuffle else None,
        [len(ids) for ids, _ in job.rows] if by_length else None,
        padded=settings.packing == "none",
    )


def planned(job: Job, settings: Training, steps: int) -> dict[str, int]:
    """Samples and tokens of the whole run, however often it was killed and went on."""
    batches = epoch_batches(job, settings)
    counts = {"samples": 0, "tokens": 0, "supervised_tokens": 0}
    accumulation = settings.gradient_accumulation * processes()
    steps_per_epoch = -(-len(batches) // accumulation)
    for epoch in range(-(-steps // steps_per_epoch)):
        batches.set_epoch(epoch)
        left = (steps - epoch * steps_per_epoch) * accumulation
        for batch in itertools.islice(batches, left):
            counts["samples"] += len(batch)
            counts["tokens"] += sum(len(job.rows[row][0]) for row in batch)
            counts["supervised_tokens"] += sum(sum(job.rows[row][1][1:]) for row in batch)
    return counts
