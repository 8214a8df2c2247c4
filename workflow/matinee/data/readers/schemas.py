"""Tools and their schemas: spellings brought to one, invented nulls taken out, nothing guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from matinee.data.readers.base import (
    Account,
    BadRow,
    Level,
    decode,
    list_of,
    require_shallow,
    shorten,
    text_of,
    words,
)
from matinee.messages.conversations import Tool, ToolCall, canonical_json
from matinee.messages.forms.base import MAXIMUM_DEPTH
from matinee.messages.json_schemas import (
    LISTS_OF_SCHEMAS,
    ONE_SCHEMA,
    SCHEMAS_BY_NAME,
    with_parts,
)

ARGUMENTS = ("arguments", "parameters", "args", "input", "params", "kwargs")
CALL = Level(
    "call",
    {"name": ("name",), "arguments": ARGUMENTS},
    {"function": ("function",), "id": ("id", "tool_call_id", "call_id"), "type": ("type",)},
    frozenset({"index", "cache_control"}),
)
TOOL = Level(
    "tool",
    {
        "name": ("name",),
        "description": ("description",),
        "parameters": (
            *("parameters", "input_schema", "inputSchema", "parameters_schema", "args_schema"),
            *("arguments", "params", "args", "input", "schema"),
        ),
        "required": ("required",),
    },
    {"function": ("function",), "type": ("type",)},
    words(
        "strict title annotations outputSchema output_schema returns return response "
        "results cache_control"
    ),
)
TYPES = {
    **{"dict": "object", "map": "object", "object": "object"},
    **{"list": "array", "tuple": "array", "set": "array", "array": "array"},
    **{"str": "string", "string": "string", "int": "integer", "integer": "integer"},
    **{"float": "number", "double": "number", "number": "number", "bool": "boolean"},
    **{"boolean": "boolean", "null": "null", "none": "null"},
}
WORDS = frozenset({*TYPES, "any", "optional", "properties", "required", "type"})

TEXTS = frozenset({"description", "title", "$ref", "pattern", "format"})
KEYWORDS = {
    *(*ONE_SCHEMA, *LISTS_OF_SCHEMAS, *SCHEMAS_BY_NAME, *TEXTS),
    *("type", "required", "enum", "default", "$schema", "$id", "minProperties", "maxProperties"),
}


def tools_of(value: Any, account: Account, what: str = "tools") -> tuple[Tool, ...]:
    """Tools from a list (or its JSON text) of OpenAI's, Anthropic's, MCP's or bare functions."""
    decoded = decode(value, what) if value != "" else None
    alone = isinstance(decoded, dict) and not decoded.keys().isdisjoint(("name", "function"))
    listed = [decoded] if alone else list_of(decoded, what)
    require_shallow(listed)
    return tuple(tool_of(one, account, f"{what}[{n}]") for n, one in enumerate(listed))


def tool_of(value: Any, account: Account, at: str) -> Tool:
    """One tool. Raises BadRow with the path of what is no schema."""
    found = TOOL.read(decode(value, at), account, at)
    if (inner := found.pop("function", None)) is not None:
        if set(found) - {"type"}:
            raise BadRow("wrong_columns", f"{at} names a tool inside and outside of `function`")
        return tool_of(inner, account, f"{at}.function")
    if found.get("type", "function") not in ("function", "custom"):
        raise BadRow("not_supported", f"{at}.type is {found['type']!r}; only functions are called")
    name = found.get("name")
    if not isinstance(name, str) or not name.strip():
        raise BadRow("wrong_columns", f"{at} has no name: {shorten(str(value))}")
    description = text_of(found.get("description", ""), f"{at}.description")
    given = decode(found.get("parameters", {}), f"{at}.parameters")
    if isinstance(given, list):
        given = _by_name(given, f"{at}.parameters")
    if not isinstance(given, dict):
        raise BadRow("broken_schema", f"{at}: the parameters of {name} are no object")
    schema = clean(unflat(given), f"{at}.parameters")
    if required := found.get("required"):
        schema.setdefault("required", clean({"required": required}, at)["required"])
    return Tool(name.strip(), description, canonical_json(schema))


