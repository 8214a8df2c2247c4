"""Token rows → one packed sequence: rows side by side, common beginnings kept once.

A packed batch is a list of groups. A group is a prefix of P tokens (P may be 0) and branches that
go on from it: branch tokens sit at positions P, P+1, …, see the prefix and their own branch, and
nothing else. The last prefix token predicts the first token of each branch. A row that shares
nothing is a group of one branch without a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A row: its token ids, and per token whether it is supervised (1) or not (0).
MaskedIds = tuple[list[int], list[int]]

# Below this many shared tokens a second attention call costs more than the prefix saves.
MINIMUM_PREFIX = 32


@dataclass(frozen=True)
class Group:
    """Where a group lies in the packed sequence: `start`, prefix length, branch lengths."""

    start: int
    prefix: int
    branches: tuple[int, ...]

    @property
    def end(self) -> int:
        """One past the group's last token."""
        return self.start + self.prefix + sum(self.branches)


@dataclass(frozen=True)
class Packed:
    """One micro-batch as one sequence of L tokens with N supervised ones.

    `ids`, `positions`: L. `sources`: N, index into the sequence of the token that predicts.
    `targets`: N, the id that it should predict. `rows`: how many rows were packed.
    `tokens`: how many tokens the rows have in all; above L where a prefix is shared.
    """

    ids: list[int]
    positions: list[int]
    sources: list[int]
    targets: list[int]
    groups: tuple[Group, ...]
    rows: int
    tokens: int


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of leading tokens that two rows share."""
    shorter = min(len(first), len(second))
    differ = np.nonzero(np.asarray(first[:shorter]) != np.asarray(second[:shorter]))[0]
    return int(differ[0]) if len(differ) else shorter


def shared_groups(rows: Sequence[tuple[list[int], list[int]]]) -> list[tuple[int, list[int]]]:
    """Groups of rows (ids, mask) with their common prefix length, as (prefix, row numbers).

    In lexicographic order rows with a common beginning are neighbours. A prefix ends before the
    first supervised token, so that every supervised token belongs to exactly one branch.
    """
    order = sorted(range(len(rows)), key=lambda row: rows[row][0])
    groups: list[tuple[int, list[int]]] = []
    for row in order:
        ids, mask = rows[row]
        limit = mask.index(1) if 1 in mask else len(mask)
        limit = min(limit, len(ids) - 1)
        if groups:
            length, members = groups[-1]
            shared = min(common_prefix(rows[members[-1]][0], ids), limit, length)
            # A new row may shorten the prefix of the group, but not so far that the group loses.
            if shared >= max(MINIMUM_PREFIX, length // 2 if len(members) > 1 else 0):
                groups[-1] = (shared, [*members, row])
                continue
        groups.append((limit, [row]))
    return [(length if len(members) > 1 else 0, members) for length, members in groups]


def pack(rows: Sequence[tuple[list[int], list[int]]], *, share: bool) -> Packed:
    """Packs rows (ids, mask), each with at least one token."""
    grouped = shared_groups(rows) if share else [(0, [number]) for number in range(len(rows))]
    ids: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    targets: list[int] = []
    groups: list[Group] = []
    for prefix, members in grouped:
        start = len(ids)
        ids += rows[members[0]][0][:prefix]
        positions += range(prefix)
        for member in members:
            row, mask = rows[member]
            # Packed index of row position p is offset + p, for p ≥ prefix.
            offset = len(ids) - prefix
            for place in range(max(1, prefix), len(row)):
                if mask[place]:
                    before = start + prefix - 1 if place == prefix else offset + place - 1
                    sources.append(before)
                    targets.append(row[place])
            ids += row[prefix:]
            positions += range(prefix, len(row))
        lengths = tuple(len(rows[member][0]) - prefix for member in members)
        groups.append(Group(start, prefix, lengths))
    total = sum(len(row) for row, _ in rows)
    return Packed(ids, positions, sources, targets, tuple(groups), len(rows), total)
