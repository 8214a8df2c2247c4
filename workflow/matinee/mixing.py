"""One variant's training data out of several data sets: the first N of each, in order."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from matinee.config import MixPart
from matinee.errors import DataError

# Near duplicates: three quarters of the character 5-grams in common (estimated from 128 hashes,
# standard error 0.04). Two glaive rows that differ in one value and its echoes lie above, two
# different questions to one tool far below.
NEAR_THRESHOLD = 0.75
GRAM_CHARACTERS = 5
PERMUTATIONS = 128


def mix(parts: Sequence[tuple[MixPart, Path]], out: Path) -> dict[str, Any]:
    """Writes the mixed conversations to `out` (JSON Lines) and returns what was taken of each.

    Of every part: shuffled if a seed is given, else as published; then without the duplicates
    that it wants dropped; then the first `max_samples`, written `weight` times. Parts follow one
    another in the given order. The caller renames the finished file. Raises DataError.
    """
    seen = _Seen()
    taken: list[dict[str, Any]] = []
    with out.open("w", encoding="utf-8") as file:
        for part, path in parts:
            rows, facts = _take(part, path, seen)
            written = 0
            for row in _weighted(rows, part.weight):
                file.write(row)
                written += 1
            taken.append({"dataset": part.dataset, **facts, "written": written})
    total = sum(facts["written"] for facts in taken)
    if total == 0:
        raise DataError(
            "The mix has no rows: "
            + ", ".join(f"{facts['dataset']} has {facts['available']}" for facts in taken)
            + ". Give other data sets, or a higher `max_samples` or `weight`."
        )
    return {"rows": total, "parts": taken}


def _take(part: MixPart, path: Path, seen: _Seen) -> tuple[list[str], dict[str, int]]:
    # Not splitlines(): text may hold U+2028, which JSON leaves as it is.
    with path.open(encoding="utf-8", newline="\n") as lines:
        rows = [line if line.endswith("\n") else line + "\n" for line in lines if line.strip()]
    available = len(rows)
    if part.shuffle_seed is not None:
        random.Random(part.shuffle_seed).shuffle(rows)
    limit = part.max_samples if part.max_samples is not None else available
    kept: list[str] = []
    dropped: dict[str, int] = {"exact": 0, "near": 0}
    for row in rows:
        if len(kept) == limit:
            break
        likeness = seen.likeness(row, part.deduplicate)
        if likeness is None:
            kept.append(row)
        else:
            dropped[likeness] += 1
    facts = {"dropped_exact": dropped["exact"], "dropped_near": dropped["near"]}
    return kept, {"available": available, "taken": len(kept), **facts}


def _weighted(rows: list[str], weight: float) -> Iterator[str]:
    whole = int(weight)
    for _ in range(whole):
        yield from rows
    yield from rows[: round((weight - whole) * len(rows))]


class _Seen:
    """What the mix holds so far, of the parts that want duplicates dropped."""

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._near: _Sketches | None = None

    def likeness(self, row: str, wanted: str) -> Literal["exact", "near"] | None:
        """How the row is held already; None if it is new, and it is noted."""
        if wanted == "none":
            return None
        said = json.loads(row)
        content = json.dumps([said["tools"], said["messages"]])
        if content in self._exact:
            return "exact"
        self._exact.add(content)
        if wanted == "near":
            self._near = self._near or _Sketches()
            if self._near.holds_like(_spoken(said)):
                return "near"
        return None


class _Sketches:
    """MinHash sketches of texts, to find near duplicates without comparing all pairs."""

    def __init__(self) -> None:
        try:
            from datasketch import MinHashLSH
        except ImportError as error:
            raise DataError(
                "`deduplicate: near` needs the package datasketch; run `pip install datasketch`, "
                "or use `deduplicate: exact`."
            ) from error
        self._index = MinHashLSH(threshold=NEAR_THRESHOLD, num_perm=PERMUTATIONS)
        self._sketches: list[Any] = []

    def holds_like(self, text: str) -> bool:
        """Whether a near duplicate was given before; if not, the text is noted."""
        import xxhash
        from datasketch import MinHash

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
