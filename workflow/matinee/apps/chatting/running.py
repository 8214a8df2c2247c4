"""`run.py chat`: loads the models and begins to talk, in a terminal or as a page."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, get_args

from matinee.apps.agent.events import PlannerName
from matinee.apps.agent.long_term import LongTermMemory
from matinee.apps.agent.procedures import Procedure, read_procedures
from matinee.apps.agent.trials.tasks import PROCEDURES
from matinee.apps.agent.trials.tools import task_tools
from matinee.apps.chatting.conversation import Manner, Speaker
from matinee.apps.chatting.scenario_list import load_scenarios
from matinee.apps.chatting.sessions import Desk
from matinee.apps.chatting.wording import LANGUAGES
from matinee.apps.serving.loading import Loading, load_live, name_of
from matinee.apps.serving.running import LOCAL
from matinee.runtime import progress
from matinee.runtime.errors import ConfigurationError, EngineError

Choice = TypeVar("Choice", bound=str)


@contextlib.contextmanager
def open_desk(
    folder: Path, untuned: Path | None, loading: Loading, memory: Path | None
) -> Iterator[Desk]:
    """The models, loaded, and a memory that is forgotten at the end where no folder keeps it."""
    with contextlib.ExitStack() as stack:
        tuned = load_live(folder, loading)
        stack.callback(tuned.engine.close)
        speakers = [Speaker(name_of(folder), tuned.engine, tuned.form)]
        if untuned is not None:
            # The start model has no template of its own; it is asked in the tuned model's.
            other = load_live(untuned, replace(loading, template=tuned.template))
            stack.callback(other.engine.close)
            speakers.append(Speaker(name_of(untuned), other.engine, other.form))
        kept = memory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        suite = load_scenarios()
        names = {str(tool["name"]) for tool in suite.tools}
        yield Desk(speakers, suite, LongTermMemory(kept), _procedures(names))


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
        Manner(_one_of(planner, get_args(PlannerName), "--planner")),
        _one_of(language, LANGUAGES, "--language"),
        compare=len(desk.speakers) > 1,
    ).run()


def _one_of(value: str, allowed: Sequence[Choice], option: str) -> Choice:
    for choice in allowed:
        if choice == value:
            return choice
    raise ConfigurationError(f"{option} is {value!r}; allowed: {', '.join(allowed)}.")
