"""Suites: scenario folders read, checked against their tools, and cut down for quick runs.

A folder holds `suite.yaml` (`id`, `today`) and any number of other YAML files, each with
`category` and `cases`. Every problem of every file is found in one pass and told with its line.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from matinee.conversations import Tool
from matinee.errors import ScenarioError
from matinee.scenarios import BfclCategory, Category, Fault, GoldCall, Scenario, Slot, Suite, Turn
from matinee.simulation.arguments import Parameters
from matinee.suite_checks import Place, scenario_problems, shown

SUITE_FILE = "suite.yaml"
CATEGORIES: tuple[str, ...] = get_args(Category)
_ORDER: tuple[str, ...] = (*CATEGORIES, *get_args(BfclCategory))
# What only suites that are not written by hand have.
_NOT_IN_FILES = ("opening", "tools")
_CASE_KEYS = tuple(key for key in Scenario.model_fields if key not in (*_NOT_IN_FILES, "category"))


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where in which file, in which case, and what is allowed.

    `line` counts from 1. `case` is empty where the problem is not one case's.
    """

    file: Path
    line: int
    case: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.case + ': ' if self.case else ''}{self.text}"


@dataclass
class _Document:
    """A YAML file as plain values, with the line of every node found only when asked for."""

    file: Path
    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    _marked: Any = None

    def report(self, text: str, at: Place = (), case: str = "") -> None:
        """Notes a problem at the node that `at` leads to, or the nearest one that exists."""
        self.problems.append(Problem(self.file, self._line(at), case, text))

    def _line(self, at: Place) -> int:
        if self._marked is None:
            self._marked = YAML().load(self.file.read_text(encoding="utf-8"))
        node: Any = self._marked
        line = 0
        for step in at:
            try:
                marks: Any = node.lc
                mark = marks.key(step) if isinstance(node, dict) else marks.item(step)
                node = node[step]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
            line = mark[0]
        return line + 1


def check_suite(folder: Path, tools_file: Path) -> list[str]:
    """Every problem of a suite, each as "file:line: case id: what is wrong, what is allowed"."""
    return [str(problem) for problem in _read(folder, tools_file)[1]]


def load_suite(folder: Path, tools_file: Path) -> Suite:
    """A suite with its tools in the bare form (`name`, `description`, `parameters`).

    Scenarios come in the order of file names, then of the cases in each.
    Raises ScenarioError with all problems.
    """
    suite, problems = _read(folder, tools_file)
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


def _read(folder: Path, tools_file: Path) -> tuple[Suite | None, list[Problem]]:
    tools, problems = _read_tools(tools_file)
    head = _open(folder / SUITE_FILE)
    _check_head(head)
    problems += head.problems
    schemas = {tool["name"]: tool["parameters"] for tool in tools}
    files = sorted(file for file in folder.glob("*.y*ml") if file.name != SUITE_FILE)
    if not files:
        problems.append(Problem(folder, 1, "", "no scenario files; put at least one *.yaml here"))
    scenarios: list[Scenario] = []
    seen: dict[str, str] = {}
    for file in files:
        document = _open(file)
        # Without a usable tool list every call would be reported as unknown.
        scenarios += _read_cases(document, schemas if tools else None, seen)
        problems += document.problems
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


def _open(file: Path) -> _Document:
    """The file's plain values; a document without a value has a problem that says why."""
    document = _Document(file)
    try:
        document.value = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        document.problems.append(Problem(file, line, "", f"not YAML: {error.problem}"))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        document.problems.append(Problem(file, 1, "", f"cannot be read: {error}"))
    else:
        if not isinstance(document.value, dict):
            document.value = None
            text = "must be a mapping of keys to values"
            document.problems.append(Problem(file, 1, "", text))
    return document


def _check_head(head: _Document) -> None:
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


def _check_keys(document: _Document, allowed: tuple[str, ...]) -> None:
    for key in document.value:
        if key not in allowed:
            document.report(f"unknown key {key!r}; allowed: {', '.join(allowed)}", (key,))
    for key in allowed:
        if key not in document.value:
            document.report(f"the key {key!r} is missing")


def _read_tools(file: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The tools in bare form, and what is wrong with the file (then no tools)."""

    def problem(line: int, text: str) -> tuple[list[dict[str, Any]], list[Problem]]:
        return [], [Problem(file, line, "", text)]

    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        return problem(error.lineno, f"not JSON: {error.msg} in column {error.colno}")
    except (OSError, UnicodeDecodeError) as error:
        return problem(1, f"cannot be read: {error}")
    if not isinstance(listed, list) or not listed:
        return problem(1, "must be a JSON array of at least one tool")
    problems = [
        Problem(file, 1, "", f"tool {number}: {text}")
        for number, entry in enumerate(listed, start=1)
        if (text := _tool_problem(entry)) is not None
    ]
    if problems:
        return [], problems
    tools = [_bare(entry) for entry in listed]
    names = [tool["name"] for tool in tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return problem(1, f"two tools with the same name: {', '.join(twice)}")
    return tools, []


def _tool_problem(entry: Any) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("function", entry), dict):
        return "must be an object with name, description and parameters"
    bare = _bare(entry)
    if not isinstance(bare["name"], str) or not bare["name"]:
        return "has no name"
    parameters = bare["parameters"]
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return f"{bare['name']}: parameters must be a JSON Schema of type object"
    properties = parameters.get("properties", {})
    if not isinstance(properties, dict) or not all(
        isinstance(v, dict) for v in properties.values()
    ):
        return f"{bare['name']}: each of the properties must be a JSON Schema object"
    try:
        Parameters(Tool.from_openai(entry))
    except ScenarioError as error:
        return str(error)
    return None


def _bare(entry: dict[str, Any]) -> dict[str, Any]:
    function = entry.get("function", entry)
    return {
        "name": function.get("name"),
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {"type": "object", "properties": {}},
    }


def _read_cases(
    document: _Document, schemas: dict[str, Any] | None, seen: dict[str, str]
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
    document: _Document,
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
