"""Whether a conversation can be trained on: order of roles, known tools, arguments, size."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any

from jsonschema.exceptions import UnknownType
from referencing.exceptions import Unresolvable

from matinee.data.readers.base import BadRow, shorten
from matinee.messages.conversations import Conversation, Message, Role
from matinee.messages.json_schemas import validator
from matinee.messages.parsing import call_in_any_form

# What may come next. A conversation begins like after "system" and ends with the assistant.
FOLLOWERS: dict[str, tuple[str, ...]] = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "calling assistant": ("tool",),
    "tool": ("tool", "assistant"),
}


def check(draft: Conversation, longest: int) -> None:
    """Raises BadRow with the first reason why the conversation cannot be used.

    `longest`: most characters of messages and tools together.
    """
    _check_order(draft.messages)
    _check_tools(draft)
    _check_plain_answers(draft)
    size = sum(len(message.content) for message in draft.messages) + sum(
        len(tool.description) + len(tool.parameters) for tool in draft.tools
    )
    if size > longest:
        raise BadRow("over_long", f"{size:,} characters, more than {longest:,}")


def schema_warnings(draft: Conversation) -> Iterator[tuple[str, str]]:
    """Calls whose arguments break their tool's schema, as pairs of class and reason.

    Such rows are kept. In the public sets the schema is often what is wrong: of the 427 calls in
    LLaMA-Factory's 600 glaive rows nine break theirs, four because it requires the dimensions of
    every shape at once, two because it requires the parameter that another one replaces.
    Dropping such rows would train on other rows than everyone else did.
    """
    tools = {tool.name: tool for tool in draft.tools}
    for call in itertools.chain.from_iterable(message.tool_calls for message in draft.messages):
        try:
            checking = _validator(tools[call.name].parameters)
            error = next(checking.iter_errors(json.loads(call.arguments)), None)
        # Schemas in the wild use unknown types, references that lead nowhere (none is ever looked
        # for outside of the schema), and keywords with values of the wrong type.
        except (
            *(UnknownType, Unresolvable, TypeError, ValueError, AttributeError, LookupError),
            *(ArithmeticError, RecursionError),
        ) as problem:
            said = shorten(f"{type(problem).__name__}: {problem}")
            yield "invalid_schema", f"{call.name}: {said}"
            continue
        if error is not None:
            place = ".".join(map(str, error.absolute_path)) or "arguments"
            yield "schema_mismatch", f"{call.name}, {place}: {shorten(error.message)}"


@functools.lru_cache(maxsize=4096)
def _validator(parameters: str) -> Any:
    return validator(json.loads(parameters))


def _check_order(messages: tuple[Message, ...]) -> None:
    if not messages:
        raise BadRow("empty", "no messages")
    state = "start"
    for number, message in enumerate(messages, start=1):
        role: Role = message.role
        needs_text = role in ("user", "assistant") and not message.tool_calls
        if needs_text and not message.content.strip():
            raise BadRow("empty", f"message {number} ({role}) says nothing")
        if role not in FOLLOWERS[state]:
            allowed = " or ".join(FOLLOWERS[state])
            before = "the beginning" if state == "start" else f"the {state}"
            raise BadRow(
                "roles_out_of_order",
                f"message {number} is of the {role} after {before}; only {allowed} may follow",
            )
        state = "calling assistant" if message.tool_calls else role
    if "assistant" not in state:
        raise BadRow("roles_out_of_order", f"it ends with the {state}, without an answer")


def _check_tools(draft: Conversation) -> None:
    names = [tool.name for tool in draft.tools]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise BadRow("repeated_tool", f"tools listed twice: {', '.join(repeated)}")
    for message in draft.messages:
        for call in message.tool_calls:
            if call.name not in names:
                listed = (
                    ", ".join(names) or "none; `tools` of the data set gives them to all its rows"
                )
                raise BadRow("unlisted_tool", f"calls {call.name}, but the tools are: {listed}")


# What marks a call in another format than the one that the row was read as.
MARKUP = {
    "<tool_call>": "hermes_v1",
    "</tool_call>": "hermes_v1",
    "<functioncall>": "glaive_v2",
    "\nAction Input:": "toolbench",
}


def _check_plain_answers(draft: Conversation) -> None:
    """Raises BadRow for an answer that would teach a call's text in place of a call."""
    names = [tool.name for tool in draft.tools]
    for number, message in enumerate(draft.messages, start=1):
        if message.role != "assistant":
            continue
        said = message.content
        reader = next((MARKUP[mark] for mark in MARKUP if mark in f"\n{said}"), None)
        if any(said.lstrip().startswith(f"[{name}(") for name in names):
            reader = "toolace"
        # The names alone first: the ways to write a call are many to look for.
        place = call_in_any_form(said, [name for name in names if name in said])
        if reader is None and place is None:
            continue
        advice = f"`reader: {reader}` reads such rows" if reader else "it would be learned as text"
        raise BadRow(
            "broken_arguments",
            f"message {number} holds a call as plain text ({shorten(place or '', 40)}); {advice}",
        )
