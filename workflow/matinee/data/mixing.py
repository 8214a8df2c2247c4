"""One variant's data out of several data sets: the first N of each, in order; a share held out."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from matinee.config import MixPart
from matinee.messages.conversations import SPLIT, VALIDATION, canonical_json
from matinee.runtime import records
from matinee.runtime.errors import DataError

# Near duplicates: three quarters of the character 5-grams in common (estimated from 128 hashes,
# standard error 0.04). Two glaive rows that differ in one value and its echoes lie above, two
# different questions to one tool far below.
NEAR_THRESHOLD = 0.75
GRAM_CHARACTERS = 5
PERMUTATIONS = 128


def mix(
    parts: Sequence[tuple[MixPart, Path]], out: Path, validation_share: float = 0.0
) -> dict[str, Any]:
    """Writes the mixed conversations to `out` (JSON Lines) and returns what was taken of each.

    Of every part: shuffled if a seed is given, else as published; then without the duplicates
    that it wants dropped; then the first `max_samples`. Of these, `validation_share` of the
    different rows are held out: written once and labelled so. The others are written `weight`
    times. Parts follow one another in the given order. The caller renames the finished file.
    Raises DataError.
    """
    seen = _Seen()
    validation = _Validation(validation_share)
    taken: list[dict[str, Any]] = []
    with out.open("w", encoding="utf-8") as file:
        for part, path in parts:
            rows, facts = _take(part, path, seen)
            trained, held_out = validation.split(rows)
            written = 0
            for row in _weighted(trained, part.weight):
                file.write(row)
                written += 1
            file.writelines(map(_labelled, held_out))
            facts |= {"held_out": len(held_out), "written": written}
            taken.append({"dataset": part.dataset, **facts})
    total = sum(facts["written"] for facts in taken)
    if total == 0:
        raise DataError(
            "The mix has no rows: "
            + ", ".join(f"{facts['dataset']} has {facts['available']}" for facts in taken)
            + ". Give other data sets, or a higher `max_samples` or `weight`."
        )
    held = sum(facts["held_out"] for facts in taken)
    if validation_share and not held:
        raise DataError(
            f"validation_share {validation_share} of {total} rows is less than one row. Give a "
            "larger share, more rows, or 0."
        )
    return {"rows": total, "held_out": held, "parts": taken}


def _take(part: MixPart, path: Path, seen: _Seen) -> tuple[list[str], dict[str, int]]:
    rows = [line if line.endswith("\n") else line + "\n" for line in records.read_texts(path)]
    available = len(rows)
    if part.shuffle_seed is not None:
        random.Random(part.shuffle_seed).shuffle(rows)
    limit = part.max_samples if part.max_samples is not None else available
    kept: list[str] = []
    dropped = {"dropped_exact": 0, "dropped_near": 0}
    for row in rows:
        if len(kept) == limit:
            break
        likeness = seen.likeness(row, part.deduplicate)
        if likeness is None:
            kept.append(row)
        else:
            dropped[f"dropped_{likeness}"] += 1
    return kept, {"available": available, "taken": len(kept), **dropped}


def _weighted(rows: list[str], weight: float) -> Iterator[str]:
    whole = int(weight)
    for _ in range(whole):
        yield from rows
    yield from rows[: round((weight - whole) * len(rows))]


class _Validation:
    """Which rows are held out: those whose contents have the smallest checksums, as good as drawn.

    By content, so that a row that comes twice never stands on both sides.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._trained: set[str] = set()
        self._held_out: set[str] = set()

    def split(self, rows: list[str]) -> tuple[list[str], list[str]]:
        """The rows to train on and those to hold out, each in the given order."""
        if not self._share:
            return rows, []
        contents = [hashlib.sha256(_content(json.loads(row)).encode()).hexdigest() for row in rows]
        fresh = sorted(set(contents) - self._trained - self._held_out)
        count = round(self._share * len(fresh))
        self._held_out.update(fresh[:count])
        self._trained.update(fresh[count:])
        pairs = list(zip(rows, contents, strict=True))
        trained = [row for row, content in pairs if content not in self._held_out]
        return trained, [row for row, content in pairs if content in self._held_out]


def _labelled(row: str) -> str:
    said = json.loads(row)
    said["labels"] = canonical_json({**json.loads(said["labels"]), SPLIT: VALIDATION})
    return canonical_json(said) + "\n"


def _content(said: dict[str, Any]) -> str:
    return json.dumps([said["tools"], said["messages"]])


class _Seen:
    """What the mix holds so far, of the parts that want duplicates dropped.

    Near duplicates are found by MinHash sketches, without comparing all pairs.
    """

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._index: Any = None
        self._sketches: list[Any] = []

    def likeness(self, row: str, wanted: str) -> Literal["exact", "near"] | None:
        """How the row is held already; None if it is new, and it is noted."""
        if wanted == "none":
            return None
        said = json.loads(row)
        content = _content(said)
        if content in self._exact:
            return "exact"
        self._exact.add(content)
        return "near" if wanted == "near" and self._holds_like(_spoken(said)) else None

    def _holds_like(self, text: str) -> bool:
        import xxhash
        from datasketch import MinHash, MinHashLSH

        if self._index is None:
            self._index = MinHashLSH(threshold=NEAR_THRESHOLD, num_perm=PERMUTATIONS)
        starts = range(max(1, len(text) - GRAM_CHARACTERS + 1))
        grams = {text[at : at + GRAM_CHARACTERS].encode() for at in starts}
        sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=xxhash.xxh32_intdigest)
        sketch.update_batch(list(grams))
        candidates = [self._sketches[place] for place in self._index.query(sketch)]
        if any(sketch.jaccard(other) >= NEAR_THRESHOLD for other in candidates):
            return True
        self._index.insert(len(self._sketches), sketch)
        self._sketches.append(sketch)
        return False


def _spoken(said: dict[str, Any]) -> str:
    """What users say and assistants answer or call; what tools return is left out."""
    parts = []
    for message in said["messages"]:
        if message["role"] in ("user", "assistant"):
            parts.append(message["content"])
            parts += [call["name"] + call["arguments"] for call in message["tool_calls"]]
    return "\n".join(parts)
