"""The tools of a conversation: the simulated ones, edited ones, and answers written down."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matinee.apps.agent.tools import Toolbox, ToolSource
from matinee.evaluation.simulation.api import ApiProblem, Refusal, SimulatedApi
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.evaluation.simulation.world import FUNCTIONS
from matinee.evaluation.tool_lists import sound_tools
from matinee.messages.conversations import Tool
from matinee.messages.documents import Document
from matinee.messages.scenarios import Fault
from matinee.runtime.errors import UserError

# Beside name, description and parameters: what the tool answers, whatever it is asked.
ANSWER = "returns"
UNANSWERED = "这个工具没有写明返回内容"


class ChatTools:
    """A tool list, as JSON text, in which every call gets an observation.

    A tool with a `returns` of its own answers with that; one of the eleven simulated tools
    answers from the simulated world as of `today`; any other says that it has no answer.
    Arguments are checked against the list as it is. Raises UserError for a list that no model can
    be given. `sources`: real tools, called as they are.
    """

    def __init__(
        self,
        text: str,
        today: datetime.date,
        faults: Sequence[Fault] = (),
        sources: Sequence[ToolSource] = (),
    ) -> None:
        try:
            wrapped = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"The tool list is not JSON: {error}.") from error
        if not isinstance(wrapped, list):
            raise UserError("The tool list must be a JSON array.")
        listed = [one.get("function", one) if isinstance(one, dict) else one for one in wrapped]
        self.today = today
        document = Document(Path("tools"))
        tools = [Tool.from_openai(tool) for tool in sound_tools(document, listed)]
        if document.problems:
            raise UserError(f"The tool list, {document.problems[0].text}")
        named = {tool.name: entry for tool, entry in zip(tools, listed, strict=True)}
        self.answers = {name: entry[ANSWER] for name, entry in named.items() if ANSWER in entry}
        striking = [fault for fault in faults if fault.tool in named]
        box = Toolbox([SimulatedApi(tools, self._answer, striking), *sources])
        self.tools, self.call = box.tools, box.call  # see `ToolSource`

    def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        if name in self.answers:
            return self.answers[name]
        if name not in FUNCTIONS:
            raise Refusal(ApiProblem.not_found, UNANSWERED)
        try:
            return FUNCTIONS[name](self.today, **arguments)
        except TypeError as error:  # the list has other parameters than the simulated tool
            raise Refusal(ApiProblem.unknown_parameter, str(error).partition("() ")[2]) from error


def listed_tools(tools: Sequence[Tool] | None = None) -> str:
    """A tool list as people edit it; without one, the eleven simulated tools."""
    entries = [
        tool.as_openai()["function"] for tool in (eleven_tools() if tools is None else tools)
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2)
