"""Conversations → token rows on disk, block by block, over as many processes as are given."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from matinee.config import Supervise
from matinee.data.mix_profile import RowTokens, Tally
from matinee.data.tokens import as_batch
from matinee.messages.conversations import Conversation, parse_row
from matinee.messages.rendering import Renderer, TokenRow, silent_row
from matinee.runtime import records
from matinee.runtime.parallel import in_order

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BLOCK_ROWS = 500
# A process takes seconds to start; smaller files are done before it has.
SMALLEST_SHARED = 16 << 20

Lines = list[tuple[int, str]]


@dataclass(frozen=True)
class Prompts:
    """How prompts are spelled: a model folder with its tokenizer, a template, the longest row;
    which answers are learned, and whether with the thoughts before them."""

    model: Path
    template: str
    cutoff: int
    supervise: Supervise = "all"
    reasoning: bool = True


@functools.lru_cache(maxsize=1)
def renderer(prompts: Prompts) -> Renderer:
    """The tokenizer with the template, loaded once in each process."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(prompts.model)
    return Renderer(tokenizer, prompts.template, learn_thoughts=prompts.reasoning)


def taught(conversation: Conversation, supervise: Supervise) -> Conversation:
    """The conversation with only those answers to be learned that are asked for."""
    if supervise == "all":
        return conversation
    answers = [n for n, one in enumerate(conversation.messages) if one.role == "assistant"]
    return replace(
        conversation,
        messages=tuple(
            replace(
                message,
                supervised=message.supervised
                and (bool(message.tool_calls) if supervise == "calls" else place in answers[-1:]),
            )
            for place, message in enumerate(conversation.messages)
        ),
    )


@dataclass
class Tokenized:
    """What became of the rows: `tally` and `tokens` of those to train on, in order; the `held_out`
    rows' tokens; how many did not fit; and in how many a control token was spelled out."""

    tally: Tally = field(default_factory=Tally)
    tokens: list[RowTokens] = field(default_factory=list)
    held_out: list[RowTokens] = field(default_factory=list)
    dropped: int = 0
    spelled_out: int = 0

    def count(self, conversation: Conversation, tokens: RowTokens) -> None:
        """Counts one row."""
        if conversation.held_out:
            self.held_out.append(tokens)
        else:
            self.tokens.append(tokens)
            self.tally.count(conversation)

    def add(self, other: Tokenized) -> None:
        """Counts the rows of a further block."""
        self.tally.add(other.tally)
        self.tokens += other.tokens
        self.held_out += other.held_out
        self.dropped += other.dropped
        self.spelled_out += other.spelled_out


def tokenize(
    conversations: Path, writer: pq.ParquetWriter, prompts: Prompts, processes: int = 1
) -> Tokenized:
    """Writes every row, in order: the same rows with any number of processes.

    A row to train on that does not fit leaves a silent one in its place.
    Raises DataError for a line that is no conversation, and where tokenizer and template do not
    fit each other.
    """
    if conversations.stat().st_size < SMALLEST_SHARED:
        processes = 1
    total = Tokenized()
    work = functools.partial(_tokenize, prompts, str(conversations))
    for batch, found in in_order(work, _blocks(conversations), processes):
        writer.write_batch(batch)
        total.add(found)
    return total


def _blocks(conversations: Path) -> Iterator[Lines]:
    numbered = enumerate(records.read_texts(conversations), start=1)
    while block := list(itertools.islice(numbered, BLOCK_ROWS)):
        yield block


def _tokenize(prompts: Prompts, path: str, lines: Lines) -> tuple[pa.RecordBatch, Tokenized]:
    found = Tokenized()
    conversations: list[Conversation] = []
    for number, line in lines:
        conversation = parse_row(line, f"{path}:{number}")
        if renderer(prompts).control.search(line):
            found.spelled_out += 1
            conversation = Conversation.from_row(renderer(prompts).plain(conversation.to_row()))
        conversations.append(taught(conversation, prompts.supervise))
    fitting: list[TokenRow] = []
    rows = renderer(prompts).rows_within(conversations, prompts.cutoff)
    for conversation, cut in zip(conversations, rows, strict=True):
        if not cut:
            found.dropped += 1
            if not conversation.held_out:
                fitting.append(silent_row(conversation.id, renderer(prompts).end_id))
        for row in cut:
            fitting.append(replace(row, held_out=conversation.held_out))
            tokens = RowTokens(len(row.ids), sum(row.mask), row.truncated)
            found.count(conversation, tokens)
    return as_batch(fitting), found
