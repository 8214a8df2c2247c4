"""Reads the question and answer files of BFCL into a suite.

`BFCL_v4_CATEGORY.json` holds one question a line; `possible_answer/` holds the accepted answers
of the same ids, in the same order. A case is one question with its own tools; it ends after the
first output, whose calls must be the accepted ones in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from matinee.evaluation.bfcl.accepted import Unanswerable, gold_call
from matinee.evaluation.bfcl.schemas import as_tool
from matinee.messages.scenarios import BfclCategory, Said, Scenario, Suite, Turn
from matinee.runtime.errors import ScenarioError

CATEGORIES: tuple[BfclCategory, ...] = get_args(BfclCategory)
Row = TypeVar("Row", bound=BaseModel)
_WITHOUT_CALLS = ("irrelevance", "live_irrelevance")


class _Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str


class _Function(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    description: str = ""
    parameters: dict[str, Any]


class _Question(BaseModel):
    """One line of a question file. `question`: one list of messages per turn."""

    id: str
    question: list[list[_Message]]
    function: list[_Function]


class _Answer(BaseModel):
    """One line of an answer file. `ground_truth`: the accepted calls."""

    id: str
    ground_truth: list[dict[str, dict[str, list[Any]]]]


@dataclass(frozen=True)
class BfclSuite:
    """The suite, and why which questions were left out: no call would be accepted."""

    suite: Suite
    left_out: dict[str, str]


def load_bfcl(data: Traversable, identifier: str, categories: Sequence[str] = ()) -> BfclSuite:
    """The suite of these categories (none named: all), in BFCL's order.

    `data`: the folder of the question files. Raises ScenarioError with file and line.
    """
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown:
        raise ScenarioError(
            f"suite {identifier}: BFCL has no categories {', '.join(unknown)} that can be run "
            f"here; choose among {', '.join(CATEGORIES)}."
        )
    wanted = [name for name in CATEGORIES if not categories or name in categories]
    left_out: dict[str, str] = {}
    scenarios = [case for name in wanted for case in _category(data, name, left_out)]
    suite = Suite(
        id=identifier,
        today=None,
        tools=(),
        scenarios=tuple(scenarios),
        single_output=True,
        values="plain",
    )
    return BfclSuite(suite, left_out)


def _category(
    data: Traversable, category: BfclCategory, left_out: dict[str, str]
) -> Iterator[Scenario]:
    questions = list(_lines(data / f"BFCL_v4_{category}.json", _Question))
    answers = _answers(data, category, [question.id for _, question in questions])
    for (where, question), answer in zip(questions, answers, strict=True):
        try:
            yield _scenario(category, question, answer)
        except Unanswerable as error:
            left_out[question.id] = str(error)
        except ValueError as error:
            raise ScenarioError(f"{where}: {question.id}: {error}") from error


def _answers(
    data: Traversable, category: BfclCategory, ids: Sequence[str]
) -> Sequence[_Answer | None]:
    """The answer to each question; None where nothing may be called."""
    if category in _WITHOUT_CALLS:
        return [None] * len(ids)
    file = data / "possible_answer" / f"BFCL_v4_{category}.json"
    answers = [answer for _, answer in _lines(file, _Answer)]
    if [answer.id for answer in answers] != list(ids):
        raise ScenarioError(
            f"{file}: its ids are not those of the questions, in their order. "
            "Take questions and answers from the same version of BFCL."
        )
    return answers


def _lines(file: Traversable, kind: type[Row]) -> Iterator[tuple[str, Row]]:
    """Each row with "file:line"."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: cannot be read ({error}).") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield f"{file}:{number}", kind.model_validate(json.loads(line))
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise ScenarioError(
                    f"{file}:{number}: not a row of BFCL v4 ({place}: {first['msg']})."
                ) from error
            except ValueError as error:
                raise ScenarioError(f"{file}:{number}: not JSON ({error}).") from error


def _scenario(category: BfclCategory, row: _Question, answer: _Answer | None) -> Scenario:
    if len(row.question) != 1 or not row.question[0] or row.question[0][-1].role != "user":
        raise ValueError("the question must be one turn that ends with a user's message")
    *before, last = row.question[0]
    tools = tuple(as_tool(function.model_dump()) for function in row.function)
    by_name = {tool["name"]: tool for tool in tools}
    if len(by_name) != len(tools):
        raise ValueError("two of the question's tools have the same name")
    calls = answer.ground_truth if answer else ()
    return Scenario(
        id=row.id,
        category=category,
        family=_family(row.id),
        turns=(Turn(user=last.content, calls=tuple(gold_call(c, by_name) for c in calls)),),
        opening=tuple(Said(role=said.role, content=said.content) for said in before),
        tools=tools,
    )


def _family(identifier: str) -> str:
    """Live ids are `live_simple_3-1-0`: question 3, about the second list of functions."""
    parts = identifier.split("-")
    prefix = parts[0].rpartition("_")[0]
    return f"{prefix}_list_{parts[1]}" if len(parts) == 3 else identifier
