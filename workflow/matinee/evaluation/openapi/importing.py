"""The operations of an OpenAPI document, each as one tool.

A tool's parameters are the operation's path and query parameters and the fields of its JSON (or
form) body. Headers and cookies are the business of whoever carries a call out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from matinee.evaluation.openapi.schemas import OpenApiError, Schemas
from matinee.evaluation.openapi.sending import STYLES, Spelling
from matinee.messages.documents import Document, Place, Problem, open_document
from matinee.messages.json_schemas import ParameterSchema, UnusableSchema
from matinee.runtime.errors import ScenarioError

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_BODY_TYPES = re.compile(
    r"application/(?:[\w.+-]+\+)?json|application/x-www-form-urlencoded|multipart/form-data"
)
_LONGEST_NAME = 64
_FLAT = {"type", "properties", "required", "title", "description", "additionalProperties"}

Goes = Literal["path", "query", "body"]


@dataclass(frozen=True)
class Operation:
    """One operation: the bare tool that a model sees, and how a call of it is sent.

    `path`: as in the document, with `{name}` where a path parameter goes. `places`: where each
    argument goes; `spellings`: how, for path and query. `body`: the media type of the body, empty
    where there is none. `whole_body`: the argument that is the body; empty where the body is an
    object of its arguments.
    """

    tool: dict[str, Any]
    method: str
    path: str
    places: Mapping[str, Goes] = field(default_factory=dict)
    body: str = ""
    whole_body: str = ""
    spellings: Mapping[str, Spelling] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedTools:
    """The operations of a document, what was left out of them, each with its place.

    `server`: the address of the document's first server; empty where it names none in full.
    """

    operations: tuple[Operation, ...]
    left_out: tuple[str, ...]
    server: str = ""

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The tools, bare."""
        return tuple(operation.tool for operation in self.operations)


@dataclass(frozen=True)
class _Described:
    """An operation as the document describes it.

    `at`: the keys that lead to it. `shared`: the parameters of its path, and where they are.
    """

    name: str
    method: str
    path: str
    value: dict[str, Any]
    at: Place
    shared: tuple[tuple[Place, Any], ...]

    @property
    def called(self) -> str:
        """`GET /path`, as an allow-list may name it."""
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class _Input:
    """What a caller gives. `media`: of the body it goes into. `whole`: it is that body."""

    name: str
    schema: dict[str, Any]
    required: bool
    goes: Goes
    media: str = ""
    whole: bool = False
    spelling: Spelling | None = None


class _Unusable(Exception):
    """An operation cannot become a tool: the text, and where."""

    def __init__(self, text: str, at: Place) -> None:
        super().__init__(text)
        self.at = at


def import_openapi(file: Path, operations: Sequence[str] = ()) -> ImportedTools:
    """The tools of an OpenAPI 3.0 or 3.1 document (YAML or JSON), in its order.

    `operations`: which ones, by operationId or as "GET /path"; none named means all. One that
    cannot be a tool is left out and told, unless it was named.
    Raises ScenarioError with every problem, its file and its line.
    """
    document = open_document(file)
    usable: list[Operation] = []
    left_out: list[Problem] = []
    if document.value is not None and _usable_version(document):
        found = list(_operations(document))
        for operation in _allowed(document, found, operations):
            try:
                usable.append(_operation(document, operation, left_out))
            except _Unusable as error:
                text = str(error) if operations else f"{error}; {operation.called} is left out"
                line = document.line(error.at)
                chosen = document.problems if operations else left_out
                chosen.append(Problem(file, line, "", text))
        if not usable and not document.problems:
            document.problems += left_out
            if not found:
                document.report("no operations under paths", ("paths",))
    if document.problems:
        lines = "\n".join(f"  {problem}" for problem in document.problems)
        raise ScenarioError(
            f"{file} cannot be turned into tools:\n{lines}\n"
            "Correct these places, or leave the operations out with --operation."
        )
    return ImportedTools(tuple(usable), tuple(map(str, left_out)), _first_server(document.value))


