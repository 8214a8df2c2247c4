"""The operations of an OpenAPI document, each as one tool.

A tool's parameters are the operation's path and query parameters and the fields of its JSON (or
form) body. Headers and cookies are the business of whoever carries a call out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.conversations import Tool
from matinee.documents import Document, Place, Problem, open_document
from matinee.errors import ScenarioError
from matinee.openapi.schemas import OpenApiError, Schemas
from matinee.simulation.arguments import Parameters

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_BODY = "body"
_BODY_TYPES = re.compile(
    r"application/(?:[\w.+-]+\+)?json|application/x-www-form-urlencoded|multipart/form-data"
)
_LONGEST_NAME = 64


@dataclass(frozen=True)
class ImportedTools:
    """The tools, bare, and what was left out of them, each with its place."""

    tools: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Operation:
    """`at`: the keys that lead to it. `shared`: the parameters of its path, and where they are."""

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
    tools: list[dict[str, Any]] = []
    left_out: list[Problem] = []
    if document.value is not None and _usable_version(document):
        found = list(_operations(document))
        _refuse_repeated(document, found)
        schemas = Schemas(document.value)
        for operation in _allowed(document, found, operations):
            tool = _tool(document, schemas, operation, left_out)
            tools += [tool] if tool else []
        if not found and not document.problems:
            document.report("no operations under paths", ("paths",))
    if document.problems:
        lines = "\n".join(f"  {problem}" for problem in document.problems)
        raise ScenarioError(
            f"{file} cannot be turned into tools:\n{lines}\n"
            "Correct these places, or leave the operations out with --operation."
        )
    return ImportedTools(tuple(tools), tuple(map(str, left_out)))


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


def _operations(document: Document) -> Iterator[_Operation]:
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
                yield _Operation(_fitted(name), method, str(path), value, (*at, method), shared)
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


def _refuse_repeated(document: Document, operations: Sequence[_Operation]) -> None:
    first: dict[str, _Operation] = {}
    for operation in operations:
        other = first.setdefault(operation.name, operation)
        if other is not operation:
            line = document.line(other.at)
            text = f"the name {operation.name!r} is also that of {other.called} in line {line}"
            document.report(f"{text}; give one another operationId", operation.at)


def _allowed(
    document: Document, operations: Sequence[_Operation], wanted: Sequence[str]
) -> list[_Operation]:
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


def _tool(
    document: Document, schemas: Schemas, operation: _Operation, left_out: list[Problem]
) -> dict[str, Any] | None:
    """The operation as a tool; None where a problem was noted."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    before = len(document.problems)
    schemas = schemas.with_own_names()
    for at, name, schema, needed in _inputs(document, schemas, operation, left_out):
        if name in properties:
            document.report(f"two inputs of {operation.called} have the name {name!r}", at)
        properties[name] = schema
        required += [name] if needed else []
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    parameters |= {"required": required} if required else {}
    _lift_definitions(parameters)
    tool = {
        "name": operation.name,
        "description": _description(operation),
        "parameters": parameters,
    }
    if len(document.problems) == before:
        try:
            Parameters(Tool.from_openai(tool))
        except ScenarioError as error:
            document.report(str(error), operation.at)
    return tool if len(document.problems) == before else None


def _description(operation: _Operation) -> str:
    said = [operation.value.get("summary"), operation.value.get("description")]
    words = [" ".join(str(text).split()) for text in said if text]
    return " ".join(dict.fromkeys(words)) or operation.called


_Input = tuple[Place, str, dict[str, Any], bool]


def _inputs(
    document: Document, schemas: Schemas, operation: _Operation, left_out: list[Problem]
) -> Iterator[_Input]:
    """Place, name, schema and whether it is required, of everything that a caller gives."""
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
    return at, name, schema, value["in"] == "path" or value.get("required") is True


def _schema_of(value: dict[str, Any]) -> Any:
    """The schema of a parameter, which may stand under a media type."""
    content = value.get("content")
    if "schema" not in value and isinstance(content, dict) and content:
        media = next(iter(content.values()))
        return media.get("schema", {}) if isinstance(media, dict) else {}
    return value.get("schema", {})


def _body(
    document: Document, schemas: Schemas, operation: _Operation, taken: set[str]
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
        media = content[kinds[0]]
        schema = schemas.self_contained(media.get("schema", {}) if media else {})
    except OpenApiError as error:
        document.report(str(error), at)
        return
    needed = body.get("required") is True
    properties = schema.get("properties", {})
    flat = schema.get("type") == "object" and not set(schema) - _FLAT and properties
    if not flat or taken & set(properties):
        name = _BODY if _BODY not in taken else "request_body"
        yield at, name, schema, needed
        return
    for name, inner in properties.items():
        definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        # A body that may be left out asks for nothing.
        yield at, name, {**inner, **definitions}, needed and name in schema.get("required", [])


_FLAT = {"type", "properties", "required", "title", "description", "$defs", "additionalProperties"}


def _lift_definitions(parameters: dict[str, Any]) -> None:
    """Moves recursive parts to the tool's own `$defs`, where their references look for them."""
    together: dict[str, Any] = {}
    for schema in parameters["properties"].values():
        together |= schema.pop("$defs", {})
    if together:
        parameters["$defs"] = together
