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
from matinee.evaluation.simulation.arguments import Parameters
from matinee.messages.conversations import Tool
from matinee.messages.documents import Document, Place, Problem, open_document
from matinee.runtime.errors import ScenarioError

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_BODY = "body"
_BODY_TYPES = re.compile(
    r"application/(?:[\w.+-]+\+)?json|application/x-www-form-urlencoded|multipart/form-data"
)
_LONGEST_NAME = 64


Goes = Literal["path", "query", "body"]


@dataclass(frozen=True)
class Operation:
    """One operation: the bare tool that a model sees, and how a call of it is sent.

    `path`: as in the document, with `{name}` where a path parameter goes. `places`: where each
    argument goes. `body`: the media type of the body, empty where there is none. `whole_body`: the
    argument that is the body; empty where the body is an object of its arguments.
    """

    tool: dict[str, Any]
    method: str
    path: str
    places: Mapping[str, Goes] = field(default_factory=dict)
    body: str = ""
    whole_body: str = ""


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


def import_openapi(file: Path, operations: Sequence[str] = ()) -> ImportedTools:
    """The tools of an OpenAPI 3.0 or 3.1 document (YAML or JSON), in its order.

    `operations`: which ones, by operationId or as "GET /path"; none named means all.
    Raises ScenarioError with every problem, its file and its line.
    """
    document = open_document(file)
    usable: list[Operation] = []
    left_out: list[Problem] = []
    if document.value is not None and _usable_version(document):
        found = list(_operations(document))
        _refuse_repeated(document, found)
        schemas = Schemas(document.value)
        for operation in _allowed(document, found, operations):
            one = _operation(document, schemas, operation, left_out)
            usable += [one] if one else []
        if not found and not document.problems:
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
    for path, item in paths.items():
        at: Place = ("paths", path)
        if not isinstance(item, dict):
            document.report("a path must be a mapping of methods", at)
            continue
        shared = tuple(
            ((*at, "parameters", number), parameter)
            for number, parameter in enumerate(_listed(document, item, at))
        )
        for method in METHODS:
            value = item.get(method)
            if isinstance(value, dict):
                name = str(value.get("operationId") or f"{method} {path}")
                yield _Described(_fitted(name), method, str(path), value, (*at, method), shared)
            elif value is not None:
                document.report(f"{method} must be a mapping", (*at, method))


def _listed(document: Document, owner: dict[str, Any], at: Place) -> list[Any]:
    listed = owner.get("parameters", [])
    if isinstance(listed, list):
        return listed
    document.report("parameters must be a list", (*at, "parameters"))
    return []