def _first_server(document: dict[str, Any]) -> str:
    """The first server's address with its variables' defaults; empty where it is not a full one."""
    try:
        server = document["servers"][0]
        address = str(server["url"])
        for name, variable in (server.get("variables") or {}).items():
            address = address.replace("{" + name + "}", str(variable["default"]))
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""
    return address if address.startswith(("http://", "https://")) else ""


def _usable_version(document: Document) -> bool:
    version = document.value.get("openapi")
    if isinstance(version, str) and re.fullmatch(r"3\.[01]\.\d+(-.+)?", version):
        return True
    if "swagger" in document.value:
        text = "Swagger 2.0 is not read; convert the document to OpenAPI 3 first"
        document.report(text, ("swagger",))
    else:
        text = f"`openapi` must be a version 3.0.x or 3.1.x in quotes, found {version!r}"
        document.report(text, ("openapi",))
    return False


def _operations(document: Document) -> Iterator[_Described]:
    paths = document.value.get("paths")
    if not isinstance(paths, dict):
        document.report("`paths` must be a mapping", ("paths",))
        return
    taken: set[str] = set()
    for path, item in paths.items():
        at: Place = ("paths", path)
        if not isinstance(item, dict):
            document.report("a path must be a mapping of methods", at)
            continue
        shared = _listed(item, at)
        for method in METHODS:
            value = item.get(method)
            if isinstance(value, dict):
                name = _fitted(str(value.get("operationId") or ""), f"{method} {path}", taken)
                yield _Described(name, method, path, value, (*at, method), shared)
            elif value is not None:
                document.report(f"{method} must be a mapping", (*at, method))


def _fitted(identifier: str, called: str, taken: set[str]) -> str:
    """A name as tool lists take it: letters, digits, underscores, hyphens; each one once."""
    fitted = (
        re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:_LONGEST_NAME]
        for name in (identifier, called)
    )
    wanted = next(name for name in fitted if name)
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted[: _LONGEST_NAME - 4]}_{number}", number + 1
    taken.add(name)
    return name


def _listed(owner: dict[str, Any], at: Place) -> tuple[tuple[Place, Any], ...]:
    listed = owner.get("parameters", [])
    if not isinstance(listed, list):
        return (((*at, "parameters"), None),)
    return tuple(((*at, "parameters", number), one) for number, one in enumerate(listed))


def _allowed(
    document: Document, operations: Sequence[_Described], wanted: Sequence[str]
) -> list[_Described]:
    first: dict[str, _Described] = {}
    for one in operations:
        for key in (one.called, one.name, str(one.value.get("operationId", one.name))):
            other = first.setdefault(key, one)
            if other is not one and key == one.value.get("operationId"):
                line = document.line(other.at)
                text = f"the operationId {key!r} is also that of {other.called} in line {line}"
                document.report(f"{text}; give one another", one.at)
    for name in wanted:
        if name not in first:
            offered = ", ".join(one.name for one in operations) or "none"
            document.report(f"no operation {name!r}; there are: {offered}", ("paths",))
    chosen = {first[name].at for name in wanted if name in first}
    return [one for one in operations if not wanted or one.at in chosen]


def _operation(document: Document, described: _Described, left_out: list[Problem]) -> Operation:
    """The operation as a tool. Raises _Unusable."""
    schemas = Schemas(document.value)
    inputs: dict[str, _Input] = {}
    for one in _inputs(document, schemas, described, left_out):
        if one.name in inputs:
            raise _Unusable(f"two inputs have the name {one.name!r}", described.at)
        inputs[one.name] = one
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {name: one.schema for name, one in inputs.items()},
    }
    if required := [name for name, one in inputs.items() if one.required]:
        parameters["required"] = required
    if schemas.definitions:
        parameters["$defs"] = schemas.definitions
    try:
        ParameterSchema(parameters)
    except UnusableSchema as error:
        raise _Unusable(f"its parameters are {error}", described.at) from error
    said = [described.value.get("summary"), described.value.get("description")]
    words = [" ".join(str(text).split()) for text in said if text]
    return Operation(
        tool={
            "name": described.name,
            "description": " ".join(dict.fromkeys(words)) or described.called,
            "parameters": parameters,
        },
        method=described.method,
        path=described.path,
        places={name: one.goes for name, one in inputs.items()},
        body=next((one.media for one in inputs.values() if one.media), ""),
        whole_body=next((name for name, one in inputs.items() if one.whole), ""),
        spellings={name: one.spelling for name, one in inputs.items() if one.spelling},
    )


