"""What the model wrote → OpenAI's messages, whole or as a stream of pieces."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import regex

from matinee.apps.serving.prompting import Asked
from matinee.engines.base import Completion
from matinee.messages.forms import forms
from matinee.messages.parsing import CallForm, parse
from matinee.messages.transcripts import Parse, ParsedCall

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk


def read_answer(asked: Asked, text: str) -> Parse:
    """The calls that can be read, and the rest as text; what cannot be read stays text.

    Where a call was demanded, the model was made to begin one: it is returned with the arguments
    as they were written, broken ones too, as OpenAI's interface allows.
    """
    if asked.form is None:
        return Parse(content=text.strip())
    read = parse(asked.form, text)
    calls = read.calls[:1] if asked.one_call else read.calls
    if calls or not asked.request.must_call:
        return Parse(content=read.content, calls=calls)
    for name in asked.request.must_call:
        opening = forms()[asked.form].opening(name).strip()
        if text.lstrip().startswith(opening):
            call = ParsedCall(name=name, arguments=_arguments(text, opening))
            return Parse(content="", calls=(call,))
    return Parse(content=read.content)


def _arguments(text: str, opening: str) -> str:
    """The arguments as they were written, without the brace that ends the call around them."""
    written = text.lstrip()[len(opening) :].strip()
    try:
        return written[: json.JSONDecoder().raw_decode(written)[1]]
    except (ValueError, RecursionError):
        broken = written.partition("</tool_call>")[0].rstrip()
    # A last brace that nothing opened belongs to the call.
    if broken.endswith("}") and broken.count("}") > broken.count("{"):
        return broken[:-1].rstrip()
    return broken


def plain_part(form: CallForm | None, text: str) -> str:
    """The beginning of an unfinished text that is surely no part of a call, as it is returned."""
    if form is not None:
        start = forms()[form].start
        # Partial: up to here a text may still become the beginning of a call.
        mark = regex.search(start.pattern, text, start.flags & ~re.UNICODE, partial=True)
        text = text if mark is None else text[: mark.start()]
    return text.strip()


def _head(model: str, kind: str) -> dict[str, Any]:
    """What all messages about one answer begin with."""
    made = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}
    return made | {"object": kind}


def completion_message(model: str, asked: Asked, done: Completion) -> ChatCompletion:
    """The whole answer as one message."""
    from openai.types.chat import ChatCompletion

    answer = read_answer(asked, done.text)
    message: dict[str, Any] = {"role": "assistant", "content": answer.content or None}
    if answer.calls:
        message["tool_calls"] = [_call_dict(call) for call in answer.calls]
    elif not answer.content:
        message["content"] = ""
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": _finish(answer, done),
        "logprobs": None,
    }
    head = _head(model, "chat.completion")
    return ChatCompletion.model_validate(head | {"choices": [choice], "usage": _usage(done)})


class Pieces:
    """One answer as a stream of chunks: text as it comes, each call as soon as it is complete."""

    def __init__(self, model: str, asked: Asked) -> None:
        self._head = _head(model, "chat.completion.chunk")
        self._asked = asked
        self._text = ""
        self._sent = ""
        self._calls = 0

    def begin(self) -> ChatCompletionChunk:
        """The chunk that opens the message."""
        return self._chunk({"role": "assistant", "content": ""})

    def add(self, text: str) -> Iterator[ChatCompletionChunk]:
        """The chunks that follow from more text."""
        before = self._text
        self._text += text
        yield from self._content(plain_part(self._asked.form, self._text))
        form = self._asked.form
        closing = forms()[form].marks[-1] if form and forms()[form].marks else "\0"
        closed = self._text.rfind(closing) + len(closing)
        if form and closed > len(before):
            yield from self._new_calls(parse(form, self._text[:closed]).calls)

    def end(self, done: Completion) -> Iterator[ChatCompletionChunk]:
        """The rest, the reason why it ended and, where asked for, the usage."""
        answer = read_answer(self._asked, done.text)
        yield from self._content(answer.content)
        yield from self._new_calls(answer.calls)
        yield self._chunk({}, _finish(answer, done))
        if self._asked.usage_in_stream:
            yield self._chunk(None, usage=_usage(done))

    def _content(self, content: str) -> Iterator[ChatCompletionChunk]:
        if content.startswith(self._sent) and len(content) > len(self._sent):
            yield self._chunk({"content": content[len(self._sent) :]})
            self._sent = content

    def _new_calls(self, calls: Sequence[ParsedCall]) -> Iterator[ChatCompletionChunk]:
        limit = 1 if self._asked.one_call else len(calls)
        for index in range(self._calls, min(len(calls), limit)):
            yield self._chunk({"tool_calls": [{"index": index, **_call_dict(calls[index])}]})
            self._calls = index + 1

    def _chunk(
        self,
        delta: dict[str, Any] | None,
        finish: str | None = None,
        usage: dict[str, Any] | None = None,
    ) -> ChatCompletionChunk:
        from openai.types.chat import ChatCompletionChunk

        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        values = self._head | {"choices": [] if delta is None else [choice]}
        if self._asked.usage_in_stream:
            values["usage"] = usage
        return ChatCompletionChunk.model_validate(values)


def _finish(answer: Parse, done: Completion) -> Literal["stop", "length", "tool_calls"]:
    if done.finish == "length":
        return "length"
    return "tool_calls" if answer.calls else "stop"


def _call_dict(call: ParsedCall) -> dict[str, Any]:
    return {
        "id": f"call_{uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _usage(done: Completion) -> dict[str, Any]:
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": done.cached_tokens},
    }
