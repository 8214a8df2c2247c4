"""The tools' JSON Schemas, strictly: what a call's arguments must be before values count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matinee.messages.conversations import Tool
from matinee.messages.json_schemas import ParameterSchema

FormError = Literal["unknown_tool", "missing_argument", "extra_argument", "schema_violation"]
_LONGEST_ECHO = 80


def shown(value: Any) -> str:
    """A model's value as it may stand in a sentence."""
    text = str(value) if not isinstance(value, str) else f"{value!r}"
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"


@dataclass(frozen=True)
class FormProblem:
    """What the schema says against a call."""

    error: FormError
    detail: str


class ToolSchemas:
    """The parameters of each tool by name; `tools` in OpenAI's form or bare."""

    def __init__(self, tools: Sequence[dict[str, Any]]) -> None:
        self._schemas = {
            tool.name: ParameterSchema(tool.schema) for tool in map(Tool.from_openai, tools)
        }

    def parameter(self, tool: str, name: str) -> Mapping[str, Any]:
        """The schema of one parameter, empty where there is none."""
        schema = self._schemas.get(tool)
        return schema.resolved(schema.parameters.get(name, {})) if schema else {}

    def requires(self, tool: str, name: str) -> bool:
        """Whether a call must give this parameter."""
        schema = self._schemas.get(tool)
        return schema is not None and name in schema.required

    def problem(self, tool: str, arguments: dict[str, Any]) -> FormProblem | None:
        """The first thing that is wrong with a call's form, or None."""
        schema = self._schemas.get(tool)
        if schema is None:
            return FormProblem("unknown_tool", f"there is no tool {shown(tool)}")
        for name in schema.missing(arguments):
            return FormProblem("missing_argument", f"{tool} lacks the required {name}")
        for name in schema.unknown(arguments):
            return FormProblem("extra_argument", f"{tool} has no parameter {shown(name)}")
        for error in schema.errors(arguments):
            where = ".".join(str(part) for part in error.absolute_path) or "arguments"
            detail = f"{tool}: {where} breaks the schema: {shown(error.message)}"
            return FormProblem("schema_violation", detail)
        return None
