"""OpenAssistant trees: each row is one message; the best-ranked path of a tree is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from matinee.data.readers.base import (
    Account,
    Level,
    Numbered,
    Reader,
    Row,
    shorten,
    text_of,
    words,
)
from matinee.data.readers.turns import role_of
from matinee.messages.conversations import Conversation, Message

COLUMNS = ("message_id", "text", "role")
MESSAGE = Level(
    "message",
    {"text": ("text",)},
    {name: (name,) for name in ("role", "message_id", "parent_id", "rank", "deleted")},
    words(
        "user_id created_date lang review_count review_result synthetic model_name detoxify "
        "message_tree_id tree_state emojis labels"
    ),
)
PATH = Level("row", {"path": ("path",)})


def gather(rows: Iterable[Numbered]) -> Iterator[Numbered]:
    """One row per tree, numbered as its first message: `{"path": [messages from the root]}`.

    From each message the reply of the lowest rank is followed (without ranks, the first), and a
    question at the end that nobody answered is left off. Deleted messages count as absent. A
    message whose parent is in none of the files is a bad row, and so is one below it.
    """
    known: dict[str, Numbered] = {}
    replies: dict[str, list[Numbered]] = {}
    roots: list[Numbered] = []
    for row in rows:
        message = row.value
        if row.problem:
            yield row
        elif problem := _problem(message, known):
            yield Numbered(row.number, problem=problem, kind="wrong_columns", file=row.file)
        else:
            known[str(message["message_id"])] = row
            if message.get("parent_id") in (None, ""):
                roots.append(row)
            else:
                replies.setdefault(str(message["parent_id"]), []).append(row)
    reached: set[str] = set()
    waiting = [str(root.value["message_id"]) for root in roots]
    while waiting:
        reached.add(here := waiting.pop())
        waiting += [str(row.value["message_id"]) for row in replies.get(here, ())]
    for identifier, row in known.items():
        if identifier not in reached:
            parent = shorten(str(row.value["parent_id"]), 40)
            reason = f"no root above it: its parent {parent} is in none of the files, or below it"
            yield Numbered(row.number, problem=reason, kind="wrong_columns", file=row.file)
    for root in roots:
        if not root.value.get("deleted"):
            yield Numbered(root.number, {"path": _best_path(root.value, replies)}, file=root.file)


def _problem(message: Any, known: dict[str, Numbered]) -> str:
    if not isinstance(message, dict) or any(message.get(key) is None for key in COLUMNS):
        return f"a message needs the columns {', '.join(COLUMNS)}: {shorten(str(message))}"
    for key in ("message_id", "parent_id"):
        if not isinstance(message.get(key), str | int | None):
            return f"{key} is neither text nor a number: {shorten(str(message[key]))}"
    rank = message.get("rank")
    if rank is not None and not isinstance(rank, int | float):
        return f"rank is no number: {shorten(str(rank))}"
    if str(message["message_id"]) in known:
        return f"message_id {shorten(str(message['message_id']), 40)} stands twice"
    return ""


def _best_path(root: dict[str, Any], replies: dict[str, list[Numbered]]) -> list[dict[str, Any]]:
    path = [root]
    while following := [
        row.value
        for row in replies.get(str(path[-1]["message_id"]), ())
        if not row.value.get("deleted")
    ]:
        path.append(min(following, key=_rank))
    while len(path) > 1 and path[-1]["role"] == "prompter":
        path.pop()
    return path


def _rank(message: dict[str, Any]) -> float:
    rank = message.get("rank")
    return float("inf") if rank is None else float(rank)


def convert(row: Row, account: Account) -> Conversation:
    """The messages of the path. There are no tools."""
    messages = []
    for number, message in enumerate(row["path"]):
        found = MESSAGE.read(message, account, f"path[{number}]")
        text = text_of(found["text"], f"path[{number}].text")
        messages.append(Message(role_of(found["role"]), text))
    return Conversation("", tuple(messages))


READER = Reader(columns=(("path",),), convert=convert, levels=(PATH, MESSAGE), gather=gather)