def _inputs(
    document: Document, schemas: Schemas, operation: _Described, left_out: list[Problem]
) -> Iterator[_Input]:
    """Everything that a caller gives."""
    listed: dict[tuple[str, str], tuple[Place, dict[str, Any]]] = {}
    for at, parameter in (*operation.shared, *_listed(operation.value, operation.at)):
        try:
            value = schemas.followed(parameter)
            listed[str(value["name"]), str(value["in"])] = (at, value)
        except OpenApiError as error:
            raise _Unusable(str(error), at) from error
        except (KeyError, TypeError) as error:
            raise _Unusable("a parameter must be a mapping with `name` and `in`", at) from error
    taken = set()
    for (name, place), (at, value) in listed.items():
        if place in ("header", "cookie"):
            text = f"{operation.called}: the {place} {name!r} is left out"
            left_out.append(Problem(document.file, document.line(at), "", text))
        elif place in STYLES:
            taken.add(name)
            yield _parameter(schemas, at, name, value)
        else:
            text = f"`in` must be path, query, header or cookie, found {place!r}"
            raise _Unusable(text, at)
    if "requestBody" in operation.value:
        yield from _body(schemas, operation, taken)


def _parameter(schemas: Schemas, at: Place, name: str, value: dict[str, Any]) -> _Input:
    described, content = value.get("schema", {}), value.get("content")
    as_json = False
    if "schema" not in value and isinstance(content, dict) and content:
        as_json = True
        media = next(iter(content.values()))
        described = media.get("schema", {}) if isinstance(media, dict) else {}
    try:
        schema = schemas.self_contained(described)
    except OpenApiError as error:
        raise _Unusable(f"{name}: {error}", at) from error
    if value.get("description"):
        schema["description"] = str(value["description"])
    goes: Goes = "path" if value["in"] == "path" else "query"
    style = value.get("style", STYLES[goes][0])
    if style not in STYLES[goes]:
        raise _Unusable(f"{name}: the style {style!r} is none of {', '.join(STYLES[goes])}", at)
    # A list of the form style is repeated unless it says otherwise, and of no other style.
    spelling = Spelling(style, value.get("explode", style == "form") is True, as_json)
    required = goes == "path" or value.get("required") is True
    return _Input(name, schema, required, goes, spelling=spelling)


def _body(schemas: Schemas, operation: _Described, taken: set[str]) -> Iterator[_Input]:
    """The fields of the body, or the body as one parameter where it is no plain object."""
    at: Place = (*operation.at, "requestBody")
    try:
        body = schemas.followed(operation.value["requestBody"])
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, dict):
            raise OpenApiError("requestBody needs `content`")
        kind = next((kind for kind in content if _BODY_TYPES.match(kind)), None)
        if kind is None:
            raise OpenApiError(
                f"a body of {', '.join(content) or 'no type'} cannot be a tool's arguments; "
                "JSON and forms can"
            )
        media = content[kind] or {}
        if not isinstance(media, dict):
            raise OpenApiError(f"{kind} must be a mapping, found {media!r}")
        schema = schemas.self_contained(media.get("schema", {}))
    except OpenApiError as error:
        raise _Unusable(str(error), at) from error
    needed = body.get("required") is True
    properties = schema.get("properties", {})
    flat = schema.get("type") == "object" and not set(schema) - _FLAT and properties
    if not flat or taken & set(properties):
        name = "body" if "body" not in taken else "request_body"
        yield _Input(name, schema, needed, "body", kind, whole=True)
        return
    for name, inner in properties.items():
        # A body that may be left out asks for nothing.
        yield _Input(name, inner, needed and name in schema.get("required", []), "body", kind)
