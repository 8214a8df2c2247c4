"""Suites: scenario folders read, checked against their tools, and cut down for quick runs.

A folder holds `suite.yaml` (`id`, `today`) and any number of other YAML files, each with
`category` and `cases`. Every problem of every file is found in one pass and told with its line.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from matinee.evaluation.simulation.recorded import fixture_problems
from matinee.evaluation.suite_checks import scenario_problems, shown
from matinee.evaluation.tool_lists import read_tools
from matinee.messages.documents import Document, Problem, open_document
from matinee.messages.scenarios import (
    BfclCategory,
    Category,
    Fault,
    GoldCall,
    Scenario,
    Slot,
    Suite,
    Turn,
)
from matinee.runtime.errors import ScenarioError

SUITE_FILE = "suite.yaml"
CATEGORIES: tuple[str, ...] = get_args(Category)
_ORDER: tuple[str, ...] = (*CATEGORIES, *get_args(BfclCategory))
# What only suites that are not written by hand have.
_NOT_IN_FILES = ("opening", "tools")
_CASE_KEYS = tuple(key for key in Scenario.model_fields if key not in (*_NOT_IN_FILES, "category"))


def check_suite(folder: Path, tools_file: Path, fixtures: Path | None = None) -> list[str]:
    """Every problem of a suite, each as "file:line: case id: what is wrong, what is allowed".

    `fixtures`: what the tools return, if that is written down.
    """
    return [str(problem) for problem in _read(folder, tools_file, fixtures)[1]]


def load_suite(folder: Path, tools_file: Path, fixtures: Path | None = None) -> Suite:
    """A suite with its tools in the bare form (`name`, `description`, `parameters`).

    Scenarios come in the order of file names, then of the cases in each.
    Raises ScenarioError with all problems.
    """
    suite, problems = _read(folder, tools_file, fixtures)
    if suite is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ScenarioError(
            f"{folder}: {count} in this suite:\n{lines}\n"
            "Correct these places; docs/scenarios.md says how a scenario is written."
        )
    return suite


def select(
    suite: Suite, *, limit: int | None = None, categories: Sequence[str] | None = None
) -> Suite:
    """At most `limit` scenarios, drawn evenly and always the same ones, in the suite's order.

    Categories take turns; within one, families do (in single_tool: tools). None means all, and
    so does an empty list of categories.
    Raises ScenarioError for a category that the suite does not have.
    """
    present = [name for name in _ORDER if any(s.category == name for s in suite.scenarios)]
    unknown = [name for name in categories or () if name not in present]
    if unknown:
        raise ScenarioError(
            f"suite {suite.id}: no scenarios in {', '.join(unknown)}; it has {', '.join(present)}."
        )
    wanted = [name for name in present if not categories or name in categories]
    queues = [
        _spread([case for case in suite.scenarios if case.category == name]) for name in wanted
    ]
    chosen = {case.id for case in itertools.islice(_in_turns(queues), limit)}
    kept = tuple(case for case in suite.scenarios if case.id in chosen)
    return suite.model_copy(update={"scenarios": kept})


def _spread(cases: list[Scenario]) -> list[Scenario]:
    """Cases reordered so that their tools or families take turns."""
    groups: dict[str, list[Scenario]] = {}
    for case in cases:
        calls = case.turns[0].calls
        by_tool = case.category == "single_tool" and calls
        groups.setdefault(calls[0].tool if by_tool else case.family, []).append(case)
    return list(_in_turns(list(groups.values())))


def _in_turns(queues: list[list[Scenario]]) -> Iterator[Scenario]:
    """The first of each queue, then the second of each, and so on."""
    for row in itertools.zip_longest(*queues):
        yield from (case for case in row if case is not None)


def _read(
    folder: Path, tools_file: Path, fixtures: Path | None
) -> tuple[Suite | None, list[Problem]]:
    tools, problems = read_tools(tools_file)
    head = open_document(folder / SUITE_FILE)
    _check_head(head)
    problems += head.problems
    schemas = {tool["name"]: tool["parameters"] for tool in tools}
    files = sorted(file for file in folder.glob("*.y*ml") if file.name != SUITE_FILE)
    if not files:
        problems.append(Problem(folder, 1, "", "no scenario files; put at least one *.yaml here"))
    scenarios: list[Scenario] = []
    seen: dict[str, str] = {}
    for file in files:
        document = open_document(file)
        # Without a usable tool list every call would be reported as unknown.
        scenarios += _read_cases(document, schemas if tools else None, seen)
        problems += document.problems
    if fixtures is not None:
        problems += fixture_problems(fixtures, tools)
    if problems:
        return None, problems
    head_value = head.value
    return (
        Suite(
            id=head_value["id"],
            today=head_value["today"],
            tools=tuple(tools),
            scenarios=tuple(scenarios),
        ),
        [],
    )


def _check_head(head: Document) -> None:
    if head.value is None:
        return
    _check_keys(head, ("id", "today"))
    if "id" in head.value and not isinstance(head.value["id"], str):
        head.report("id must be a text, such as zh", ("id",))
    if "today" in head.value and not _is_date(head.value["today"]):
        found = shown(head.value["today"])
        head.report(
            f'today must be a quoted date, such as "2024-01-25"; found {found}',
            ("today",),
        )


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _check_keys(document: Document, allowed: tuple[str, ...]) -> None:
    for key in document.value:
        if key not in allowed:
            document.report(f"unknown key {key!r}; allowed: {', '.join(allowed)}", (key,))
    for key in allowed:
        if key not in document.value:
            document.report(f"the key {key!r} is missing")


def _read_cases(
    document: Document, schemas: dict[str, Any] | None, seen: dict[str, str]
) -> list[Scenario]:
    """The file's sound scenarios; problems are noted in the document, ids in `seen`."""
    if document.value is None:
        return []
    _check_keys(document, ("category", "cases"))
    category = document.value.get("category")
    if category not in CATEGORIES:
        allowed = ", ".join(CATEGORIES)
        document.report(f"unknown category {shown(category)}; allowed: {allowed}", ("category",))
        return []
    cases = document.value.get("cases")
    if not isinstance(cases, list):
        document.report("cases must be a list", ("cases",))
        return []
    scenarios = [
        _read_case(document, position, {"category": category}, schemas, seen)
        for position in range(len(cases))
    ]
    return [scenario for scenario in scenarios if scenario is not None]


