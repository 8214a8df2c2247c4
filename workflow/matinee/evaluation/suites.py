"""Suites: scenario folders read, checked against their tools, and cut down for quick runs.

A folder holds `suite.yaml` and any number of other YAML files, each with `category` and `cases`.
Every problem of every file is found in one pass and told with its line.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from matinee.evaluation.significance import FEWEST_FAMILIES
from matinee.evaluation.simulation.recorded import fixture_problems
from matinee.evaluation.suite_checks import head_problems, scenario_problems, shown
from matinee.evaluation.tool_lists import read_tools, sound_tools
from matinee.messages.documents import Document, Place, Problem, open_document
from matinee.messages.scenarios import (
    BfclCategory,
    Category,
    Fault,
    GoldCall,
    Said,
    Scenario,
    Slot,
    Suite,
    Title,
    Turn,
)
from matinee.runtime.errors import ScenarioError
from matinee.runtime.strict import Strict

SUITE_FILE = "suite.yaml"
CATEGORIES: tuple[str, ...] = get_args(Category)


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


def too_few(suite: Suite) -> list[str]:
    """Where the suite has too few families for a difference to be shown, whole or by category."""
    found = []
    for name in ("", *_categories(suite)):
        families = {one.family for one in suite.scenarios if name in ("", one.category)}
        if len(families) < FEWEST_FAMILIES:
            what = f"category {name}" if name else f"suite {suite.id}"
            found.append(
                f"{what}: cases of {len(families)} families; with fewer than {FEWEST_FAMILIES} "
                "no difference between two models can be shown, whatever they answer"
            )
    return found


def select(
    suite: Suite,
    *,
    limit: int | Mapping[str, int] | None = None,
    categories: Sequence[str] | None = None,
) -> Suite:
    """At most `limit` scenarios, drawn evenly and always the same ones, in the suite's order.

    Categories take turns; within one, families do (in single_tool: tools). None means all, and
    so does an empty list of categories. A limit by category draws from those that it names.
    Raises ScenarioError for a category that the suite does not have.
    """
    present = _categories(suite)
    if isinstance(limit, Mapping):
        categories = list(limit)
    unknown = [name for name in categories or () if name not in present]
    if unknown:
        raise ScenarioError(
            f"suite {suite.id}: no scenarios in {', '.join(unknown)}; it has {', '.join(present)}."
        )
    queues = {
        name: _spread([case for case in suite.scenarios if case.category == name])
        for name in present
        if not categories or name in categories
    }
    if isinstance(limit, Mapping):
        drawn = [case for name, queue in queues.items() for case in queue[: limit[name]]]
    else:
        drawn = _in_turns(list(queues.values()))[:limit]
    chosen = {case.id for case in drawn}
    kept = tuple(case for case in suite.scenarios if case.id in chosen)
    return suite.model_copy(update={"scenarios": kept})


def _categories(suite: Suite) -> list[str]:
    order = (*CATEGORIES, *suite.categories, *get_args(BfclCategory))
    present = {case.category for case in suite.scenarios}
    return [name for name in dict.fromkeys(order) if name in present]


def _spread(cases: list[Scenario]) -> list[Scenario]:
    """Cases reordered so that their tools or families take turns."""
    groups: dict[str, list[Scenario]] = {}
    for case in cases:
        calls = case.turns[0].calls
        by_tool = case.category == "single_tool" and calls
        groups.setdefault(calls[0].tool if by_tool else case.family, []).append(case)
    return _in_turns(list(groups.values()))


def _in_turns(queues: list[list[Scenario]]) -> list[Scenario]:
    """The first of each queue, then the second of each, and so on."""
    rows = itertools.zip_longest(*queues)
    return [case for row in rows for case in row if case is not None]


def _day(text: str | None) -> str | None:
    try:
        if text is not None and datetime.date.fromisoformat(text).isoformat() != text:
            raise ValueError
    except ValueError:
        raise ValueError('must be a quoted date, such as "2024-01-25"') from None
    return text


class _Head(Strict, strict=True):
    """`suite.yaml`."""

    id: str
    today: Annotated[str | None, AfterValidator(_day)]
    single_output: bool = False
    categories: dict[str, Title] = Field(default={})
    kinds: dict[str, dict[str, str]] = Field(default={})
    defaults: dict[str, dict[str, Any]] = Field(default={})


class _CaseFile(Strict):
    """Any other file. `cases` are read one by one."""

    category: Any
    cases: list[Any]


def _read(
    folder: Path, tools_file: Path, fixtures: Path | None
) -> tuple[Suite | None, list[Problem]]:
    tools, problems = read_tools(tools_file)
    # Without a usable tool list every call would be reported as unknown.
    known = {tool["name"]: tool for tool in tools} if tools else None
    document = open_document(folder / SUITE_FILE)
    head = _read_head(document)
    own = (document.value or {}).get("categories")
    named = tuple(own) if isinstance(own, dict) else ()
    single = head is not None and head.single_output
    reader = _Cases(known, (*CATEGORIES, *named), single=single)
    files = sorted(file for file in folder.glob("*.y*ml") if file.name != SUITE_FILE)
    if not files:
        problems.append(Problem(folder, 1, "", "no scenario files; put at least one *.yaml here"))
    scenarios: list[Scenario] = []
    for file in files:
        cases = open_document(file)
        scenarios += reader.read(cases)
        problems += cases.problems
    listed = {tool["name"]: tool for case in scenarios for tool in case.tools} | (known or {})
    if head is not None and tools:
        for at, text in head_problems(head.kinds, head.defaults, listed):
            document.report(text, at)
    problems += document.problems
    if fixtures is not None:
        problems += fixture_problems(fixtures, [*listed.values()])
    if problems or head is None:
        return None, problems
    return Suite(tools=tuple(tools), scenarios=tuple(scenarios), **head.model_dump()), []


def _read_head(document: Document) -> _Head | None:
    if document.value is None:
        return None
    try:
        head = _Head.model_validate(document.value)
    except ValidationError as error:
        _report(document, error, _Head)
        return None
    for name in head.categories:
        if name in CATEGORIES or not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            text = "a category of your own is named in small letters, unlike the shipped ones"
            document.report(f"{name!r}: {text}", ("categories", name))
    if head.today is None and not head.single_output:
        document.report("today may be null only with `single_output: true`", ("today",))
    return head


class _Cases:
    """The cases of all files. `tools`: what they are checked against; None leaves them out."""

    def __init__(
        self, tools: dict[str, dict[str, Any]] | None, categories: Sequence[str], *, single: bool
    ) -> None:
        self._tools, self._categories, self._single = tools, categories, single
        self._seen: dict[str, str] = {}

    def read(self, document: Document) -> list[Scenario]:
        """The file's sound scenarios; problems are noted in the document."""
        if document.value is None:
            return []
        try:
            file = _CaseFile.model_validate(document.value)
        except ValidationError as error:
            _report(document, error, _CaseFile)
            return []
        if file.category not in self._categories:
            allowed = ", ".join(self._categories)
            text = f"unknown category {shown(file.category)}; allowed: {allowed}"
            document.report(text, ("category",))
            return []
        return list(self._sound(document, file))

    def _sound(self, document: Document, file: _CaseFile) -> Iterator[Scenario]:
        for position, case in enumerate(file.cases):
            at: Place = ("cases", position)
            if not isinstance(case, dict):
                document.report("a case must be a mapping with id, family and turns", at)
                continue
            name = str(case.get("id", f"case {position + 1}"))
            if "category" in case:
                text = "unknown key 'category'; it is given once, for the file"
                document.report(text, at, name)
                continue
            if name in self._seen:
                text = f"the id is used twice, also in {self._seen[name]}; ids are unique"
                document.report(text, at, name)
            self._seen.setdefault(name, document.file.name)
            before = len(document.problems)
            own = self._own_tools(document, case, (*at, "tools"), name)
            if len(document.problems) > before:
                continue
            try:
                values = case | {"category": file.category, "tools": own}
                scenario = Scenario.model_validate(values)
            except ValidationError as error:
                _report(document, error, Scenario, at, name)
                continue
            tools = {tool["name"]: tool for tool in own} if own else self._tools
            for where, text in scenario_problems(scenario, tools, single_output=self._single):
                document.report(text, (*at, *where), name)
            yield scenario

    def _own_tools(
        self, document: Document, case: dict[str, Any], at: Place, name: str
    ) -> list[dict[str, Any]]:
        """The case's own tools, bare: written out, or named where they are the suite's."""
        listed = case.get("tools") or []
        if not isinstance(listed, list):
            text = "tools must be a list of tools, or of names of the suite's tools"
            document.report(text, at, name)
            return []
        meant = []
        for number, entry in enumerate(listed):
            if isinstance(entry, str) and self._tools is not None and entry not in self._tools:
                text = f"unknown tool {entry!r}; allowed: {', '.join(self._tools)}"
                document.report(text, (*at, number), name)
            known = self._tools or {}
            meant.append(known.get(entry, {"name": entry}) if isinstance(entry, str) else entry)
        return sound_tools(document, meant, at, name)


_MODELS: dict[str, type[BaseModel]] = {
    **{"turns": Turn, "calls": GoldCall, "alternatives": GoldCall, "slots": Slot},
    **{"faults": Fault, "opening": Said, "categories": Title},
}


def _report(
    document: Document,
    error: ValidationError,
    model: type[BaseModel],
    at: Place = (),
    case: str = "",
) -> None:
    """Every fault that pydantic found, in words: what is wrong and what is allowed."""
    for fault in error.errors():
        *inside, key = fault["loc"]
        owner = next((_MODELS[step] for step in reversed(inside) if step in _MODELS), model)
        if fault["type"] == "extra_forbidden":
            allowed = [one for one in owner.model_fields if (owner, one) != (Scenario, "category")]
            text = f"unknown key {key!r}; allowed: {', '.join(allowed)}"
        elif fault["type"] == "missing":
            text = f"the key {key!r} is missing"
        else:
            said = fault["msg"].removeprefix("Value error, ")
            text = f"{key}: {said}; found {shown(fault['input'])}"
        document.report(text, (*at, *fault["loc"]), case)
