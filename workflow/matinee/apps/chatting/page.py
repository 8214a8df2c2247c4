"""The page in the browser: what its buttons do, and how it is served."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr  # here, because gradio reads the annotations of handlers

from matinee.apps.agent.events import PlannerName
from matinee.apps.chatting.layout import Parts, lay_out, worded
from matinee.apps.chatting.markdown import chat_messages, fenced, plain
from matinee.apps.chatting.scenario_files import accepted, suite_archive
from matinee.apps.chatting.sessions import Asking, Desk, Session
from matinee.apps.chatting.showing import blocks
from matinee.apps.chatting.wording import Language, Words, preferred
from matinee.runtime.errors import UserError

LOG = logging.getLogger(__name__)
STYLE = Path(__file__).parent / "page.css"
_CLICK = "() => setTimeout(() => document.querySelector('#download')?.click(), 300)"
Updates = dict[Any, Any]


def build(desk: Desk) -> Any:
    """The gradio application over a desk; launch it with `launch_settings`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with gr.Blocks(title="Matinee") as page:
        names = [scenario.id for scenario in desk.suite.scenarios]
        parts = lay_out(len(desk.speakers), names, desk.tool_list)
        _connect(page, parts, _Handlers(desk, parts))
    return page.queue(default_concurrency_limit=32)


