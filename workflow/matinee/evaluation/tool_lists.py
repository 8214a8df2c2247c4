"""Tool lists as users write them: JSON, bare or wrapped as OpenAI's functions, checked by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matinee.evaluation.simulation.api import Parameters
from matinee.messages.conversations import Tool
from matinee.messages.documents import Document, Place, Problem, open_document
from matinee.runtime.errors import ScenarioError


def read_tools(file: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The tools in bare form, and what is wrong with the file (then no tools)."""
    document = open_document(file, list, only_json=True)
    if document.value == []:
        document.report("must be a JSON array of at least one tool")
    tools = sound_tools(document, document.value or ())
    return ([], document.problems) if document.problems else (tools, [])


def sound_tools(
    document: Document, listed: Sequence[Any], at: Place = (), case: str = ""
) -> list[dict[str, Any]]:
    """The sound tools among those listed at a place of a document, bare; problems are noted."""
    tools: list[dict[str, Any]] = []
    for number, entry in enumerate(listed):
        found = _problem(entry)
        if found is not None:
            document.report(f"tool {number + 1}: {found[1]}", (*at, number, *found[0]), case)
            continue
        tool = _bare(entry)
        if any(tool["name"] == other["name"] for other in tools):
            text = f"two tools with the same name: {tool['name']}"
            document.report(text, (*at, number, *_inside(entry), "name"), case)
        tools.append(tool)
    return tools


def _inside(entry: dict[str, Any]) -> Place:
    return ("function",) if "function" in entry else ()


def _problem(entry: Any) -> tuple[Place, str] | None:
    """What is wrong with one entry, and where in it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("function", entry), dict):
        return (), "must be an object with name, description and parameters"
    bare, inside = _bare(entry), _inside(entry)
    if not isinstance(bare["name"], str) or not bare["name"].strip():
        return (*inside, "name"), "has no name"
    if not isinstance(bare["description"], str):
        return (*inside, "description"), f"{bare['name']}: the description must be a text"
    at = (*inside, "parameters")
    if not isinstance(bare["parameters"], dict):
        return at, f"{bare['name']}: parameters must be a JSON Schema of type object"
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
