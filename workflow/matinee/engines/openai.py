"""Any OpenAI-compatible endpoint as an engine: vLLM, llama.cpp, Ollama, a vendor."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from matinee.config import RequestForm
from matinee.engines.base import Completion, Reply, Request
from matinee.messages.conversations import canonical_json
from matinee.messages.parsing import printable, write_calls
from matinee.messages.transcripts import ParsedCall
from matinee.runtime.errors import EngineError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI, OpenAIError

_LONGEST_REASON = 300
_AS_USUAL = RequestForm()
_REFUSED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|invalid|only the default|not permitted"
)
# What the API's reference says of tool names: letters, digits, underscores, dashes, at most 64.
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
LONGEST_NAME = 64
_SECRET = re.compile(r"\b(sk|key|Bearer)[-_ ][\w*.-]{6,}", re.IGNORECASE)


class OpenAIEngine:
    """Chat completions over HTTP, `concurrency` at a time.

    The endpoint gets the tools as tools. The calls that it returns as data are written behind its
    text in the `hermes` form, so that every transcript holds one kind of record: parse it with
    that form. Arguments are copied as the endpoint gave them; broken ones stay broken.

    `timeout`: seconds per request. `retries`: further tries after a time-out, a lost connection,
    a rate limit (the client waits as long as the endpoint asks for) or a server error. The key is
    read from the environment variable `api_key_env` and never shown; endpoints that need none
    work without it. `request`: what the endpoint wants otherwise. Reasoning that comes as a field
    of its own is written before the answer in <think> tags, where `parse` keeps it apart.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 4,
        request: RequestForm = _AS_USUAL,
    ) -> None:
        self._base_url = base_url
        self._address = _without_credentials(base_url)
        self._model = model
        self._api_key_env = api_key_env
        self._key = os.environ.get(api_key_env, "")
        self._concurrency = concurrency
        self._timeout = timeout
        self._retries = retries
        self._form = request

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Answers all requests; see `Engine`. Raises EngineError when the retries are used up."""
        asyncio.run(self._serve(list(requests), reply))

    async def _serve(self, requests: list[Request], reply: Reply) -> None:
        from openai import AsyncOpenAI

        waiting = iter(requests)
        async with AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._key or "none",
            timeout=self._timeout,
            max_retries=self._retries,
        ) as client:
            workers = [
                asyncio.create_task(self._work(client, waiting, reply))
                for _ in range(min(self._concurrency, len(requests)))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, client: AsyncOpenAI, waiting: Iterable[Request], reply: Reply) -> None:
        """Takes conversations from the common queue and plays each to its end."""
        for request in waiting:
            following: Request | None = request
            while following is not None:
                following = reply(following, await self._complete(client, following))

    async def _complete(self, client: AsyncOpenAI, request: Request) -> Completion:
        from openai import OpenAIError

        names = wire_names(str(tool["function"]["name"]) for tool in request.tools)
        body: dict[str, Any] = {
            "model": self._model,
            "messages": wire_messages(request.messages, names),
            self._form.limit: request.max_new_tokens,
            "temperature": request.sampling.temperature,
        }
        if request.sampling.temperature:
            body |= {"top_p": request.sampling.top_p, "seed": request.sampling.seed}
        if request.tools:
            body["tools"] = [
                tool | {"function": tool["function"] | {"name": names[tool["function"]["name"]]}}
                for tool in request.tools
            ]
        for name in self._form.omit:
            body.pop(self._form.limit if name == "max_tokens" else name, None)
        began = time.perf_counter()
        try:
            response = await client.chat.completions.create(
                **body, extra_body=self._form.extra_body or None
            )
        except OpenAIError as error:
            raise self._failure(error) from None  # the cause's text may hold the key
        except ValueError as error:  # a body that says it is JSON and is not
            raise self._malformed(str(error)) from None
        meant = {sent: name for name, sent in names.items()}
        return self._completion(response, meant, time.perf_counter() - began)

    def _completion(self, response: Any, meant: Mapping[str, str], seconds: float) -> Completion:
        # The client does not check what a server sends: every part may be of any type.
        choices = getattr(response, "choices", None)
        first = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(first, "message", None)
        if message is None:
            raise self._malformed("no choices with a message")
        usage = getattr(response, "usage", None)
        return Completion(
            text=self._text(message, meant),
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            finish="length" if getattr(first, "finish_reason", None) == "length" else "stop",
            seconds=seconds,
        )

    def _text(self, message: Any, meant: Mapping[str, str]) -> str:
        calls = []
        for call in getattr(message, "tool_calls", None) or []:
            function = getattr(call, "function", None)
            name = getattr(function, "name", None)
            if not isinstance(name, str):
                raise self._malformed("a tool call without a function's name")
            name = printable(name)
            found = meant.get(name, name)
            calls.append(ParsedCall(name=found, arguments=_arguments_text(function)))
        content = getattr(message, "content", None)
        said = write_calls("hermes", calls, printable(content) if isinstance(content, str) else "")
        # DeepSeek and DashScope call it reasoning_content, vLLM and OpenRouter reasoning.
        thoughts = (getattr(message, name, None) for name in ("reasoning_content", "reasoning"))
        thought = next((text for text in thoughts if isinstance(text, str) and text.strip()), "")
        thought = printable(thought).replace("</think>", "")
        return f"<think>{thought}</think>{said}" if thought else said

    def _malformed(self, reason: str) -> EngineError:
        return EngineError(
            f"{self._address} answered, but not with a chat completion ({self._safe(reason)}). "
            "Check that base_url is the endpoint's OpenAI-compatible root, which often ends in /v1."
        )

    def _failure(self, error: OpenAIError) -> EngineError:
        import openai

        tries = f"{self._retries + 1} tries" if self._retries else "1 try"
        if isinstance(error, openai.APITimeoutError):
            what = f"did not answer within {self._timeout:g} s ({tries})"
            todo = "Raise `timeout`, lower `concurrency`, or check that the server is up."
        elif isinstance(error, openai.APIConnectionError):
            what = f"cannot be reached ({tries})"
            todo = "Check base_url, and that the server is up and may be reached from here."
        elif isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            # The body is left out: vendors quote the key in it.
            found = "is set" if self._key else "is not set"
            what = f"refused the key (HTTP {error.status_code})"
            todo = f"The key is read from the variable {self._api_key_env}, which {found}."
        elif isinstance(error, openai.RateLimitError):
            what = f"kept limiting the rate (HTTP 429, {tries}): {self._safe(error.message)}"
            todo = "Lower `concurrency` or raise `retries`."
        elif isinstance(error, openai.APIStatusError):
            what = f"failed with HTTP {error.status_code}: {self._safe(error.message)}"
            todo = _advice(error) or (
                f"Check the model's name ({self._model}) and the server's log."
            )
        else:
            return self._malformed(str(error))
        return EngineError(f"The endpoint {self._address} {what}. {todo}")

    def _safe(self, text: str) -> str:
        """Foreign text for a message: short, and without anything that looks like a key."""
        cleared = text.replace(self._key, "***") if self._key else text
        return _SECRET.sub("***", " ".join(cleared.split()))[:_LONGEST_REASON]


def _advice(error: APIStatusError) -> str:
    """What to change where the endpoint refused a parameter."""
    said = error.message.lower()
    if error.status_code not in (400, 422) or not _REFUSED.search(said):
        return ""
    if "max_completion_tokens" in said:
        return "Set `request: {limit: max_completion_tokens}` for this reference."
    for name in ("temperature", "top_p", "seed", "max_tokens"):
        if name in said:
            return f"Leave it out: `request: {{omit: [{name}]}}` for this reference."
    if "thinking" in said:
        return (
            "Say it in `request: {extra_body: {…}}` for this reference, as the endpoint wants it."
        )
    return ""


def wire_messages(
    messages: Iterable[dict[str, Any]], names: Mapping[str, str] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Messages as the API wants them: arguments as JSON text, results bound to calls by id.

    A result without a call before it (the answer to an unreadable call) becomes a user message.
    """
    sent: list[dict[str, Any]] = []
    open_ids: list[str] = []
    for position, message in enumerate(messages):
        if message["role"] == "tool":
            if open_ids:
                head = {"role": "tool", "tool_call_id": open_ids.pop(0)}
            else:
                head = {"role": "user"}
            sent.append(head | {"content": message["content"]})
            continue
        copied = {"role": message["role"], "content": message["content"]}
        if message.get("tool_calls"):
            calls = [call["function"] for call in message["tool_calls"]]
            open_ids = [f"call_{position}_{number}" for number in range(len(calls))]
            copied["tool_calls"] = [
                {
                    "id": identifier,
                    "type": "function",
                    "function": {
                        "name": names.get(call["name"]) or _fitted(call["name"]),
                        "arguments": canonical_json(call["arguments"]),
                    },
                }
                for identifier, call in zip(open_ids, calls, strict=True)
            ]
        sent.append(copied)
    return sent


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """By each tool's name the one that the API takes, unlike all others: no `math.factorial`."""
    own = list(names)
    sent = {name: name for name in own if name == _fitted(name)}
    for name in own:
        for number in itertools.count(1):
            if name in sent:
                break
            ending = f"_{number}" if number > 1 else ""
            tried = _fitted(name)[: LONGEST_NAME - len(ending)] + ending
            if tried not in sent.values():
                sent[name] = tried
    return sent


def _fitted(name: str) -> str:
    return _UNFIT.sub("_", name)[:LONGEST_NAME] or "_"


def _arguments_text(function: Any) -> str:
    """The arguments as given; nothing at all means none."""
    arguments = getattr(function, "arguments", None)
    if isinstance(arguments, str):
        return printable(arguments) if arguments.strip() else "{}"
    # Some servers send an object where the API has text.
    return printable(canonical_json(arguments)) if arguments is not None else "{}"


def _count(usage: Any, name: str) -> int:
    """A token count; 0 where the server gives none."""
    count = getattr(usage, name, None)
    return count if isinstance(count, int) else 0


def _without_credentials(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
