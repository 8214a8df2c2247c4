"""BFCL's parameter types as JSON Schema."""

from __future__ import annotations

from typing import Any

# `any` has no type in JSON Schema: every value fits.
_TYPES = {
    "string": "string",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "boolean": "boolean",
    "bool": "boolean",
    "array": "array",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "object": "object",
}
_KEPT = (
    *("description", "enum", "default", "format", "pattern"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
)


def as_tool(function: dict[str, Any]) -> dict[str, Any]:
    """A function of BFCL as a tool in the bare form. Raises ValueError for an unknown type."""
    return {
        "name": function["name"],
        "description": function.get("description") or "",
        "parameters": as_json_schema(function["parameters"]),
    }


def as_json_schema(described: dict[str, Any]) -> dict[str, Any]:
    """A parameter's description as JSON Schema. Raises ValueError for an unknown type.

    What JSON Schema does not know (such as `optional`, which `required` says already) is left out.
    """
    kind = described.get("type", "any")
    if kind != "any" and kind not in _TYPES:
        raise ValueError(f"unknown type {kind!r}; known: any, {', '.join(_TYPES)}")
    schema: dict[str, Any] = {} if kind == "any" else {"type": _TYPES[kind]}
    schema |= {key: described[key] for key in _KEPT if key in described}
    if not isinstance(schema.get("enum", []), list):
        del schema["enum"]
    if isinstance(described.get("properties"), dict):
        schema["properties"] = {
            name: as_json_schema(inner) for name, inner in described["properties"].items()
        }
    if isinstance(described.get("required"), list):
        schema["required"] = described["required"]
    if isinstance(described.get("items"), dict):
        schema["items"] = as_json_schema(described["items"])
    return schema
