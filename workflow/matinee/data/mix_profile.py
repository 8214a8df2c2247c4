"""What a mix of training data holds: counts, token lengths, and sample rows with their mask."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matinee.messages.conversations import Conversation

SAMPLES = 10
TOP_TOOLS = 20
BUCKETS = 20
# What is one number of all rows.
ALONE = ("rows", "turns", "calls", "answers", "supervised_answers")


class RowTokens(NamedTuple):
    """How long a row is in tokens, how many of them are supervised, whether it was cut."""

    length: int
    supervised: int
    truncated: bool = False


def sample_positions(rows: int, wanted: int = SAMPLES) -> list[int]:
    """Positions of the rows to show, from 0: evenly spread, so that every part is seen."""
    count = min(rows, wanted)
    return [position * rows // count for position in range(count)]


def profile(
    tally: Tally,
    tokens: Sequence[RowTokens],
    samples: Sequence[Any] = (),
    held_out: Sequence[RowTokens] = (),
) -> dict[str, Any]:
    """The content of `profile.json`.

    `tokens` has one entry per conversation of the tally. Counts are of the rows to train on unless
    they say otherwise; turns are messages of users and assistants; shares lie between 0 and 1.
    `samples` are rows with `id` and `tokens`, pairs of a token's text and 1 where it is supervised.
    Raises ValueError where tally and tokens differ in number.
    """
    if tally.rows != len(tokens):
        raise ValueError(f"{tally.rows} conversations but {len(tokens)} token rows")
    return {
        **tally.as_dict(),
        "tokens": _describe_tokens(tokens),
        "validation": {
            "rows": len(held_out),
            "tokens": sum(row.length for row in held_out),
            "supervised": sum(row.supervised for row in held_out),
        },
        "samples": list(samples),
    }


class Tally:
    """What conversations hold, counted one by one."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, Counter[Any]] = defaultdict(Counter)
        self.tool_lists: set[bytes] = set()

    @property
    def rows(self) -> int:
        """Conversations counted."""
        return self.counts["all"]["rows"]

    def count(self, conversation: Conversation) -> None:
        """Counts one conversation."""
        calls = [call.name for message in conversation.messages for call in message.tool_calls]
        answers = [one for one in conversation.messages if one.role == "assistant"]
        learned = sum(one.supervised for one in answers)
        turns = sum(one.role in ("user", "assistant") for one in conversation.messages)
        counts: dict[str, Any] = {
            "sources": [conversation.source],
            "languages": [conversation.language or "unknown"],
            "categories": [conversation.category or "unknown"],
            "tools_per_row": [len(conversation.tools)],
            "calls_per_row": [len(calls)],
            "called": calls,
            "offered": [tool.name for tool in conversation.tools],
            "all": {"rows": 1, "turns": turns, "calls": len(calls)}
            | {"answers": len(answers), "supervised_answers": learned},
        }
        for name, counted in counts.items():
            self.counts[name].update(counted)
        if conversation.tools:
            # Not hash(): that of one process means nothing in another.
            listed = repr(conversation.tools).encode()
            self.tool_lists.add(hashlib.sha256(listed).digest())

    def add(self, other: Tally) -> None:
        """Counts what another tally has counted."""
        for name, counter in other.counts.items():
            self.counts[name].update(counter)
        self.tool_lists |= other.tool_lists

    def as_dict(self) -> dict[str, Any]:
        """The counts by name."""
        counts = {name: dict(self.counts[name]) for name in sorted(self.counts)}
        called, offered, alone = (counts.pop(name, {}) for name in ("called", "offered", "all"))
        often = sorted(offered, key=lambda name: (-called.get(name, 0), -offered[name], name))
        return {
            **{name: alone.get(name, 0) for name in ALONE},
            "different_tools": len(offered),
            "different_tool_lists": len(self.tool_lists),
            **{
                name: {str(key): counter[key] for key in sorted(counter)}
                for name, counter in counts.items()
            },
            "frequent_tools": [
                {"name": name, "calls": called.get(name, 0), "rows": offered[name]}
                for name in often[:TOP_TOOLS]
            ],
        }


def _describe_tokens(tokens: Sequence[RowTokens]) -> dict[str, Any]:
    lengths = sorted(row.length for row in tokens)
    total = sum(lengths)
    supervised = sum(row.supervised for row in tokens)
    return {
        "total": total,
        "supervised": supervised,
        "supervised_share": round(supervised / total, 6) if total else 0.0,
        "truncated": sum(row.truncated for row in tokens),
        "without_supervision": sum(row.supervised == 0 for row in tokens),
        "shortest": lengths[0] if lengths else 0,
        "median": lengths[len(lengths) // 2] if lengths else 0,
        "longest": lengths[-1] if lengths else 0,
        "histogram": list(_histogram(lengths)),
    }


def _histogram(lengths: Sequence[int]) -> Iterator[dict[str, int]]:
    """Rows by length in up to 20 equal steps: `from` inclusive, `to` exclusive, in tokens."""
    if not lengths:
        return
    width = lengths[-1] // BUCKETS + 1
    counts = Counter(length // width for length in lengths)
    for bucket in range(lengths[-1] // width + 1):
        yield {"from": bucket * width, "to": (bucket + 1) * width, "rows": counts[bucket]}
