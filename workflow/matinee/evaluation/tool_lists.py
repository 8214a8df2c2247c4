"""Tool lists as users write them: JSON, bare or wrapped as OpenAI's functions, checked by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matinee.evaluation.simulation.arguments import Parameters
from matinee.messages.conversations import Tool
from matinee.messages.documents import Document, Place, Problem
from matinee.runtime.errors import ScenarioError


def read_tools(file: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The tools in bare form, and what is wrong with the file (then no tools)."""
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        text = f"not JSON: {error.msg} in column {error.colno}"
        return [], [Problem(file, error.lineno, "", text)]
    except (OSError, UnicodeDecodeError) as error:
        return [], [Problem(file, 1, "", f"cannot be read: {error}")]
    document = Document(file, listed)
    if not isinstance(listed, list) or not listed:
        document.report("must be a JSON array of at least one tool")
        return [], document.problems
    for number, entry in enumerate(listed):
        found = _problem(entry)
        if found is not None:
            document.report(f"tool {number + 1}: {found[1]}", (number, *found[0]))
    if document.problems:
        return [], document.problems
    tools = [_bare(entry) for entry in listed]
    first: dict[str, int] = {}
    for number, tool in enumerate(tools):
        if first.setdefault(tool["name"], number) != number:
            document.report(
                f"two tools with the same name: {tool['name']}",
                (number, *_inside(listed[number]), "name"),
            )
    return ([], document.problems) if document.problems else (tools, [])


def _inside(entry: dict[str, Any]) -> Place:
    return ("function",) if "function" in entry else ()


def _problem(entry: Any) -> tuple[Place, str] | None:
    """What is wrong with one entry, and where in it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("function", entry), dict):
        return (), "must be an object with name, description and parameters"
    bare, inside = _bare(entry), _inside(entry)
    if not isinstance(bare["name"], str) or not bare["name"]:
        return (*inside, "name"), "has no name"
    if not isinstance(bare["description"], str):
        return (*inside, "description"), f"{bare['name']}: the description must be a text"
    at = (*inside, "parameters")
    parameters = bare["parameters"]
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return at, f"{bare['name']}: parameters must be a JSON Schema of type object"
    properties = parameters.get("properties", {})
    if not isinstance(properties, dict):
        properties = {"": properties}
    for name, schema in properties.items():
        if not isinstance(schema, dict):
            text = f"{bare['name']}: each of the properties must be a JSON Schema object"
            return (*at, "properties", *((name,) if name else ())), text
    try:
        Parameters(Tool.from_openai(entry))
    except ScenarioError as error:
        return at, str(error)
    return None


def _bare(entry: dict[str, Any]) -> dict[str, Any]:
    function = entry.get("function", entry)
    return {
        "name": function.get("name"),
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {"type": "object", "properties": {}},
    }
