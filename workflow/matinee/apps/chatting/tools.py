"""The tools of a conversation: the simulated ones, edited ones, and answers written down."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError

from matinee.apps.agent.tools import Toolbox, ToolSource
from matinee.evaluation.simulation.api import ApiProblem, Refusal, SimulatedApi
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.evaluation.simulation.world import FUNCTIONS
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault
from matinee.runtime.errors import ScenarioError, UserError

# Beside name, description and parameters: what the tool answers, whatever it is asked.
ANSWER = "returns"
UNANSWERED = "这个工具没有写明返回内容"


class ChatTools:
    """A tool list in which every call gets an observation.

    A tool with a `returns` of its own answers with that; one of the eleven simulated tools
    answers from the simulated world as of `today`; any other says that it has no answer.
    Arguments are checked against the list as it is. Raises UserError for a list that no model can
    be given. `sources`: real tools, called as they are.
    """

    def __init__(
        self,
        listed: Sequence[dict[str, Any]],
        today: datetime.date,
        faults: Sequence[Fault] = (),
        sources: Sequence[ToolSource] = (),
    ) -> None:
        self.today = today
        self.answers = {
            str(entry.get("name")): entry[ANSWER] for entry in listed if ANSWER in entry
        }
        tools = tuple(_tool(entry, place) for place, entry in enumerate(listed, start=1))
        known = {tool.name for tool in tools}
        try:
            striking = [fault for fault in faults if fault.tool in known]
            api = SimulatedApi(tools, self._answer, striking)
        except ScenarioError as error:
            raise UserError(str(error)) from error
        box = Toolbox([api, *sources])
        self.tools, self.call = box.tools, box.call  # see `ToolSource`

    @classmethod
    def read(
        cls,
        text: str,
        today: datetime.date,
        faults: Sequence[Fault] = (),
        sources: Sequence[ToolSource] = (),
    ) -> ChatTools:
        """The tools of a JSON text. Raises UserError that says what is wrong with it."""
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"The tool list is not JSON: {error}.") from error
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise UserError("The tool list must be a JSON array of objects.")
        return cls([entry.get("function") or entry for entry in listed], today, faults, sources)

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


def _tool(entry: dict[str, Any], place: int) -> Tool:
    name, schema = entry.get("name"), entry.get("parameters") or {"type": "object"}
    where = f"tool {place}" + (f" ({name})" if isinstance(name, str) and name else "")
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"The tool list, {where}: the key name is missing.")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise UserError(f"The tool list, {where}: parameters must be a JSON Schema of type object.")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or not all(
        isinstance(v, dict) for v in properties.values()
    ):
        raise UserError(f"The tool list, {where}: each of the properties must be an object.")
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(()))
    except SchemaError as error:
        raise UserError(f"The tool list, {where}: {error.message}.") from error
    return Tool.from_openai(
        {"name": name, "description": entry.get("description"), "parameters": schema}
    )
