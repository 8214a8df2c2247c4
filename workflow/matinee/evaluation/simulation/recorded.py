"""Users' own tools: answers written down in a YAML file instead of a simulated API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from matinee.evaluation.simulation.answers import Problem, Refusal
from matinee.evaluation.simulation.api import SimulatedApi
from matinee.messages import documents
from matinee.messages.conversations import Tool, canonical_json
from matinee.messages.scenarios import Fault
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import ScenarioError
from matinee.runtime.strict import Strict


class RecordedAnswer(Strict):
    """What `tool` returns where its arguments include everything in `when`."""

    tool: Annotated[str, Field(min_length=1)]
    when: dict[str, Any] = Field(default={})
    returns: Any


class FixtureSimulation:
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
        known = {tool.name: tool.schema.get("properties", {}) for tool in tools}
        for answer in answers:
            _refuse_unfit(answer, known)
        self._tools = tuple(tools)
        self._answers = tuple(answers)
        self._api = SimulatedApi(tools, self._recorded, faults)

    @classmethod
    def read(
        cls, path: Path, tools: Sequence[Tool], faults: Sequence[Fault] = ()
    ) -> FixtureSimulation:
        """The simulation of a YAML file: a list of {tool, when, returns}. Raises ScenarioError."""
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
            answers = TypeAdapter(list[RecordedAnswer]).validate_python(entries)
            for answer in answers:
                canonical_json([answer.when, answer.returns])
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ScenarioError(f"{path}: cannot be read ({error}).") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ScenarioError(
                f"{path}: entry {where or '(file)'}: {first['msg']}. "
                "The file is a list of entries with the keys tool, when (optional) and returns."
            ) from error
        except TypeError as error:
            raise ScenarioError(
                f"{path}: holds a value that JSON cannot hold ({error}). Put dates in quotes."
            ) from error
        try:
            return cls(tools, answers, faults)
        except ScenarioError as error:
            raise ScenarioError(f"{path}: {error}") from error

    def anew(self, faults: Sequence[Fault] = ()) -> FixtureSimulation:
        """The same answers for another run of a case; its file is not read again."""
        return FixtureSimulation(self._tools, self._answers, faults)

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; never raises on model input."""
        return self._api.call(name, arguments)

    def _recorded(self, name: str, arguments: dict[str, Any]) -> Any:
        for answer in self._answers:
            if answer.tool == name and all(
                parameter in arguments and _same_json(arguments[parameter], value)
                for parameter, value in answer.when.items()
            ):
                return answer.returns
        raise Refusal(Problem.not_found)


def fixture_problems(file: Path, tools: Sequence[dict[str, Any]]) -> list[documents.Problem]:
    """Everything that is wrong with a file of recorded answers, with its line.

    `tools`: bare; none leaves them out of the check.
    """
    document = documents.open_document(file, kind=list)
    known = {tool["name"]: tool["parameters"].get("properties", {}) for tool in tools}
    for number, entry in enumerate(document.value or ()):
        try:
            answer = RecordedAnswer.model_validate(entry)
            canonical_json([answer.when, answer.returns])
            if known:
                _refuse_unfit(answer, known)
        except ValidationError as error:
            for fault in error.errors():
                where = ".".join(map(str, fault["loc"])) or "the entry"
                document.report(f"{where}: {fault['msg']}", (number, *fault["loc"]))
        except TypeError as error:
            text = f"holds a value that JSON cannot hold ({error}); put dates in quotes"
            document.report(text, (number,))
        except ScenarioError as error:
            document.report(str(error), (number,))
    return document.problems


def _refuse_unfit(answer: RecordedAnswer, known: dict[str, Any]) -> None:
    if answer.tool not in known:
        raise ScenarioError(
            f"an answer names the tool {answer.tool!r}, which is not listed. "
            f"Listed: {', '.join(known)}."
        )
    stray = sorted(answer.when.keys() - known[answer.tool].keys())
    if stray:
        raise ScenarioError(
            f"an answer of {answer.tool} has a condition on {', '.join(stray)}, which is no "
            f"parameter of it. Its parameters: {', '.join(known[answer.tool]) or 'none'}."
        )


def _same_json(one: Any, other: Any) -> bool:
    # Through text, so that true is not 1.
    return _sorted_json(one) == _sorted_json(other)


def _sorted_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
