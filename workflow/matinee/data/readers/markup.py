"""Formats that write tools and calls inside of the texts of a list of messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.data.readers import chat
from matinee.data.readers.base import Account, BadRow, Reader, Row
from matinee.data.readers.schemas import tools_of
from matinee.data.readers.turns import RawTurn, draft_of
from matinee.messages.conversations import Conversation, Tool

# A turn, the names of the tools, the account, and the place for messages.
ReadTurn = Callable[[RawTurn, Sequence[str], Account, str], RawTurn | list[RawTurn]]


@dataclass(frozen=True)
class Markup:
    """`protocol`: what a system text says about how to call, which the prompt template says again.

    `tools_in`: a system text without its tools, and these. `read`: the turn with its calls.
    """

    protocol: re.Pattern[str]
    tools_in: Callable[[str], tuple[str, list[Any]]]
    read: ReadTurn

    def draft(
        self, turns: Iterable[RawTurn], tools: tuple[Tool, ...], account: Account
    ) -> Conversation:
        """The turns read; what a system text says besides is kept."""
        made: list[RawTurn] = []
        for number, turn in enumerate(turns):
            if turn.role == "system":
                rest, listed = self.tools_in(turn.content)
                if listed:
                    inside = tools_of(listed, account)
                    if tools and inside != tools:
                        raise BadRow(
                            "wrong_columns",
                            "its column lists other tools than its system text; leave out one list",
                        )
                    account.spent += [listed] if tools else []
                    tools = inside
                protocol = tools or self.protocol.fullmatch(rest.strip())
                text = self._without_protocol(rest, account) if protocol else turn.content
                made += [RawTurn("system", text)] if text else []
            elif turn.calls:
                made.append(turn)
            else:
                read = self.read(turn, [tool.name for tool in tools], account, f"turn {number}")
                made += read if isinstance(read, list) else [read]
        return draft_of(made, tools, account)

    def _without_protocol(self, text: str, account: Account) -> str:
        for match in self.protocol.finditer(text):
            account.leave(match[0], "system.how_to_call")
        return re.sub(r"\n{3,}", "\n\n", self.protocol.sub("", text)).strip()

    def reader(self, *words: str) -> Reader:
        """The reader of lists of messages so written; `words` as of `Reader`."""

        def convert(row: Row, account: Account) -> Conversation:
            turns, tools = chat.read_row(row, account)
            return self.draft(turns, tools, account)

        known = chat.READER.words.union(words)
        return Reader(chat.READER.columns, convert, chat.LEVELS, known)
