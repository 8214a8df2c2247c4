"""Schemas of OpenAPI 3.0 and 3.1 as self-contained JSON Schema, references followed."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator
from typing import Any

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

# What a model can use. The rest (xml, discriminator, example, externalDocs …) tells of documents.
_SCALARS = (
    *("type", "title", "description", "enum", "const", "default", "format", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
    *("minProperties", "maxProperties", "required"),
)
_ONE_SCHEMA = ("items", "additionalProperties", "not", "contains", "propertyNames")
_SCHEMAS_BY_NAME = ("properties", "patternProperties")
_LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")


class OpenApiError(ValueError):
    """A part of the document cannot be used; the message says why."""


class Schemas:
    """The references of one document. Only those within the document are followed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._version_3_0 = str(document.get("openapi", "")).startswith("3.0")
        resource = DRAFT202012.create_resource(document)
        self._recursive: dict[str, str] = {}
        self._resolver = Registry().with_resource("", resource).resolver(base_uri="")

    def with_own_names(self) -> Schemas:
        """The same references, with names of recursive parts that are unique from here on."""
        copied = copy.copy(self)
        copied._recursive = {}
        return copied

    def followed(self, node: Any) -> Any:
        """The node, or what its `$ref` leads to at last. Raises OpenApiError."""
        seen: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            reference = node["$ref"]
            if reference in seen:
                raise OpenApiError(f"{reference!r} leads back to itself")
            seen.add(reference)
            node = self._target(reference)
        return node

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise OpenApiError(
                f"{reference!r} leads out of the document, and nothing is fetched; "
                "bundle the document into one file first"
            )
        try:
            return self._resolver.lookup(reference).contents
        # Where a step of the way is no mapping, the library stumbles in its own ways.
        except (Unresolvable, TypeError, ValueError, AttributeError) as error:
            raise OpenApiError(f"{reference!r} leads nowhere in the document") from error

    def self_contained(self, schema: Any) -> dict[str, Any]:
        """The schema with what its references mean; recursive parts stand under `$defs`."""
        made = self._converted(schema, ())
        definitions: dict[str, Any] = {}
        waiting = list(_references(made))
        while waiting:
            name = waiting.pop(0)
            reference = next((r for r, known in self._recursive.items() if known == name), None)
            if reference is not None and name not in definitions:
                definitions[name] = self._converted(self._target(reference), (reference,))
                waiting += _references(definitions[name])
        return {**made, "$defs": definitions} if definitions else made

    def _converted(self, schema: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """`path`: the references that are being followed; one of them again is recursion."""
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise OpenApiError(f"a schema must be a mapping, found {schema!r}")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._followed_schema(schema, reference, path)
        made = {key: _plain(schema[key]) for key in _SCALARS if key in schema}
        _refuse_what_is_no_list(made)
        for key in _ONE_SCHEMA:
            if isinstance(schema.get(key), dict):
                made[key] = self._converted(schema[key], path)
            elif schema.get(key) is False:
                made[key] = False
        for key in _SCHEMAS_BY_NAME:
            if isinstance(schema.get(key), dict):
                made[key] = {
                    str(name): self._converted(inner, path)
                    for name, inner in schema[key].items()
                    if not _read_only(self.followed(inner))
                }
        for key in _LISTS_OF_SCHEMAS:
            if isinstance(schema.get(key), list):
                made[key] = [self._converted(inner, path) for inner in schema[key]]
        if "required" in made and "properties" in made:
            made["required"] = [name for name in made["required"] if name in made["properties"]]
        if self._version_3_0:
            _from_3_0(made, nullable=schema.get("nullable") is True)
        return _merged(made)

    def _followed_schema(
        self, schema: dict[str, Any], reference: str, path: tuple[str, ...]
    ) -> dict[str, Any]:
        known = self._recursive
        beside: dict[str, Any] = {
            k: _plain(schema[k]) for k in ("description", "default") if k in schema
        }
        if reference in path:
            if reference not in known:
                known[reference] = _unused(reference.rpartition("/")[2], set(known.values()))
            return {"$ref": f"#/$defs/{known[reference]}", **beside}
        return {**self._converted(self._target(reference), (*path, reference)), **beside}


def _references(schema: Any) -> Iterator[str]:
    """The names under `$defs` that a converted schema refers to."""
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix("#/$defs/")
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _unused(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found


def _read_only(schema: Any) -> bool:
    """A property that a client must not send."""
    return isinstance(schema, dict) and schema.get("readOnly") is True


def _plain(value: Any) -> Any:
    """A value as JSON has it: YAML reads 2024-01-02 as a date."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return value


def _refuse_what_is_no_list(schema: dict[str, Any]) -> None:
    """Raises OpenApiError for `required` and `enum` of another type."""
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise OpenApiError(f"`required` must be a list of names, found {required!r}")
    if not isinstance(schema.get("enum", []), list):
        raise OpenApiError(f"`enum` must be a list, found {schema['enum']!r}")


def _from_3_0(schema: dict[str, Any], *, nullable: bool) -> None:
    """What 3.0 spells otherwise than JSON Schema: null, and bounds that are not included."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True and bound in schema:
            schema[exclusive] = schema.pop(bound)
        elif isinstance(schema.get(exclusive), bool):
            del schema[exclusive]
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """`allOf` of plain objects as one object, which a model reads more easily."""
    parts = schema.get("allOf")
    if not parts or any(set(part) - {*_MERGED, "title", "description"} for part in parts):
        return schema
    own = {key: value for key, value in schema.items() if key != "allOf"}
    if own.get("type", "object") != "object":
        return schema
    together: dict[str, Any] = {}
    required: list[str] = []
    for part in [*parts, own]:
        if part.get("type", "object") != "object":
            return schema
        for name, inner in part.get("properties", {}).items():
            if together.setdefault(name, inner) != inner:
                return schema
        required += [name for name in part.get("required", []) if name not in required]
    described = {key: v for part in [*reversed(parts), own] for key, v in _words(part)}
    rest = {key: value for key, value in own.items() if key not in _MERGED}
    merged = {"type": "object", **described, **rest, "properties": together}
    return merged | ({"required": required} if required else {})


_MERGED = ("type", "properties", "required")


def _words(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((key, schema[key]) for key in ("title", "description") if key in schema)
