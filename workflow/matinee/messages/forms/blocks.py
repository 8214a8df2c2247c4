"""Forms that are a frame around calls: marks outside, and a body that spells one call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from matinee.messages.conversations import Tool, ToolCall
from matinee.messages.forms.base import Broken, Form, Reading
from matinee.messages.forms.grammar import choice, free_text, spelled
from matinee.messages.transcripts import ParsedCall


class Body(Protocol):
    """How one call is spelled between its marks."""

    def read(self, reading: Reading, at: int) -> tuple[ParsedCall, int]:
        """The call that begins at `at`, and where it ends. Raises Broken."""

    def write(self, call: ToolCall | ParsedCall) -> str:
        """The call as `read` takes it."""

    def opening(self, name: str) -> str:
        """With what `write` begins, up to the arguments."""

    def grammar(self, tool: Tool, number: int, tokens: Mapping[str, int]) -> str:
        """The rule `tool_NUMBER` and those that it needs, named after it."""


@dataclass(frozen=True)
class Blocks(Form):
    """Calls as `begin inner[0] opening BODY closing between … inner[1] end`.

    Any part may be empty, and space around a part does not matter in reading. Without `bare` the
    first part that is not empty is a mark that may follow any words. With it calls stand at the
    very beginning of an answer, where `bare` says what they look like, nothing but calls may
    follow, and `begin` and `end` are read but not written.
    """

    name: str
    about: str
    body: Body
    begin: str = ""
    inner: tuple[str, str] = ("", "")
    opening_: str = ""
    closing: str = ""
    between: str = ""
    end: str = ""
    bare: str = ""
    marks: tuple[str, ...] = ()
    vllm: str = ""

    @cached_property
    def start(self) -> re.Pattern[str]:  # type: ignore[override]
        if self.bare:
            return re.compile(rf"\A\s*(?:{self.bare})")
        closers = {self.closing.strip(), self.end.strip()} & set(self.marks)
        return re.compile("|".join(map(re.escape, [self._first, *sorted(closers)])))

    @property
    def _first(self) -> str:
        return (self.begin or self.opening_).strip()

    def read(self, reading: Reading) -> None:
        position = 0
        while (found := self.start.search(reading.text, position)) is not None:
            rest = reading.text[position:]
            reading.rests.append(reading.text[position : found.start()])
            try:
                position = self._read_bare(reading) if self.bare else self._group(reading, found)
            except Broken:
                reading.rests[-1] = rest
                raise
            if self.bare:
                break
        reading.rests.append(reading.text[position:])

    def _read_bare(self, reading: Reading) -> int:
        at = self._items(reading, reading.has(0, self.begin) or 0)
        at = (reading.has(at, self.end) if self.end else None) or at
        if reading.skip(at) < len(reading.text):
            raise Broken(reading.skip(at), "text_after_calls")
        return at

    def _group(self, reading: Reading, found: re.Match[str]) -> int:
        """Where the calls end that begin with the mark found."""
        if found[0] != self._first:
            raise Broken(found.start(), "without", mark=found[0], other=self._first)
        if not self.begin:
            return self._item(reading, found.end())
        at = self._items(reading, found.end())
        return reading.expect(at, self.end, "part_calls") if self.end else at

    def _items(self, reading: Reading, at: int) -> int:
        at = reading.expect(at, self.inner[0], "part_mark")
        while True:
            at = self._item(reading, reading.expect(at, self.opening_, "part_mark"))
            following = reading.has(at, self.between)
            more = following is not None and (
                bool(self.between.strip())
                or (bool(self.opening_) and reading.has(at, self.opening_) is not None)
                or (not self.opening_ and self._goes_on(reading, following))
            )
            if not more:
                return reading.expect(at, self.inner[1], "part_calls")
            at = following or at

    def _goes_on(self, reading: Reading, at: int) -> bool:
        """Whether a call without an opening of its own follows."""
        ends = (self.inner[1] or self.end).strip()
        left = reading.skip(at) < len(reading.text)
        return left and (not ends or not reading.text.startswith(ends, reading.skip(at)))

    def _item(self, reading: Reading, at: int) -> int:
        call, end = self.body.read(reading, at)
        end = reading.expect(end, self.closing, "part_call")
        reading.calls.append(call)
        return end

    def write(self, calls: Sequence[ToolCall | ParsedCall], content: str = "") -> str:
        if not calls:
            return content
        items = [f"{self.opening_}{self.body.write(call)}{self.closing}" for call in calls]
        if not self.begin and not self.bare:
            return "\n".join([content, *items] if content else items)
        written = f"{self.inner[0]}{self.between.join(items)}{self.inner[1]}"
        if self.bare:  # words would have no place
            return written
        written = f"{self.begin}{written}{self.end}"
        return f"{content}\n{written}" if content else written

    def opening(self, name: str) -> str:
        begin = "" if self.bare else self.begin
        return f"{begin}{self.inner[0]}{self.opening_}{self.body.opening(name)}"

    def grammar(self, tools: Sequence[Tool], tokens: Mapping[str, int]) -> str:
        bodies = (self.body.grammar(tool, n, tokens) for n, tool in enumerate(tools))
        rules = [choice(tools), *bodies]
        head, tail = spelled(self.opening_, tokens), spelled(self.closing, tokens)
        item = f"{head} tool {tail}"
        items = f"{item} ({spelled(self.between, tokens)} {item})*"
        items = f"{spelled(self.inner[0], tokens)} {items} {spelled(self.inner[1], tokens)}"
        if self.bare:
            # Words may begin with anything but what begins a call. Where that is a bracket, with no
            # bracket: the lexer cannot take it back.
            begin = re.escape(self.inner[0].strip()) or self.bare
            words = rf"/(?s:.*)/ & ~/\s*({begin})(?s:.*)/"
            # Something optional at the end keeps the matcher from stopping before the end token.
            ends = ["END: /\\n?/", f"start: TEXT | {items} END", f"TEXT: {words}"]
            return "\n".join([*ends, *rules])
        if self.begin:
            group = f"{items} {spelled(self.end, tokens)}"
        else:
            group = f"{spelled(self.opening_.removeprefix(self._first), tokens)} tool {tail}"
        return "\n".join(
            [
                "start: group* last",
                f"group: before {group}",
                free_text(self._first, self.marks, tokens),
                *rules,
            ]
        )