def _fitted(name: str) -> str:
    """The name as tool lists take it: letters, digits, underscores and hyphens."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:_LONGEST_NAME]


def _refuse_repeated(document: Document, operations: Sequence[_Described]) -> None:
    first: dict[str, _Described] = {}
    for operation in operations:
        other = first.setdefault(operation.name, operation)
        if other is not operation:
            line = document.line(other.at)
            text = f"the name {operation.name!r} is also that of {other.called} in line {line}"
            document.report(f"{text}; give one another operationId", operation.at)


def _allowed(
    document: Document, operations: Sequence[_Described], wanted: Sequence[str]
) -> list[_Described]:
    known = {key: one for one in operations for key in (one.name, one.called)}
    known |= {
        str(one.value["operationId"]): one for one in operations if "operationId" in one.value
    }
    for name in wanted:
        if name not in known:
            offered = ", ".join(one.name for one in operations) or "none"
            document.report(f"no operation {name!r}; there are: {offered}", ("paths",))
    chosen = {known[name].at for name in wanted if name in known}
    return [one for one in operations if not wanted or one.at in chosen]


def _operation(
    document: Document, schemas: Schemas, described: _Described, left_out: list[Problem]
) -> Operation | None:
    """The operation; None where a problem was noted."""
    before = len(document.problems)
    schemas = schemas.with_own_names()
    inputs: dict[str, _Input] = {}
    for one in _inputs(document, schemas, described, left_out):
        if one.name in inputs:
            text = f"two inputs of {described.called} have the name {one.name!r}"
            document.report(text, one.at)
        inputs[one.name] = one
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {name: one.schema for name, one in inputs.items()},
    }
    required = [name for name, one in inputs.items() if one.required]
    parameters |= {"required": required} if required else {}
    _lift_definitions(parameters)
    tool = {
        "name": described.name,
        "description": _description(described),
        "parameters": parameters,
    }
    if len(document.problems) == before:
        try:
            Parameters(Tool.from_openai(tool))
        except ScenarioError as error:
            document.report(str(error), described.at)
    if len(document.problems) > before:
        return None
    return Operation(
        tool,
        described.method,
        described.path,
        {name: one.goes for name, one in inputs.items()},
        next((one.media for one in inputs.values() if one.media), ""),
        next((name for name, one in inputs.items() if one.whole), ""),
    )


def _description(operation: _Described) -> str:
    said = [operation.value.get("summary"), operation.value.get("description")]
    words = [" ".join(str(text).split()) for text in said if text]
    return " ".join(dict.fromkeys(words)) or operation.called


@dataclass(frozen=True)
class _Input:
    """What a caller gives. `media`: of the body it goes into. `whole`: it is that body."""

    at: Place
    name: str
    schema: dict[str, Any]
    required: bool
    goes: Goes
    media: str = ""
    whole: bool = False


def _inputs(
    document: Document, schemas: Schemas, operation: _Described, left_out: list[Problem]
) -> Iterator[_Input]:
    """Everything that a caller gives."""
    listed = {}
    own = tuple(
        ((*operation.at, "parameters", number), parameter)
        for number, parameter in enumerate(_listed(document, operation.value, operation.at))
    )
    for at, parameter in (*operation.shared, *own):
        try:
            value = schemas.followed(parameter)
            listed[value["name"], value["in"]] = (at, value)
        except OpenApiError as error:
            document.report(str(error), at)
        except (KeyError, TypeError):
            document.report("a parameter must be a mapping with `name` and `in`", at)
    taken = set()
    for (name, place), (at, value) in listed.items():
        if place in ("path", "query"):
            found = _parameter(document, schemas, at, str(name), value)
            if found is not None:
                taken.add(name)
                yield found
        elif place in ("header", "cookie"):
            text = f"{operation.called}: the {place} {name!r} is left out"
            left_out.append(Problem(document.file, document.line(at), "", text))
        else:
            document.report(f"`in` must be path, query, header or cookie, found {place!r}", at)
    if "requestBody" in operation.value:
        yield from _body(document, schemas, operation, taken)


def _parameter(
    document: Document, schemas: Schemas, at: Place, name: str, value: dict[str, Any]
) -> _Input | None:
    try:
        schema = schemas.self_contained(_schema_of(value))
    except OpenApiError as error:
        document.report(f"{name}: {error}", at)
        return None
    if value.get("description"):
        schema["description"] = str(value["description"])
    required = value["in"] == "path" or value.get("required") is True
    return _Input(at, name, schema, required, value["in"])


def _schema_of(value: dict[str, Any]) -> Any:
    """The schema of a parameter, which may stand under a media type."""
    content = value.get("content")
    if "schema" not in value and isinstance(content, dict) and content:
        media = next(iter(content.values()))
        return media.get("schema", {}) if isinstance(media, dict) else {}
    return value.get("schema", {})


def _body(
    document: Document, schemas: Schemas, operation: _Described, taken: set[str]
) -> Iterator[_Input]:
    """The fields of the body, or the body as one parameter where it is no plain object."""
    at: Place = (*operation.at, "requestBody")
    try:
        body = schemas.followed(operation.value["requestBody"])
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, dict):
            raise OpenApiError("requestBody needs `content`")
        kinds = [kind for kind in content if _BODY_TYPES.match(str(kind))]
        if not kinds:
            raise OpenApiError(
                f"a body of {', '.join(map(str, content)) or 'no type'} cannot be a tool's "
                "arguments; JSON and forms can"
            )
        media = content[kinds[0]] or {}
        if not isinstance(media, dict):
            raise OpenApiError(f"{kinds[0]} must be a mapping, found {media!r}")
        schema = schemas.self_contained(media.get("schema", {}))
    except OpenApiError as error:
        document.report(str(error), at)
        return
    needed = body.get("required") is True
    properties = schema.get("properties", {})
    flat = schema.get("type") == "object" and not set(schema) - _FLAT and properties
    if not flat or taken & set(properties):
        name = _BODY if _BODY not in taken else "request_body"
        yield _Input(at, name, schema, needed, "body", str(kinds[0]), whole=True)
        return
    for name, inner in properties.items():
        definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        # A body that may be left out asks for nothing.
        asked = needed and name in schema.get("required", [])
        yield _Input(at, name, {**inner, **definitions}, asked, "body", str(kinds[0]))


_FLAT = {"type", "properties", "required", "title", "description", "$defs", "additionalProperties"}


def _lift_definitions(parameters: dict[str, Any]) -> None:
    """Moves recursive parts to the tool's own `$defs`, where their references look for them."""
    together: dict[str, Any] = {}
    for schema in parameters["properties"].values():
        together |= schema.pop("$defs", {})
    if together:
        parameters["$defs"] = together
