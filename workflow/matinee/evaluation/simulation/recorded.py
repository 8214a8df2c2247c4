"""Users' own tools: answers written down in a YAML file instead of a simulated API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from matinee.evaluation.simulation.api import ApiProblem, Refusal, SimulatedApi
from matinee.messages import documents
from matinee.messages.conversations import Tool
from matinee.messages.json_schemas import ParameterSchema
from matinee.messages.scenarios import Fault
from matinee.runtime.errors import ScenarioError
from matinee.runtime.strict import Strict


class RecordedAnswer(Strict):
    """What `tool` returns where its arguments include everything in `when`."""

    tool: Annotated[str, Field(min_length=1)]
    when: dict[str, Any] = Field(default={})
    returns: Any


class FixtureSimulation(SimulatedApi):
    """A Simulation of any tools: the first recorded answer that fits is returned.

    A call that no answer fits gets a "not found" error; arguments are checked against the
    tool's JSON Schema as they are for the eleven tools.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        answers: Sequence[RecordedAnswer],
        faults: Sequence[Fault] = (),
    ) -> None:
        self._answers = tuple(answers)
        # A tool that two cases describe differently: each case has its own.
        listed = {tool.name: tool for tool in reversed(tools)}
        super().__init__(list(listed.values()), self._recorded, faults)

    @classmethod
    def read(cls, path: Path, tools: Sequence[Tool]) -> FixtureSimulation:
        """The simulation of a YAML file: a list of {tool, when, returns}. Raises ScenarioError."""
        answers, problems = _read(path, {tool.name: ParameterSchema(tool.schema) for tool in tools})
        if problems:
            lines = "\n".join(f"  {problem}" for problem in problems)
            raise ScenarioError(f"{path}: recorded answers that cannot be used:\n{lines}")
        return cls(tools, answers)

    def anew(self, faults: Sequence[Fault] = (), tools: Sequence[Tool] = ()) -> FixtureSimulation:
        """The same answers for another run of a case; its file is not read again."""
        return FixtureSimulation(tools or self.tools, self._answers, faults)

    def _recorded(self, name: str, arguments: dict[str, Any]) -> Any:
        for answer in self._answers:
            if answer.tool == name and all(
                parameter in arguments and _json(arguments[parameter]) == _json(value)
                for parameter, value in answer.when.items()
            ):
                return answer.returns
        raise Refusal(ApiProblem.not_found)


def fixture_problems(file: Path, tools: Sequence[dict[str, Any]]) -> list[documents.Problem]:
    """Everything that is wrong with a file of recorded answers, with its line.

    `tools`: bare; none leaves them out of the check.
    """
    return _read(file, {tool["name"]: ParameterSchema(tool["parameters"]) for tool in tools})[1]


def _read(
    file: Path, known: Mapping[str, ParameterSchema]
) -> tuple[list[RecordedAnswer], list[documents.Problem]]:
    document = documents.open_document(file, kind=list)
    answers = []
    for number, entry in enumerate(document.value or ()):
        try:
            answer = RecordedAnswer.model_validate(entry)
        except ValidationError as error:
            for fault in error.errors():
                where = ".".join(map(str, fault["loc"])) or "the entry"
                document.report(f"{where}: {fault['msg']}", (number, *fault["loc"]))
            continue
        answers.append(answer)
        if known and answer.tool not in known:
            listed = ", ".join(known)
            text = (
                f"an answer names the tool {answer.tool!r}, which is not listed. Listed: {listed}."
            )
            document.report(text, (number,))
        elif known and (stray := sorted(known[answer.tool].unknown(answer.when))):
            has = ", ".join(known[answer.tool].parameters) or "none"
            text = f"an answer of {answer.tool} has a condition on {', '.join(stray)}, which is no "
            document.report(f"{text}parameter of it. Its parameters: {has}.", (number,))
    return answers, document.problems


def _json(value: Any) -> str:
    # Through text, so that true is not 1.
    return json.dumps(value, sort_keys=True)
