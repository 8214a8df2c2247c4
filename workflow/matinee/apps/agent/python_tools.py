"""Python functions as tools: the schema is read from signature and docstring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matinee.apps.agent.tools import refused
from matinee.evaluation.simulation.api import SimulatedApi
from matinee.messages.conversations import Tool, canonical_json
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import UserError

_LONGEST_MESSAGE = 200


class PythonTools:
    """Functions with type hints and Google-style docstrings; Chinese is as good as English.

    The model sees the function's name, the docstring's first part as the description, and each
    argument's line of `Args:`. Arguments are checked against that schema before the function is
    called. What it returns must be what JSON can hold; an exception becomes an observation that
    names its kind and message, and the task goes on. Raises UserError for a function whose
    signature or docstring says too little.
    """

    def __init__(self, functions: Sequence[Callable[..., Any]]) -> None:
        self._functions = {function.__name__: function for function in functions}
        if len(self._functions) != len(functions):
            raise UserError("Two functions have the same name. Rename one.")
        self._tools = tuple(tool_from_function(function) for function in functions)
        self._api = SimulatedApi(self._tools, self._answer)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """One tool per function, in the order given."""
        return self._tools

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; see `ToolSource`."""
        try:
            return self._api.call(name, arguments)
        except Exception as error:  # noqa: BLE001 (whatever a user's function raises)
            said = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
            return refused(name, "tool_error", f"工具出错：{said}", code=10020)

    def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        return self._functions[name](**arguments)


def tool_from_function(function: Callable[..., Any]) -> Tool:
    """The tool that a function's signature and docstring describe, read by transformers.

    Raises UserError where a hint or a description is missing.
    """
    from transformers.utils.chat_template_utils import (
        DocstringParsingException,
        TypeHintParsingException,
        get_json_schema,
    )

    try:
        described = get_json_schema(function)["function"]
    except (DocstringParsingException, TypeHintParsingException) as error:
        raise UserError(
            f"The function {function.__name__!r} cannot be a tool: {error}. Give every argument a "
            "type hint and a line under Args: in the docstring."
        ) from error
    schema = described["parameters"]
    for described_argument in schema["properties"].values():
        _allow_null(described_argument)
    return Tool(described["name"], described["description"], canonical_json(schema))


def _allow_null(schema: dict[str, Any]) -> None:
    """`nullable`, which JSON Schema does not know, spelled so that a validator knows it."""
    if schema.pop("nullable", False):
        if isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        elif isinstance(schema.get("type"), list):
            schema["type"] = [*schema["type"], "null"]
        elif "anyOf" in schema:
            schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
