"""Schemas of OpenAPI 3.0 and 3.1 as JSON Schema within one tool, references followed."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from matinee.messages.json_schemas import (
    LISTS_OF_SCHEMAS,
    ONE_SCHEMA,
    SCHEMAS_BY_NAME,
    current,
)

# What a model can use. The rest (xml, discriminator, example, externalDocs …) tells of documents.
_KEPT = (
    *("type", "title", "description", "enum", "const", "default", "format", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "dependentRequired"),
    *("minProperties", "maxProperties", "required", "nullable"),
)
# A tool of more parts than this is written with its references, which keep it as large as it is
# in the document: following thirty levels of two references each would make a thousand million.
_MOST_PARTS = 3000
_MERGED = ("type", "properties", "required")
_WORDS = ("title", "description")


class OpenApiError(ValueError):
    """A part of the document cannot be used; the message says why."""


class _TooLarge(Exception):
    pass


class Schemas:
    """The schemas of one operation. Only references within the document are followed.

    `definitions`: what stands under `$defs` of the tool, because it contains itself or is large.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self._left = _MOST_PARTS
        self._by_name = False
        self.definitions: dict[str, Any] = {}

    def followed(self, node: Any) -> Any:
        """The node, or what its `$ref` leads to at last. Raises OpenApiError."""
        seen: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            if node["$ref"] in seen:
                raise OpenApiError(f"{node['$ref']!r} leads back to itself")
            seen.add(node["$ref"])
            node = self._target(node["$ref"])
        return node

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise OpenApiError(
                f"{reference!r} leads out of the document, and nothing is fetched; "
                "bundle the document into one file first"
            )
        node: Any = self._document
        try:
            for step in unquote(reference[1:]).split("/")[1:]:
                key = step.replace("~1", "/").replace("~0", "~")
                node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise OpenApiError(f"{reference!r} leads nowhere in the document") from error
        return node

    def self_contained(self, schema: Any) -> dict[str, Any]:
        """The schema with what its references mean; `definitions` gain what it refers to."""
        try:
            try:
                return self._whole(schema)
            except _TooLarge:
                self._by_name, self._left = True, 4 * _MOST_PARTS
                return self._whole(schema)
        except _TooLarge:
            raise OpenApiError(f"has more than {4 * _MOST_PARTS:,} parts") from None
        except RecursionError:
            raise OpenApiError("is nested too deeply") from None

    def _whole(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = current(self._converted(schema, ()))
        while waiting := [ref for ref, name in self._names.items() if name not in self.definitions]:
            name, reference = self._names[waiting[0]], waiting[0]
            self.definitions[name] = {}
            inside = self._converted(self._target(reference), (reference,))
            self.definitions[name] = current(inside)
        return made

    def _converted(self, schema: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """`path`: the references that are being followed; one of them again is recursion."""
        self._left -= 1
        if self._left < 0:
            raise _TooLarge
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise OpenApiError(f"a schema must be a mapping, found {schema!r}")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            beside = {key: schema[key] for key in ("description", "default") if key in schema}
            if reference in path or self._by_name:
                self._target(reference)
                return {"$ref": f"#/$defs/{self._name(reference)}", **beside}
            return {**self._converted(self._target(reference), (*path, reference)), **beside}
        made = {key: schema[key] for key in _KEPT if key in schema}
        _refuse_what_is_no_list(made)
        for key in ONE_SCHEMA:
            if isinstance(schema.get(key), dict):
                made[key] = self._converted(schema[key], path)
            elif schema.get(key) is False:
                made[key] = False
        for key in set(SCHEMAS_BY_NAME) - {"$defs", "definitions"}:
            if isinstance(schema.get(key), dict):
                made[key] = {
                    name: self._converted(inner, path)
                    for name, inner in schema[key].items()
                    if not _read_only(self.followed(inner))
                }
        for key in LISTS_OF_SCHEMAS:
            if isinstance(schema.get(key), list):
                made[key] = [self._converted(inner, path) for inner in schema[key]]
        if "required" in made and "properties" in made:
            made["required"] = [name for name in made["required"] if name in made["properties"]]
        return _merged(made)

    def _name(self, reference: str) -> str:
        wanted = reference.rpartition("/")[2] or "root"
        name, number = wanted, 2
        while name in {known for other, known in self._names.items() if other != reference}:
            name, number = f"{wanted}{number}", number + 1
        return self._names.setdefault(reference, name)


def _read_only(schema: Any) -> bool:
    """A property that a client must not send."""
    return isinstance(schema, dict) and schema.get("readOnly") is True


def _refuse_what_is_no_list(schema: dict[str, Any]) -> None:
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise OpenApiError(f"`required` must be a list of names, found {required!r}")
    if not isinstance(schema.get("enum", []), list):
        raise OpenApiError(f"`enum` must be a list, found {schema['enum']!r}")


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """`allOf` of plain objects as one object, which a model reads more easily."""
    own = {key: value for key, value in schema.items() if key != "allOf"}
    parts = [*schema.get("allOf", ()), own]
    plain = all(not set(part) - {*_MERGED, *_WORDS} for part in parts[:-1])
    if len(parts) == 1 or not plain or any(p.get("type", "object") != "object" for p in parts):
        return schema
    together: dict[str, Any] = {}
    required: dict[str, None] = {}
    for part in parts:
        for name, inner in part.get("properties", {}).items():
            if together.setdefault(name, inner) != inner:
                return schema
        required |= dict.fromkeys(part.get("required", ()))
    words = {key: part[key] for part in [*parts[-2::-1], own] for key in _WORDS if key in part}
    rest = {key: value for key, value in own.items() if key not in _MERGED}
    merged = {"type": "object", **words, **rest, "properties": together}
    return merged | ({"required": list(required)} if required else {})