def unflat(parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object; parameters that stand there by name only become its properties."""
    if not parameters:
        return {"type": "object", "properties": {}}
    parameters = {name: one for name, one in parameters.items() if one is not None}
    if any(
        key in KEYWORDS and (key == "properties" or not isinstance(value, dict))
        for key, value in parameters.items()
    ):
        return parameters
    properties, required = _without_marks(parameters)
    made = {"type": "object", "properties": properties}
    return made | ({"required": required} if required else {})


def _without_marks(properties: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Properties without the mark `required: true` of earlier drafts, and the names that had it."""
    made, required = dict(properties), []
    for name, one in properties.items():
        if isinstance(one, dict) and isinstance(one.get("required"), bool):
            made[name] = {key: value for key, value in one.items() if key != "required"}
            required += [name] if one["required"] else []
    return made, required


def _by_name(listed: list[Any], at: str) -> dict[str, Any]:
    """Parameters that are a list, each with its name in it."""
    named = {}
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise BadRow("broken_schema", f"{at} is a list of what has no name: {_shown(one)}")
        if one["name"] in named:
            raise BadRow("broken_schema", f"{at} names {one['name']} twice")
        named[one["name"]] = {key: value for key, value in one.items() if key != "name"}
    return named


def clean(schema: Any, at: str) -> Any:
    """The schema without nulls that a columnar file invented, and with standard names of types.

    A type that has no such name (`any`) is left out, which allows every value. Raises BadRow where
    a template could not spell it.
    """
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise BadRow("broken_schema", f"{at} is no schema but {shorten(str(schema), 60)}")
    nullable = _takes_null(schema)
    kept: dict[str, Any] = {}
    if isinstance(schema.get("properties"), dict):
        properties, required = _without_marks(schema["properties"])
        schema = {**schema, "properties": properties}
        if required and isinstance(schema.get("required"), list | None):
            schema["required"] = list(dict.fromkeys([*(schema.get("required") or ()), *required]))
    for key, value in schema.items():
        if value is None and (key not in ("default", "const") or not nullable):
            continue
        if key in SCHEMAS_BY_NAME and isinstance(value, dict):
            value = {name: part for name, part in value.items() if part is not None}
        _require_form(key, value, f"{at}.{key}")
        kept[key] = value
    made = with_parts(kept, lambda part, place: clean(part, f"{at}.{place}"))
    if "type" in made and (kind := _type(made.pop("type"), f"{at}.type")) is not None:
        made["type"] = kind
    return {key: made[key] for key in kept if key in made}


def _type(value: Any, at: str) -> Any:
    kinds = value if isinstance(value, list) else [value]
    if not all(isinstance(kind, str) for kind in kinds):
        raise BadRow("broken_schema", f"{at} must be the name of a type: {_shown(value)}")
    names = [TYPES.get(kind.lower().split("[")[0].strip()) for kind in kinds]
    if isinstance(value, list):
        return [name or kind for name, kind in zip(names, kinds, strict=True)]
    # A name that is a mistake (`odd`) stays, to be warned of; one that allows all goes.
    return names[0] or (None if value.lower() in ("any", "") else value)


def _require_form(key: str, value: Any, at: str) -> None:
    wanted: tuple[type, str] | None = None
    if key in TEXTS:
        wanted = (str, "be text")
    elif key in SCHEMAS_BY_NAME:
        wanted = (dict, "hold schemas by name")
    elif key in LISTS_OF_SCHEMAS:
        wanted = (list, "be a list of schemas")
    elif key in ("required", "enum"):
        wanted = (list, "be a list")
    if wanted and not isinstance(value, wanted[0]):
        raise BadRow("broken_schema", f"{at} must {wanted[1]}: {_shown(value)}")
    if key == "required" and not all(isinstance(name, str) for name in value):
        raise BadRow("broken_schema", f"{at} must list names: {_shown(value)}")


def _shown(value: Any) -> str:
    return shorten(str(value), 60)


def _takes_null(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return schema is not False
    kinds = schema.get("type")
    if kinds is not None:
        listed = kinds if isinstance(kinds, list) else [kinds]
        return "null" in listed or schema.get("nullable") is True
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return any(map(_takes_null, schema[key]))
    return None in schema["enum"] if isinstance(schema.get("enum"), list) else True


@dataclass(frozen=True)
class RawCall:
    """A call as a row holds it. `written`: its arguments stood there as JSON text."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None
    written: bool = True

    def settled(self, tools: Mapping[str, Tool]) -> ToolCall:
        """The call, without the nulls that a columnar file invented among its arguments."""
        arguments: Any = self.arguments
        if not self.written and self.name in tools:
            arguments = without_invented_nulls(arguments, tools[self.name].schema)
        return ToolCall(self.name, canonical_json(arguments))


def call_of(value: Any, account: Account, at: str = "a call") -> RawCall:
    """A call from `{"name": …, "arguments": …}`, with the arguments as values or as JSON text."""
    value = decode(value, at, "broken_arguments")
    if not isinstance(value, dict):
        raise BadRow("broken_arguments", f"{at} is no call: {shorten(str(value))}")
    found = CALL.read(value, account, at)
    identifier = id_of(found.get("id"), at)
    if found.get("type") == "custom":
        raise BadRow("not_supported", f"{at} is of type custom; only functions are called")
    if (inner := found.get("function")) is not None:
        call = call_of(inner, account, f"{at}.function")
        return replace(call, id=identifier or call.id)
    if not isinstance(found.get("name"), str) or not found["name"].strip():
        raise BadRow("broken_arguments", f"{at} has no name: {shorten(str(value))}")
    given = found.get("arguments", {})
    # Servers write no arguments as an empty text.
    arguments = {} if given == "" else decode(given, f"{at}: its arguments", "broken_arguments")
    if not isinstance(arguments, dict):
        raise BadRow(
            "broken_arguments", f"{at}: the arguments are no object: {shorten(str(arguments))}"
        )
    try:
        require_shallow(arguments, MAXIMUM_DEPTH)
    except BadRow as error:
        raise BadRow("broken_arguments", f"{at}: the arguments are {error.reason}") from error
    return RawCall(found["name"].strip(), arguments, identifier, isinstance(given, str))


def id_of(value: Any, at: str) -> str | None:
    """The id as text; BadRow for what cannot be one."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("wrong_columns", f"{at}: its id is no text: {shorten(str(value))}")
    return str(value)


def without_invented_nulls(arguments: Any, schema: Any) -> Any:
    """Arguments without the nulls that their schema neither names, allows nor requires."""
    if isinstance(arguments, list):
        items = schema.get("items", True) if isinstance(schema, dict) else True
        return [without_invented_nulls(one, items) for one in arguments]
    if not isinstance(arguments, dict) or not isinstance(schema, dict):
        return arguments
    properties = schema.get("properties")
    if not isinstance(properties, dict) or "$ref" in schema:
        return arguments
    required = schema.get("required", [])
    return {
        name: without_invented_nulls(value, properties.get(name, True))
        for name, value in arguments.items()
        if value is not None
        or name in required
        or (name in properties and _takes_null(properties[name]))
    }
