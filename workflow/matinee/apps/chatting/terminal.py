"""The conversation in a terminal: what the page shows, as lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matinee.apps.agent.events import PlannerName
from matinee.apps.chatting.scenario_files import accepted, suite_archive
from matinee.apps.chatting.sessions import Asking, Desk
from matinee.apps.chatting.showing import Block, blocks
from matinee.apps.chatting.wording import LANGUAGES, Language, Words
from matinee.runtime.errors import UserError
from matinee.runtime.redaction import visible

_KEY = "terminal"
_MARKS = {
    "words": "",
    "memory": "◷ ",
    "plan": "☰ ",
    "call": "⚙ ",
    "note": "↻ ",
    "answer": "",
    "cost": "  ",
    "problem": "✗ ",
}


class Terminal:
    """Reads questions and commands, prints what happens.

    `read`: the next line, given a prompt; raises EOFError at the end. `write`: prints a text.
    """

    def __init__(
        self,
        desk: Desk,
        planner: PlannerName,
        language: Language,
        *,
        compare: bool,
        read: Callable[[str], str] = input,
        write: Callable[[str], None] = print,
    ) -> None:
        self._desk = desk
        self._planner: PlannerName = planner
        self._compare = compare
        self._read = read
        self._print = write
        self._session = desk.session(_KEY)
        self._session.language = language
        self._tools = desk.tool_list

    def _write(self, text: str) -> None:
        self._print(visible(text))

    @property
    def _words(self) -> Words:
        return Words(self._session.language)

    def run(self) -> None:
        """Until /quit or the end of the input."""
        self._write(self._words("terminal_help"))
        while True:
            try:
                line = self._read("\n> ").strip()
            except (EOFError, KeyboardInterrupt):
                return
            if line == "/quit":
                return
            try:
                self._obey(line) if line.startswith("/") else self._ask(line)
            except UserError as error:
                self._write(f"✗ {error}")

    def _obey(self, line: str) -> None:
        command, _, value = line.partition(" ")
        value = value.strip()
        if command == "/new":
            self._session = self._desk.begin_again(_KEY)
        elif command == "/tools":
            self._list_tools()
        elif command == "/scenario":
            self._load(value)
        elif command == "/export":
            self._export(Path(value or "chat-scenario.zip"))
        elif command == "/language" and value in LANGUAGES:
            self._session.language = value
            self._write(self._words("terminal_help"))
        else:
            self._write(self._words("unknown_command", command=line))

    def _list_tools(self) -> None:
        for tool in json.loads(self._tools):
            self._write(f"{tool['name']}: {tool['description']}")

    def _load(self, name: str) -> None:
        self._session = self._desk.begin_again(_KEY, name)
        scenario = self._session.scenario
        if scenario is None:
            self._write(self._words("unknown_scenario", name=name))
            return
        words = self._words
        self._write(f"{words('today')} {self._desk.today}. {words('accepted')}:")
        self._write(accepted(scenario, words))
        self._ask(self._session.next_question)

    def _export(self, path: Path) -> None:
        tools = self._session.tools or self._desk.read_tools(self._tools)
        archive = suite_archive(self._session.conversations[0].turns, tools)
        try:
            path.write_bytes(archive)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}).") from error
        self._write(self._words("saved", path=path))

    def _ask(self, question: str) -> None:
        if not question:
            return
        printed = [0] * len(self._session.conversations)
        growing = self._desk.ask(
            self._session,
            Asking(question, self._tools, self._planner, compare=self._compare),
        )
        try:
            for _ in growing:
                self._print_news(printed)
        except KeyboardInterrupt:
            self._write("")
        self._print_news(printed)

    def _print_news(self, printed: list[int]) -> None:
        """Prints the blocks that are finished and were not printed yet."""
        for place, conversation in enumerate(self._session.conversations):
            if not conversation.turns:
                continue
            turn = conversation.turns[-1]
            shown = blocks(turn, self._words, conversation.speaker.form)[1:]
            ready = _finished(shown) if turn.state == "running" else shown
            for block in ready[printed[place] :]:
                name = f"[{conversation.speaker.name}] " if self._compare else ""
                self._write(name + "\n".join(_lines(block)))
            printed[place] = max(printed[place], len(ready))


def _finished(shown: Sequence[Block]) -> list[Block]:
    """The blocks before the first that is still growing."""
    done: list[Block] = []
    for block in shown[:-1]:
        if block.pending:
            break
        done.append(block)
    return done


def _lines(block: Block) -> Iterator[str]:
    yield _MARKS.get(block.kind, "") + (block.title or block.text)
    if block.title and block.text:
        yield from (f"  {line}" for line in block.text.splitlines())
    for caption, text in block.code:
        first, *more = text.splitlines() or [""]
        yield f"  {caption + ': ' if caption else ''}{first}"
        yield from (f"  {line}" for line in more)
