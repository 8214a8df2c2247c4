"""A client's request → the request that the engine answers, spelled as in training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from matinee.apps.serving.wire import (
    ApiError,
    ChatMessage,
    ChatRequest,
    NamedChoice,
    WrittenToolCall,
)
from matinee.engines.base import Request
from matinee.engines.sampling import Sampling
from matinee.messages.conversations import Message, Tool
from matinee.messages.parsing import CallForm, printable


@dataclass(frozen=True)
class Asked:
    """What the engine is to write, and how it is to be read.

    `form`: how calls are written; None where the text is an answer and nothing else.
    """

    request: Request
    form: CallForm | None
    one_call: bool
    stream: bool
    usage_in_stream: bool


def ask(body: ChatRequest, form: CallForm, max_new_tokens: int) -> Asked:
    """The engine's request. Raises ApiError for what fits no chat template or no limit."""
    tools = _tools(body)
    called = _must_call(body, [tool.name for tool in tools])
    if body.tool_choice == "none":
        tools = []
    options = body.stream_options
    return Asked(
        Request(
            key=uuid4().hex,
            messages=tuple(message_dicts(body.messages)),
            tools=tuple(tool.as_openai() for tool in tools),
            max_new_tokens=_length(body, max_new_tokens),
            sampling=Sampling(
                temperature=body.temperature or 0.0,
                top_p=1.0 if body.top_p is None else body.top_p,
                seed=body.seed,
            ),
            must_call=called,
            stop=body.stops,
            schema=_wanted_schema(body),
        ),
        form=form if tools else None,
        one_call=body.parallel_tool_calls is False,
        stream=bool(body.stream),
        usage_in_stream=options is not None and options.include_usage,
    )


def message_dicts(messages: Sequence[ChatMessage]) -> Iterator[dict[str, Any]]:
    """The messages as chat templates take them: one system message, results in call order."""
    leading = 0
    while leading < len(messages) and messages[leading].role in ("system", "developer"):
        leading += 1
    texts = [message.text for message in messages[:leading]]
    if leading:
        yield Message("system", printable("\n\n".join(text for text in texts if text))).as_openai()
    if leading == len(messages) or messages[leading].role != "user":
        raise _misplaced(leading, "the first message after the system message must be the user's")
    place = leading
    while place < len(messages):
        message = messages[place]
        place += 1
        if message.role in ("system", "developer"):
            raise _misplaced(place - 1, "system messages must come before all others")
        if message.role == "tool":
            raise _misplaced(place - 1, "a tool message must answer a call of the message before")
        if message.role == "user":
            yield Message("user", printable(message.text)).as_openai()
            continue
        yield _assistant(message, place - 1)
        calls = message.tool_calls or []
        yield from _results(messages[place : place + len(calls)], calls, place)
        place += len(calls)
    if messages[-1].role == "assistant":
        raise _misplaced(len(messages) - 1, "the last message must be the user's or a tool's")


def _assistant(message: ChatMessage, place: int) -> dict[str, Any]:
    calls = message.tool_calls or []
    if not calls and message.content is None:
        raise _misplaced(place, "an assistant message needs content or tool_calls")
    return {
        "role": "assistant",
        "content": printable(message.text),
        **({"tool_calls": [_call(call) for call in calls]} if calls else {}),
    }


def _call(call: WrittenToolCall) -> dict[str, Any]:
    """The call as rows of training have it; what the model broke off stays as it was written."""
    written = printable(call.function.arguments)
    arguments: Any = written
    try:
        decoded = json.loads(written or "{}")
        arguments = decoded if isinstance(decoded, dict) else written
    except (ValueError, RecursionError):
        pass
    return {"type": "function", "function": {"name": call.function.name, "arguments": arguments}}


def _results(
    answers: Sequence[ChatMessage], calls: Sequence[WrittenToolCall], place: int
) -> Iterator[dict[str, Any]]:
    """The results of a message's calls in the order of the calls, whatever order they came in.

    Of calls that share an id, the first gets the first result.
    """
    waiting = [answer for answer in answers if answer.role == "tool"]
    for call in calls:
        found = next((answer for answer in waiting if answer.tool_call_id == call.id), None)
        if found is None:
            raise _misplaced(
                place - 1,
                f"the call {call.id!r} must be answered by a tool message right behind it",
            )
        waiting.remove(found)
        yield Message("tool", printable(found.text), name=call.function.name).as_openai()


def _misplaced(place: int, rule: str) -> ApiError:
    where = f"messages.{place}"
    return ApiError(400, f"{where}: {rule}.", parameter=where)


def _tools(body: ChatRequest) -> list[Tool]:
    tools = [Tool.from_openai(tool.model_dump()) for tool in body.tools or []]
    names = [tool.name for tool in tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ApiError(400, f"tools: two tools are named {twice[0]}.", parameter="tools")
    return tools


def _must_call(body: ChatRequest, names: list[str]) -> tuple[str, ...]:
    """The tools of which one must be called; none where the model is free."""
    choice = body.tool_choice
    if choice is None or choice in ("auto", "none"):
        return ()
    wanted = (choice.function.name,) if isinstance(choice, NamedChoice) else tuple(names)
    if not wanted or not set(wanted) <= set(names):
        listed = ", ".join(names) or "none"
        raise ApiError(
            400,
            f"tool_choice: the tool to call must be one of tools (there: {listed}).",
            parameter="tool_choice",
        )
    return wanted


def _wanted_schema(body: ChatRequest) -> str:
    """The JSON Schema that the answer must fit; empty where any text will do."""
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return ""
    if body.tools and body.tool_choice != "none":
        raise ApiError(
            400,
            "response_format: JSON answers and tools cannot be had in one request here.",
            parameter="response_format",
        )
    if wanted.type == "json_object" or wanted.json_schema is None:
        return '{"type": "object"}'
    return json.dumps(wanted.json_schema.schema_)


def _length(body: ChatRequest, limit: int) -> int:
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    wanted = body.max_completion_tokens or body.max_tokens or limit
    if wanted > limit:
        raise ApiError(400, f"{name}: this server writes at most {limit} tokens.", parameter=name)
    return wanted
