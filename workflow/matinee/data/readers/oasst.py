"""OpenAssistant trees: each row is one message; the best-ranked path of a tree is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from matinee.data.readers.base import BadRow, Counts, Draft, Numbered, Reader, Row, shorten
from matinee.messages.conversations import Message, Role

ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}
COLUMNS = ("message_id", "text", "role")


def gather(rows: Iterable[Numbered]) -> Iterator[Numbered]:
    """One row per tree, numbered as its first message: `{"path": [messages from the root]}`.

    From each message the reply of the lowest rank is followed (without ranks, the first), and a
    question at the end that nobody answered is left off. Deleted messages count as absent.
    """
    roots: list[tuple[int, dict[str, Any]]] = []
    replies: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        message = row.value
        if row.problem:
            yield row
        elif not isinstance(message, dict) or any(message.get(key) is None for key in COLUMNS):
            reason = f"a message needs the columns {', '.join(COLUMNS)}: {shorten(str(message))}"
            yield Numbered(row.number, problem=reason, kind="wrong_columns")
        elif message.get("deleted"):
            continue
        elif message.get("parent_id"):
            replies.setdefault(message["parent_id"], []).append(message)
        else:
            roots.append((row.number, message))
    for number, root in roots:
        yield Numbered(number, {"path": _best_path(root, replies)})


def _best_path(
    root: dict[str, Any], replies: dict[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    path = [root]
    while following := replies.get(path[-1]["message_id"]):
        path.append(min(following, key=_rank))
    while len(path) > 1 and path[-1]["role"] == "prompter":
        path.pop()
    return path


def _rank(message: dict[str, Any]) -> float:
    rank = message.get("rank")
    return float("inf") if rank is None else float(rank)


def convert(row: Row) -> Draft:
    """The messages of the path. There are no tools."""
    messages = []
    for message in row["path"]:
        role = ROLES.get(message["role"])
        if role is None:
            raise BadRow("roles_out_of_order", f"unknown role {message['role']!r}")
        messages.append(Message(role, str(message["text"])))
    return Draft(tuple(messages))


def count(row: Row) -> Counts:
    """As many turns as messages on the path."""
    return Counts(turns=len(row["path"]))


READER = Reader(columns=("path",), convert=convert, count=count, gather=gather)
