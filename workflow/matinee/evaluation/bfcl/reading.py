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

from matinee.evaluation.bfcl.accepted import gold_call
from matinee.evaluation.bfcl.schemas import as_tool
from matinee.messages.scenarios import BfclCategory, Said, Scenario, Suite, Turn
from matinee.runtime.errors import ScenarioError

CATEGORIES: tuple[BfclCategory, ...] = get_args(BfclCategory)
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


Row = TypeVar("Row", _Question, _Answer)


@dataclass(frozen=True)
class BfclSuite:
    """The suite, and why which questions were left out, by id or by file and line."""

    suite: Suite
    left_out: dict[str, str]


def load_bfcl(data: Traversable, identifier: str, categories: Sequence[str] = ()) -> BfclSuite:
    """The suite of these categories (none named: all), in BFCL's order.

    `data`: the folder of the question files. A row that cannot be used is left out and told; where
    a category has no other, ScenarioError says why.
    """
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown:
        raise ScenarioError(
            f"suite {identifier}: BFCL has no categories {', '.join(unknown)} that can be run "
            f"here; choose among {', '.join(CATEGORIES)}."
        )
    left_out: dict[str, str] = {}
    scenarios: dict[str, Scenario] = {}
    for name in CATEGORIES:
        if not categories or name in categories:
            unusable: dict[str, str] = {}
            found = {case.id: case for case in _category(data, name, unusable)}
            if not found:
                why = "; ".join(f"{key}: {text}" for key, text in list(unusable.items())[:5])
                raise ScenarioError(
                    f"BFCL_v4_{name}.json has no question that can be used ({why or 'it is empty'})"
                    ". Take questions and answers from the same version of BFCL."
                )
            scenarios |= found
            left_out |= unusable
    suite = Suite(
        id=identifier,
        today=None,
        tools=(),
        scenarios=tuple(scenarios.values()),
        single_output=True,
        values="plain",
    )
    return BfclSuite(suite, left_out)


def _category(
    data: Traversable, category: BfclCategory, left_out: dict[str, str]
) -> Iterator[Scenario]:
    questions = _rows(data / f"BFCL_v4_{category}.json", _Question, left_out)
    answers: dict[str, _Answer] | None = None
    if category not in _WITHOUT_CALLS:
        answers = _rows(data / "possible_answer" / f"BFCL_v4_{category}.json", _Answer, left_out)
    for name, question in questions.items():
        try:
            if answers is not None and name not in answers:
                raise ValueError("no accepted answer that can be used")
            yield _scenario(category, question, answers[name] if answers else None)
        except (ValueError, RecursionError) as error:
            left_out[name] = str(error)


def _rows(file: Traversable, kind: type[Row], left_out: dict[str, str]) -> dict[str, Row]:
    """The rows that can be used, by id; the others are noted as "file:line"."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: cannot be read ({error}).") from error
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = kind.model_validate(json.loads(line)) if line.strip() else None
            if row is not None and rows.setdefault(row.id, row) is not row:
                raise ValueError(f"the id {row.id} stands twice")
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            left_out[f"{file.name}:{number}"] = f"not a row of BFCL v4 ({place}: {first['msg']})"
        except json.JSONDecodeError as error:
            left_out[f"{file.name}:{number}"] = f"not JSON ({error})"
        except (ValueError, RecursionError) as error:
            left_out[f"{file.name}:{number}"] = str(error) or "nested too deeply"
    return rows


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