def _read_case(
    document: Document,
    position: int,
    shared: dict[str, str],
    schemas: dict[str, Any] | None,
    seen: dict[str, str],
) -> Scenario | None:
    case, at = document.value["cases"][position], ("cases", position)
    if not isinstance(case, dict):
        document.report("a case must be a mapping with id, family and turns", at)
        return None
    name = str(case.get("id", f"case {position + 1}"))
    if "category" in case:
        document.report("unknown key 'category'; it is given once, for the file", at, name)
        return None
    for key in _NOT_IN_FILES:
        if key in case:
            document.report(
                f"unknown key {key!r}; allowed: {', '.join(_CASE_KEYS)}", (*at, key), name
            )
            return None
    if name in seen:
        document.report(f"the id is used twice, also in {seen[name]}; ids are unique", at, name)
    seen.setdefault(name, document.file.name)
    try:
        scenario = Scenario.model_validate(case | shared)
    except ValidationError as error:
        for fault in error.errors():
            document.report(_explain(dict(fault)), (*at, *fault["loc"]), name)
        return None
    for where, text in scenario_problems(scenario, schemas):
        document.report(text, (*at, *where), name)
    return scenario


_MODELS: dict[str, type[BaseModel]] = {
    "turns": Turn,
    "calls": GoldCall,
    "slots": Slot,
    "faults": Fault,
}


def _explain(fault: dict[str, Any]) -> str:
    """A pydantic error in words: what is wrong and what is allowed."""
    *inside, key = fault["loc"]
    model = next((_MODELS[step] for step in reversed(inside) if step in _MODELS), Scenario)
    allowed = list(_CASE_KEYS if model is Scenario else model.model_fields)
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key!r}; allowed: {', '.join(allowed)}"
    if fault["type"] == "missing":
        return f"the key {key!r} is missing"
    return f"{key}: {fault['msg']}; found {shown(fault['input'])}"