def launch_settings(host: str, port: int) -> dict[str, Any]:
    """What `launch` is to be told: local fonts, no links outside, errors as short sentences."""
    theme = gr.themes.Default(
        primary_hue="teal",
        neutral_hue="stone",
        font=["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )
    return {
        "server_name": host,
        "server_port": port,
        "share": False,
        "quiet": True,
        "show_error": False,
        "footer_links": [],
        "ssr_mode": False,
        "theme": theme,
        "css": STYLE.read_text(encoding="utf-8"),
    }


def _connect(page: Any, parts: Parts, do: _Handlers) -> None:
    """Which button does what. No event is part of a public interface."""
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    everything = parts.all()
    asked = [
        parts.question,
        parts.compare,
        parts.planner,
        parts.reflection,
        parts.memory,
        parts.tools,
    ]
    page.load(do.arrive, None, everything, **private)
    page.unload(do.leave)
    parts.language.input(do.switch, parts.language, everything, **private)
    for event in (parts.send.click, parts.question.submit):
        event(do.send, asked, everything, **private)
    parts.stop.click(do.stop, None, None, **private)
    parts.compare.change(do.compare, parts.compare, parts.columns, **private)
    parts.new.click(do.begin_again, None, everything, **private)
    parts.scenario.input(do.load_scenario, parts.scenario, everything, **private)
    parts.tools_reset.click(do.restore_tools, None, parts.tools, **private)
    parts.export.click(do.export, parts.tools, everything, **private).then(
        None, None, None, js=_CLICK, **private
    )


class _Handlers:
    """The events of the page; gradio fills `request` by its type."""

    def __init__(self, desk: Desk, parts: Parts) -> None:
        self._desk = desk
        self._parts = parts
        self._files = Path(tempfile.mkdtemp(prefix="matinee-chat-"))

    def arrive(self, request: gr.Request) -> Updates:
        """A new visitor: the language of the browser."""
        language = preferred(request.headers.get("accept-language", ""))
        return self.switch(language, request)

    def leave(self, request: gr.Request) -> None:
        """The visitor has closed the page."""
        self._desk.leave(request.session_hash)

    def switch(self, language: Language, request: gr.Request) -> Updates:
        """Everything in another language, what was said included."""
        session = self._desk.session(request.session_hash)
        session.language = language
        models = [speaker.name for speaker in self._desk.speakers]
        updates = worded(self._parts, Words(language), models)
        for chat, shown in zip(self._parts.chats, self._shown(session), strict=True):
            updates[chat] = {**updates[chat], "value": shown}
        return updates | {self._parts.accepted: self._accepted(session)}

    def send(
        self,
        question: str,
        compare: bool,
        planner: PlannerName,
        reflection: bool,
        memory: bool,
        tools: str,
        request: gr.Request,
    ) -> Iterator[Updates]:
        """Asks, and shows the answers as they grow."""
        session = self._desk.session(request.session_hash)
        words = Words(session.language)
        if session.busy:
            yield {self._parts.notice: ""}
            return
        if not question.strip():
            yield {self._parts.notice: words("nothing_asked")}
            return
        session.busy = True
        try:
            yield {self._parts.question: "", **self._asking(True)}
            asking = Asking(question.strip(), tools, planner, reflection, memory, compare)
            for _ in self._desk.ask(session, asking):
                yield self._chats(session)
            yield {self._parts.question: session.next_question}
        except UserError as error:
            told = plain(words("problem", problem=str(error)))
            yield {self._parts.notice: told, self._parts.question: question}
        except Exception:  # a fault of ours must not leave the page without its buttons
            LOG.exception("The page failed.")
            yield {self._parts.notice: words("lost")}
        finally:
            session.busy = False
            session.stop.set()
        yield self._asking(False) | self._chats(session)

    def stop(self, request: gr.Request) -> None:
        """Ends the answers under way."""
        self._desk.session(request.session_hash).stop.set()

    def compare(self, wanted: bool) -> list[Any]:
        """Shows or hides the second chat."""
        return [
            gr.update(visible=place == 0 or wanted) for place in range(len(self._parts.columns))
        ]

    def begin_again(self, request: gr.Request) -> Updates:
        """An empty conversation without a scenario."""
        session = self._desk.begin_again(request.session_hash)
        return self._fresh(session) | {self._parts.scenario: None}

    def load_scenario(self, name: str | None, request: gr.Request) -> Updates:
        """An empty conversation with the scenario's first message in the question."""
        return self._fresh(self._desk.begin_again(request.session_hash, name))

    def restore_tools(self) -> str:
        """The suite's tool list."""
        return self._desk.tool_list

    def export(self, tools: str, request: gr.Request) -> Updates:
        """The conversation as a scenario in a file to keep."""
        session = self._desk.session(request.session_hash)
        words = Words(session.language)
        try:
            known = session.tools or self._desk.read_tools(tools)
            archive = suite_archive(session.conversations[0].turns, known)
        except UserError as error:
            return {self._parts.notice: plain(words("problem", problem=str(error)))}
        folder = Path(tempfile.mkdtemp(dir=self._files))
        path = folder / "chat-scenario.zip"
        path.write_bytes(archive)
        ready = gr.update(value=str(path), label=path.name, visible=True)
        return {self._parts.download: ready, self._parts.notice: ""}

    def _fresh(self, session: Session) -> Updates:
        return {
            **self._chats(session),
            **self._asking(False),
            self._parts.question: session.next_question,
            self._parts.accepted: self._accepted(session),
            self._parts.download: gr.update(visible=False),
        }

    def _asking(self, busy: bool) -> Updates:
        """Which of the two buttons can be pressed."""
        return {
            self._parts.send: gr.update(interactive=not busy),
            self._parts.stop: gr.update(interactive=busy),
            **({self._parts.notice: ""} if busy else {}),
        }

    def _chats(self, session: Session) -> Updates:
        return dict(zip(self._parts.chats, self._shown(session), strict=True))

    def _shown(self, session: Session) -> list[list[dict[str, Any]]]:
        words = Words(session.language)
        return [
            [
                message
                for turn in conversation.turns
                for message in chat_messages(blocks(turn, words, conversation.speaker.form))
            ]
            for conversation in session.conversations
        ]

    def _accepted(self, session: Session) -> str:
        if session.scenario is None:
            return ""
        words = Words(session.language)
        head = f"{words('today')} {self._desk.today}. {words('accepted')}:"
        return f"{plain(head)}\n\n{fenced(accepted(session.scenario, words))}"
