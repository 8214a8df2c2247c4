"""Blocks → messages of gradio's chat, with nothing in them that a model could format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from matinee.apps.chatting.showing import Block
from matinee.runtime.redaction import visible

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_LEADING = re.compile(r"^[ \t]+", re.MULTILINE)
_FENCES = re.compile(r"`+")


def chat_messages(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """The blocks as gradio's messages. Foreign text is escaped: no links, pictures or HTML."""
    return [_message(block) for block in blocks]


def plain(text: str) -> str:
    """Markdown that shows the text as it is."""
    escaped = _PUNCTUATION.sub(r"\\\1", visible(text.strip()))
    return _LEADING.sub(lambda space: "\u00a0" * len(space[0]), escaped)


def fenced(text: str) -> str:
    """A code block around a text, whatever the text holds."""
    text = visible(text)
    longest = max((len(run) for run in _FENCES.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _message(block: Block) -> dict[str, Any]:
    parts = [plain(block.text)] if block.text else []
    for caption, text in block.code:
        parts.append(f"{plain(caption)}\n{fenced(text)}" if caption else fenced(text))
    message: dict[str, Any] = {
        "role": "user" if block.kind == "user" else "assistant",
        "content": "\n\n".join(parts),
    }
    if block.kind == "cost":
        message["content"] = f"<small>{message['content']}</small>"
    if block.title:
        metadata: dict[str, Any] = {"title": block.title}
        if block.kind == "call":
            # Without a status the box stays open, so that calls are seen without a click.
            metadata |= {"status": "pending"} if block.pending else {}
        message["metadata"] = metadata
    return message
