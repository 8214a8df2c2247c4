"""`run.py chat`: loads the models and tools and begins to talk, in a terminal or as a page."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_args

from matinee.apps.agent.events import PlannerName
from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.agent.planning import Procedure, read_procedures
from matinee.apps.agent.tools import ToolSource
from matinee.apps.agent.trials.tasks import PROCEDURES
from matinee.apps.agent.trials.tools import task_tools
from matinee.apps.chatting.conversation import Speaker
from matinee.apps.chatting.sessions import Desk
from matinee.apps.chatting.wording import LANGUAGES
from matinee.apps.serving.running import LOCAL, Loading, load_live, name_of
from matinee.evaluation.suites import load_suite
from matinee.evaluation.tool_lists import read_tools
from matinee.messages.scenarios import Suite
from matinee.runtime import progress
from matinee.runtime.errors import ConfigurationError, EngineError, ScenarioError
from matinee.runtime.places import RESOURCES

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class Tools:
    """Where the tools of a chat come from; with nothing said, the test suite's eleven.

    `listed`: a JSON file, whose entries may have `returns`. `suite`: a folder of scenarios over
    them. `mcp`: a command, or an address. `openapi`: a document, of which only the operations in
    `allow` are called, at the address `server` and nowhere else; `allow` also chooses among the
    tools of `mcp`.
    """

    listed: Path | None = None
    suite: Path | None = None
    mcp: str | None = None
    openapi: Path | None = None
    server: str | None = None
    allow: tuple[str, ...] = ()

    def cases(self) -> tuple[Suite, str | None]:
        """The scenarios to begin with, and the tool list as it was written, where it was given.

        Raises ScenarioError for a suite or a list that cannot be used.
        """
        tools = self.listed or RESOURCES / "tools.json"
        if self.suite is not None or (self.listed or self.mcp or self.openapi) is None:
            suite = load_suite(self.suite or RESOURCES / "scenarios", tools)
        else:
            suite = Suite(id="chat", today=None, tools=(), scenarios=())
        if self.listed is None:
            return suite, None
        problems = read_tools(self.listed)[1]
        if problems:
            raise ScenarioError(f"{self.listed}: {problems[0]}")
        return suite, self.listed.read_text(encoding="utf-8")

    @contextlib.contextmanager
    def connected(self) -> Iterator[list[ToolSource]]:
        """The real tools. Raises UserError where they cannot be used."""
        sources: list[ToolSource] = []
        with contextlib.ExitStack() as stack:
            if self.openapi is not None:
                from matinee.apps.agent.openapi_tools import OpenApiTools
                from matinee.evaluation.openapi import import_openapi

                if not self.allow or not self.server:
                    raise ConfigurationError(
                        "--openapi calls a real service: say which operations may be called "
                        "(--allow NAME, once for each) and at which address (--server)."
                    )
                document = import_openapi(self.openapi, list(self.allow))
                sources.append(OpenApiTools(document, allow=self.allow, server=self.server))
            if self.mcp is not None:
                from matinee.apps.agent.mcp_tools import connect_mcp

                allow = None if self.openapi is not None else self.allow or None
                sources.append(stack.enter_context(connect_mcp(self.mcp, allow=allow)))
            yield sources


@contextlib.contextmanager
def open_desk(
    folder: Path, untuned: Path | None, loading: Loading, memory: Path | None, tools: Tools
) -> Iterator[Desk]:
    """The models, loaded, and a memory that is forgotten at the end where no folder keeps it."""
    with contextlib.ExitStack() as stack:
        suite, listed = tools.cases()
        sources = stack.enter_context(tools.connected())
        tuned = load_live(folder, loading)
        stack.callback(tuned.engine.close)
        speakers = [Speaker(name_of(folder), tuned.engine, tuned.form)]
        if untuned is not None:
            # The start model has no template of its own; it is asked in the tuned model's.
            other = load_live(untuned, replace(loading, template=tuned.template))
            stack.callback(other.engine.close)
            speakers.append(Speaker(name_of(untuned), other.engine, other.form))
        kept = memory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = {str(tool["name"]) for tool in suite.tools}
        desk = Desk(speakers, suite, LongTermMemory(kept), _procedures(names), sources)
        desk.tool_list = listed or desk.tool_list
        yield desk


def _procedures(tools: Set[str]) -> list[Procedure]:
    """The written procedures whose tools are all at hand."""
    known = tools | {tool.name for tool in task_tools()}
    return [
        procedure
        for procedure in read_procedures(PROCEDURES, known)
        if all(step.tool is None or step.tool in tools for step in procedure.steps)
    ]


def show_page(desk: Desk, host: str, port: int) -> None:
    """Serves the page until it is interrupted. Raises EngineError where the port is not free."""
    from matinee.apps.chatting.page import build, launch_settings

    page = build(desk)
    try:
        _, address, _ = page.launch(prevent_thread_lock=True, **launch_settings(host, port))
    except OSError as error:
        raise EngineError(
            f"{host}:{port} cannot be used ({error}). Choose another --port or --host."
        ) from error
    progress.say(f"✓ Talk to {desk.speakers[0].name} at {address} (Ctrl-C ends it)")
    if host not in LOCAL:
        progress.say(f"! Anyone who reaches {host} can use the page.")
    page.block_thread()


def show_terminal(desk: Desk, planner: str, language: str) -> None:
    """Talks in the terminal until it is ended. Raises ConfigurationError for unknown words."""
    from matinee.apps.chatting.terminal import Terminal

    Terminal(
        desk,
        _one_of(planner, get_args(PlannerName), "--planner"),
        _one_of(language, LANGUAGES, "--language"),
        compare=len(desk.speakers) > 1,
    ).run()


def _one_of(value: str, allowed: Sequence[Choice], option: str) -> Choice:
    for choice in allowed:
        if choice == value:
            return choice
    raise ConfigurationError(f"{option} is {value!r}; allowed: {', '.join(allowed)}.")
