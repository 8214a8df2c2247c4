"""OpenAPI documents (3.0 and 3.1) as tools: which operations there are, and how each is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import yaml

from matinee.conversations import Tool, canonical_json
from matinee.errors import UserError

METHODS = ("get", "put", "post", "delete", "patch")
_LONGEST_NAME = 64
# References are written out in place; a schema that refers to itself ends at this depth.
_DEEPEST = 24
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\b")

Place = Literal["path", "query", "header", "body"]


@dataclass(frozen=True)
class Operation:
    """One operation of a document.

    `address`: the server's address with the path behind it; `{name}` stands where a path parameter
    goes. `places`: where each argument goes. `whole_body`: the request's body is the value of the
    one argument `body`, and not an object of the body's arguments.
    """

    tool: Tool
    method: str
    address: str
    places: Mapping[str, Place] = field(default_factory=dict)
    whole_body: bool = False


def read_operations(path: Path, server: str | None = None) -> tuple[Operation, ...]:
    """The operations of a document in JSON or YAML.

    `server`: the address to use instead of the document's first. Raises UserError where the file is
    no OpenAPI 3 document, or names no server and none is given.
    """
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    version = str(document.get("openapi", "")) if isinstance(document, dict) else ""
    if not version.startswith("3."):
        raise UserError(
            f"{path}: not an OpenAPI 3 document (no `openapi: 3.…` at its head). "
            "Convert older documents first, for example with the Swagger Editor."
        )
    try:
        return tuple(_operations(document, server or _first_server(document)))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: a part is not as OpenAPI has it ({error!r}).") from error


def _first_server(document: dict[str, Any]) -> str:
    servers = document.get("servers") or [{}]
    address = str(servers[0].get("url", ""))
    for name, variable in (servers[0].get("variables") or {}).items():
        address = address.replace("{" + name + "}", str(variable["default"]))
    if not address.startswith(("http://", "https://")):
        raise UserError("the document names no server with a full address; give one.")
    return address


def _operations(document: dict[str, Any], server: str) -> list[Operation]:
    base = server if server.endswith("/") else server + "/"
    found = []
    for path, item in document.get("paths", {}).items():
        shared = item.get("parameters", [])
        for method in METHODS:
            if method in item:
                described = item[method]
                name = _name(described.get("operationId") or f"{method}{path}")
                listed = [*shared, *described.get("parameters", [])]
                found.append(
                    _operation(
                        document, described, listed, name, method, urljoin(base, path.lstrip("/"))
                    )
                )
    names = [operation.tool.name for operation in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two operations are called {twice!r}. Give them different operationIds.")
    return found


def _operation(
    document: dict[str, Any],
    described: dict[str, Any],
    listed: list[dict[str, Any]],
    name: str,
    method: str,
    address: str,
) -> Operation:
    properties: dict[str, Any] = {}
    required: list[str] = []
    places: dict[str, Place] = {}
    for raw in listed:
        parameter = _resolved(document, raw)
        place = parameter["in"]
        if place == "cookie":
            continue
        properties[parameter["name"]] = _described(parameter)
        places[parameter["name"]] = place
        if parameter.get("required") and parameter["name"] not in required:
            required.append(parameter["name"])
    whole_body = _add_body(document, described, properties, required, places)
    schema = {"type": "object", "properties": properties, "required": required}
    text = str(described.get("description") or described.get("summary") or "").strip()
    tool = Tool(name, text, canonical_json(schema))
    return Operation(tool, method, address, places, whole_body)


def _add_body(
    document: dict[str, Any],
    described: dict[str, Any],
    properties: dict[str, Any],
    required: list[str],
    places: dict[str, Place],
) -> bool:
    """Adds the body's arguments; True where the body as a whole is one argument."""
    body = _resolved(document, described.get("requestBody") or {})
    content = body.get("content") or {}
    kind = next((kind for kind in content if _JSON.match(kind)), None)
    if kind is None:
        if body.get("required"):
            raise UserError(f"the operation {described.get('operationId')!r} takes no JSON body.")
        return False
    schema = _resolved(document, content[kind].get("schema") or {})
    parts = schema.get("properties")
    if isinstance(parts, dict) and not parts.keys() & properties.keys():
        properties.update(parts)
        places.update(dict.fromkeys(parts, "body"))
        if body.get("required"):
            required += schema.get("required", [])
        return False
    properties["body"] = schema
    places["body"] = "body"
    if body.get("required"):
        required.append("body")
    return True


def _described(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema with its description."""
    schema = dict(parameter.get("schema") or {})
    if parameter.get("description"):
        schema.setdefault("description", str(parameter["description"]).strip())
    return schema


def _resolved(document: dict[str, Any], value: Any, depth: int = 0) -> Any:
    """The value with references into the document written out, `nullable` as JSON Schema has it."""
    if isinstance(value, list):
        return [_resolved(document, part, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    if depth > _DEEPEST:
        return {}
    if "$ref" in value:
        return _resolved(document, _target(document, str(value["$ref"])), depth + 1)
    copied = {key: _resolved(document, part, depth + 1) for key, part in value.items()}
    if copied.pop("nullable", False) and isinstance(copied.get("type"), str):
        copied["type"] = [copied["type"], "null"]
    return copied


def _target(document: dict[str, Any], reference: str) -> Any:
    if not reference.startswith("#/"):
        raise UserError(
            f"it refers to another file ({reference}). Bundle the document into one file first."
        )
    found: Any = document
    for key in reference[2:].split("/"):
        key = key.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise UserError(f"the reference {reference} leads nowhere.")
        found = found[key]
    return found


def _name(text: str) -> str:
    """A name that function calling takes: letters, digits, `_` and `-`, at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:_LONGEST_NAME]
