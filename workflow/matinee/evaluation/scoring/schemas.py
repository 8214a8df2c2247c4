"""What can be wrong with a call, and the tools' JSON Schemas: the form, before values count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matinee.messages.conversations import Tool
from matinee.messages.transcripts import Detail, ErrorClass

_LONGEST_ECHO = 80


def shown(value: Any) -> str:
    """A model's value as it may stand in a sentence."""
    text = str(value) if not isinstance(value, str) else f"{value!r}"
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"


@dataclass(frozen=True)
class SchemaFault:
    """One thing that went wrong."""

    error: ErrorClass
    detail: Detail


def blame(error: ErrorClass, key: str, **values: str | int | Detail) -> SchemaFault:
    """A fault with the key of its sentence and what that is about."""
    return SchemaFault(error, Detail(key=key, values=values))


class ToolSchemas:
    """The parameters of each tool by name; `tools` in OpenAI's form or bare."""

    def __init__(self, tools: Sequence[dict[str, Any]]) -> None:
        self.tools = [Tool.from_openai(tool) for tool in tools]
        self._schemas = {tool.name: tool.schema for tool in self.tools}

    @property
    def names(self) -> list[str]:
        """The tools' names."""
        return list(self._schemas)

    @cached_property
    def plain_texts(self) -> str:
        """All that the tools' list says, as letters and digits alone."""
        texts = (f"{one.name} {one.description} {one.parameters}" for one in self.tools)
        return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", " ".join(texts)).casefold())

    def of(self, tool: str) -> Mapping[str, Any]:
        """The schema of a tool's arguments, empty where there is none."""
        return self._schemas.get(tool, {})

    def parameter(self, tool: str, name: str) -> Mapping[str, Any]:
        """The schema of one parameter, empty where there is none."""
        value = self.of(tool).get("properties", {}).get(name, {})
        return value if isinstance(value, Mapping) else {}

    def requires(self, tool: str, name: str) -> bool:
        """Whether a call must give this parameter."""
        return name in self.of(tool).get("required", [])

    def problem(self, tool: str, arguments: dict[str, Any]) -> SchemaFault | None:
        """The first thing that is wrong with a call's form, or None."""
        schema = self._schemas.get(tool)
        if schema is None:
            return blame("unknown_tool", "no_such_tool", tool=shown(tool))
        for name in schema.get("required", []):
            if name not in arguments:
                return blame("missing_argument", "lacks_required", tool=tool, name=name)
        open_ended = schema.get("additionalProperties", False) is not False
        for name in arguments:
            if name not in schema.get("properties", {}) and not open_ended:
                return blame("extra_argument", "no_parameter", tool=tool, name=shown(name))
        for error in self._validators[tool].iter_errors(arguments):
            where = ".".join(str(part) for part in error.absolute_path) or "arguments"
            said = shown(error.message)
            return blame("schema_violation", "breaks_schema", tool=tool, where=where, said=said)
        return None

    @cached_property
    def _validators(self) -> dict[str, Any]:
        from matinee.messages.json_schemas import validator

        return {name: validator(schema) for name, schema in self._schemas.items()}
