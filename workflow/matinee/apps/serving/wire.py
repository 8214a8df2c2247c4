"""What comes over the wire: a request, and what is wrong with it, in OpenAI's form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator, FormatChecker, SchemaError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from matinee.runtime.strict import Strict

_SEED = 2**63


class ApiError(Exception):
    """An answer with a status of 400 and above.

    `parameter`: the place in the request, such as messages.0.role. `retry`: whether the same
    request may succeed later; clients are told, so that they do not try in vain.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        parameter: str | None = None,
        retry: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.parameter = parameter
        self.retry = retry

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        return kinds.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {
            "error": {
                "message": str(self),
                "type": self.kind,
                "param": self.parameter,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """What the client needs to know beside the body."""
        headers = {"x-should-retry": "true" if self.retry else "false"}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 429:
            headers["Retry-After"] = "1"
        return headers


class _Loose(BaseModel):
    """Parts of messages: clients hand back what servers sent them, with keys of all kinds."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TextPart(_Loose):
    """A piece of a message; other kinds than text are refused."""

    type: Literal["text"]
    text: str


class WrittenCall(_Loose):
    """The function of a call that the model made earlier; `arguments` as it wrote them."""

    name: Annotated[str, Field(min_length=1)]
    arguments: str = "{}"


class WrittenToolCall(_Loose):
    """A call that the model made earlier."""

    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"] = "function"
    function: WrittenCall


class ChatMessage(_Loose):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[WrittenToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Function(_Loose):
    """A tool's function. `parameters`: a JSON Schema of type object."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None

    @field_validator("parameters")
    @classmethod
    def _parameters_are_a_schema(cls, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        # Some clients write null for what they leave out.
        said = {key: value for key, value in (parameters or {}).items() if value is not None}
        try:
            # No formats: patterns are ECMA's, which Python's `re` does not all understand.
            Draft202012Validator.check_schema(said, format_checker=FormatChecker(()))
        except SchemaError as error:
            where, what = error.json_path, error.message[:200]
            raise ValueError(f"not a JSON Schema, {where}: {what}") from None
        return parameters


class FunctionTool(_Loose):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function


class ChosenFunction(_Loose):
    """The name of a function."""

    name: str


class NamedChoice(_Loose):
    """The tool that must be called."""

    type: Literal["function"]
    function: ChosenFunction


class StreamOptions(_Loose):
    """What a stream tells at its end."""

    include_usage: bool = False


class AnswerSchema(_Loose):
    """What an answer must fit."""

    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(_Loose):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: AnswerSchema | None = None


class ChatRequest(Strict):
    """A request as it may come. A key that would change the answer and is not here is refused."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-_SEED, lt=_SEED)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    response_format: ResponseFormat | None = None
    # Taken where they ask for what happens anyway.
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    # Taken and not used: they do not change the answer.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in stops if stop)


def read_body(body: bytes) -> ChatRequest:
    """The request in a body. Raises ApiError with the first thing that is wrong and its place."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply.") from None
    # Of the alternatives of a value pydantic names the type, which is no part of the request.
    place = ".".join(str(step) for step in first["loc"] if not _names_a_type(step))
    if first["type"] == "json_invalid":
        raise ApiError(400, f"The body is not JSON: {first['msg']}.")
    if first["type"] == "extra_forbidden":
        raise ApiError(400, f"The server does not know the parameter {place!r}.", parameter=place)
    raise ApiError(400, f"{place or 'The body'}: {first['msg']}.", parameter=place or None)


def _names_a_type(step: str | int) -> bool:
    return isinstance(step, str) and ("[" in step or step[:1].isupper() or step in {"str", "int"})
