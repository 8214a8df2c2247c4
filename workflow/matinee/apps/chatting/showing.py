"""A turn as it is shown: a list of blocks, made of its events, in one language."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from matinee.apps.agent.events import (
    Answered,
    CallMade,
    CallObserved,
    Kept,
    MemoryHit,
    ModelWrote,
    PlanMade,
    Reflected,
    Status,
    Subtask,
    SubtaskChanged,
)
from matinee.apps.chatting.conversation import ChatTurn
from matinee.apps.chatting.wording import Words
from matinee.apps.serving.answering import plain_part
from matinee.messages.details import said
from matinee.messages.parsing import CallForm

SIGNS: Mapping[Status, str] = {
    "waiting": "○", "running": "◐", "done": "●", "failed": "✕", "skipped": "–"
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A piece of the conversation.

    `kind` says what it is; blocks with a `title` can be folded. `lines` are pairs of a caption and
    a text, of which texts in `code` keep their spacing. `pending`: it is still being worked on.
    """

    kind: Literal["user", "words", "memory", "plan", "call", "note", "answer", "cost", "problem"]
    text: str = ""
    title: str = ""
    code: tuple[tuple[str, str], ...] = ()
    pending: bool = False
    seconds: float | None = None


def blocks(turn: ChatTurn, words: Words, form: CallForm) -> list[Block]:
    """Everything of a turn, in the order in which it happened."""
    shown = [Block("user", turn.question), *_happened(turn, words)]
    if turn.state == "running":
        shown += _under_way(turn, words, form)
    elif turn.state == "stopped":
        shown.append(Block("problem", words("stopped")))
    elif turn.state == "failed":
        shown.append(Block("problem", words("problem", problem=turn.problem)))
    return shown


def _happened(turn: ChatTurn, words: Words) -> Iterator[Block]:
    returned = {event.number: event for event in turn.events if isinstance(event, CallObserved)}
    latest = {
        event.subtask.number: event.subtask
        for event in turn.events
        if isinstance(event, SubtaskChanged)
    }
    for event in turn.events:
        if isinstance(event, MemoryHit):
            yield _memory(event, words)
        elif isinstance(event, PlanMade) and (len(event.subtasks) > 1 or event.note):
            yield _plan(event, latest, words)
        elif isinstance(event, ModelWrote):
            yield from _written(event, words)
        elif isinstance(event, CallMade):
            yield _call(event, returned.get(event.number), words)
        elif isinstance(event, Reflected) and event.reason:
            title = words("tried_again" if event.again else "gave_up")
            yield Block("note", f"{title}: {words.reason(event.reason)}")
        elif isinstance(event, Answered):
            yield Block("answer", event.text)
            yield Block("cost", _cost(event, turn, words))


def _under_way(turn: ChatTurn, words: Words, form: CallForm) -> Iterator[Block]:
    """What the model is writing now."""
    plain = plain_part(form, turn.words)
    rest = turn.words.strip()[len(plain) :].strip()
    if plain:
        yield Block("words", plain, pending=True)
    if rest:
        yield Block("call", title=words("writing"), code=(("", rest),), pending=True)
    if not plain and not rest:
        yield Block("words", f"{words('thinking')} …", pending=True)
    else:
        count = words("written", count=turn.pieces, limit=turn.limit)
        yield Block("cost", count, pending=True)


def _memory(hit: MemoryHit, words: Words) -> Block:
    verdict = words("reused" if hit.judgement.usable else "not_reused")
    sources = ", ".join(hit.entry.sources)
    title = words("remembered", age=words.age(hit.judgement.age))
    text = f"{hit.entry.answer}\n{verdict}: {words.reason(hit.judgement.reason)}"
    return Block("memory", f"{text}\n{words('sources')}: {sources}" if sources else text, title)


def _plan(made: PlanMade, latest: Mapping[int, Subtask], words: Words) -> Block:
    now = [latest.get(subtask.number, subtask) for subtask in made.subtasks]
    lines = [
        f"{SIGNS[subtask.status]} {subtask.number}. {subtask.goal} ({words(subtask.status)})"
        + (f": {words.reason(subtask.reason)}" if subtask.reason else "")
        for subtask in now
    ]
    title = words("plan_made") + (f": {made.procedure}" if made.procedure else "")
    return Block(
        "plan", "\n".join([*lines, *([words.reason(made.note)] if made.note else [])]), title
    )


def _written(wrote: ModelWrote, words: Words) -> Iterator[Block]:
    """Words beside calls. Those that are the answer come with the answer."""
    content, error = wrote.parse.content, wrote.parse.error
    if error is not None:
        code = (("", wrote.text.strip()), ("", said(error, words.language)))
        yield Block("call", title=words("unreadable"), code=code)
    elif wrote.purpose != "answer" and content and content != wrote.text.strip():
        yield Block("words", content)


def _call(made: CallMade, seen: CallObserved | None, words: Words) -> Block:
    title = words("call", number=made.number, tool=made.call.name)
    code = [(words("arguments"), _readable(made.call.arguments))]
    if seen is not None:
        error = seen.observation.error
        if error is not None:
            title += f" · {words('refused', error=error)}"
        code.append((words("observation"), _readable(seen.observation.content)))
    return Block(
        "call",
        title=title,
        code=tuple(code),
        pending=seen is None,
        seconds=None if seen is None else seen.seconds,
    )


def _readable(text: str) -> str:
    """JSON with indentation where it is long; anything else as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    short = json.dumps(value, ensure_ascii=False)
    return short if len(short) <= 60 else json.dumps(value, ensure_ascii=False, indent=2)


def _cost(answered: Answered, turn: ChatTurn, words: Words) -> str:
    used = answered.usage
    parts = [words("cost", tokens=used.prompt_tokens + used.completion_tokens, **vars(used))]
    if not answered.complete:
        parts.append(words("incomplete"))
    if any(isinstance(event, Kept) for event in turn.events):
        parts.append(words("kept"))
    return " · ".join(parts)
