"""The JSON Schema of a tool's parameters: what earlier drafts wrote otherwise is understood too.

Numbers are counted as they are written, patterns are ECMA's and end in bounded time, and nothing is
ever fetched: a reference must lead to somewhere inside the schema.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from matinee.messages.patterns import PatternError, check_pattern, found

ONE_SCHEMA = (
    *("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties", "additionalItems"),
)
SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
# References followed in one validation: a few that each name two others are soon more than any end.
_MOST_REFERENCES = 5_000
_steps = threading.local()


class UnusableSchema(ValueError):
    """The schema is none, or says something that cannot be checked here."""


class ParameterSchema:
    """What a tool's arguments must be. Raises UnusableSchema where that cannot be known.

    `parameters`: the schema of each parameter that is named anywhere at the root: directly, by a
    reference, or in a part of `allOf`, `anyOf`, `oneOf`, `if`. `required`: what every call needs.
    A parameter that is not named is unknown, unless the schema says that others may come.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            self._schema = current(schema)
            # Formats aside: a pattern is ECMA's and not Python's, and is checked below as such.
            Draft202012Validator.check_schema(self._schema, format_checker=FormatChecker(()))
            self._resolver = _closed_resolver(self._schema)
            self._validator = validator(self._schema)
        except SchemaError as error:
            raise UnusableSchema(f"not a JSON Schema ({error.message[:300]})") from error
        except RecursionError as error:
            raise UnusableSchema("a JSON Schema that is nested too deeply") from error
        self.parameters: dict[str, Any] = {}
        self.required: list[str] = []
        self._open = False
        self._patterns: list[str] = []
        self._gather(self._schema, needed=True, seen=())
        if self._schema.get("type", "object") != "object":
            raise UnusableSchema("not a JSON Schema of type object")

    def missing(self, values: Mapping[str, Any]) -> list[str]:
        """The required parameters that are absent."""
        return [name for name in self.required if name not in values]

    def unknown(self, values: Mapping[str, Any]) -> list[str]:
        """The arguments that are no parameters."""
        if self._open:
            return []
        return [
            name
            for name in values
            if name not in self.parameters and not any(_fits(one, name) for one in self._patterns)
        ]

    def errors(self, values: Any) -> Iterator[ValidationError]:
        """What is wrong with the arguments together."""
        yield from bounded(self._validator, values)

    def accepts(self, name: str, value: Any) -> bool:
        """Whether one parameter may have a value, rules between parameters left aside."""
        return self.broken_rule(name, value) is None

    def broken_rule(self, name: str, value: Any) -> str | None:
        """The keyword that forbids a value of one parameter."""
        checking: Any = self._validator
        alone = checking.evolve(schema=self.parameters.get(name, {}), _resolver=self._resolver)
        for error in bounded(alone, value):
            return str(error.validator)
        return None

    def resolved(self, schema: Any) -> dict[str, Any]:
        """A schema, or what its `$ref` leads to at last; empty where that is no mapping."""
        for _ in range(100):
            if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
                break
            schema = self._resolver.lookup(schema["$ref"]).contents
        return dict(schema) if isinstance(schema, Mapping) else {}

    def _gather(self, schema: Any, *, needed: bool, seen: tuple[str, ...]) -> None:
        if not isinstance(schema, Mapping):
            return
        for name, inner in schema.get("properties", {}).items():
            self.parameters.setdefault(name, inner if isinstance(inner, dict) else {})
        if needed:
            self.required += [one for one in schema.get("required", ()) if one not in self.required]
        self._patterns += schema.get("patternProperties", {})
        if any(schema.get(key, False) is not False for key in _OPENING):
            self._open = True
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            if len(seen) > 50:
                raise UnusableSchema("too many references one behind the other")
            target = self._resolver.lookup(reference).contents
            self._gather(target, needed=needed, seen=(*seen, reference))
        for key in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(key, ()):
                self._gather(part, needed=needed and key == "allOf", seen=seen)
        for key in ("if", "then", "else"):
            self._gather(schema.get(key), needed=False, seen=seen)
        for part in schema.get("dependentSchemas", {}).values():
            self._gather(part, needed=False, seen=seen)


_OPENING = ("additionalProperties", "unevaluatedProperties")


def with_parts(schema: Mapping[str, Any], change: Callable[[Any, str], Any]) -> dict[str, Any]:
    """The schema with each schema directly in it changed, told the place: `properties.x`."""
    made = dict(schema)
    for key, value in schema.items():
        if key in SCHEMAS_BY_NAME and isinstance(value, Mapping):
            made[key] = {name: change(part, f"{key}.{name}") for name, part in value.items()}
        elif key in (*LISTS_OF_SCHEMAS, "items") and isinstance(value, list):
            made[key] = [change(part, f"{key}[{place}]") for place, part in enumerate(value)]
        elif key in ONE_SCHEMA:
            made[key] = change(value, key)
    return made


def current(schema: Any) -> Any:
    """A schema of an earlier draft as 2020-12 writes it; anything else as it is.

    Read so: tuples (`items` a list), `additionalItems`, `dependencies`, exclusive bounds that are
    true or false, OpenAPI's `nullable`.
    """
    if not isinstance(schema, Mapping):
        return schema
    made = with_parts(schema, lambda part, _: current(part))
    made = {key: value for key, value in made.items() if key not in ("$schema", "id")}
    if isinstance(made.get("items"), list):
        made["prefixItems"] = made.pop("items")
        if "additionalItems" in made:
            made["items"] = made["additionalItems"]
    made.pop("additionalItems", None)
    dependencies = made.pop("dependencies", None)
    for name, what in dependencies.items() if isinstance(dependencies, Mapping) else ():
        key = "dependentRequired" if isinstance(what, list) else "dependentSchemas"
        made[key] = {**made.get(key, {}), name: current(what)}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if made.get(exclusive) is True and bound in made:
            made[exclusive] = made.pop(bound)
        elif isinstance(made.get(exclusive), bool):
            del made[exclusive]
    if made.pop("nullable", None) is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if isinstance(made.get("enum"), list) and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
    return made


def validator(schema: Any) -> Validator:
    """What tells whether values fit a schema of draft 2020-12, and what is wrong with others."""
    # An empty registry: jsonschema's own would fetch a remote "$ref" from the network.
    made: Validator = SchemaValidator(schema, registry=Registry())
    return made


def bounded(checking: Validator, values: Any) -> Iterator[ValidationError]:
    """A validator's errors; one that says so where values and schema are more than can be tried."""
    _steps.left = _MOST_REFERENCES
    try:
        yield from checking.iter_errors(values)
    except (RecursionError, _TooMany):
        yield ValidationError("nested too deeply to be checked", validator="$ref")
    finally:
        _steps.left = _MOST_REFERENCES


class _TooMany(Exception):
    pass


def subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """A schema of draft 2020-12 and all in it, not what merely looks like one (in `enum`)."""
    if not isinstance(schema, Mapping):
        return
    found: list[Any] = []
    with_parts(schema, lambda part, _: found.append(part))
    yield schema
    for part in found:
        yield from subschemas(part)


def _closed_resolver(schema: Any) -> Any:
    """The schema's own references. Raises UnusableSchema where one leads out or nowhere."""
    resource: Resource[Any] = DRAFT202012.create_resource(schema)
    resolver = Registry().with_resource("", resource).crawl().resolver_with_root(resource)
    try:
        for part in subschemas(schema):
            for key in ("$ref", "$dynamicRef"):
                if isinstance(part.get(key), str):
                    resolver.lookup(part[key])
            for pattern in (part.get("pattern"), *part.get("patternProperties", ())):
                if pattern is not None:
                    check_pattern(pattern)
            if "patternProperties" in part and "unevaluatedProperties" in part:
                raise UnusableSchema("patternProperties beside unevaluatedProperties is not read")
    except PatternError as error:
        raise UnusableSchema(str(error)) from error
    # Where a step of the way is no mapping, the library stumbles in its own ways.
    except (Unresolvable, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UnusableSchema):
            raise
        raise UnusableSchema(
            f'"$ref" {part.get("$ref")!r} leads nowhere inside the schema; put what it means under '
            "$defs, nothing is fetched"
        ) from error
    return resolver


def _fits(pattern: str, text: str) -> bool:
    try:
        return found(pattern, text)
    except TimeoutError:
        return False


def _pattern(
    checking: Validator, pattern: str, value: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(value, str):
        return
    try:
        if not found(pattern, value):
            yield ValidationError(f"{value!r} does not match {pattern!r}")
    except TimeoutError:
        yield ValidationError(f"{pattern!r} takes too long to tell whether it fits {value!r}")


def _pattern_properties(
    checking: Any, patterns: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        for pattern, due in patterns.items():
            if _fits(pattern, name):
                yield from checking.descend(inner, due, path=name, schema_path=pattern)


def _additional_properties(
    checking: Any, due: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        patterns = schema.get("patternProperties", {})
        if name in schema.get("properties", {}) or any(_fits(one, name) for one in patterns):
            continue
        if due is False:
            yield ValidationError(f"additional property {name!r} was unexpected")
        else:
            yield from checking.descend(inner, due, path=name)


def _reference(
    checking: Validator, reference: str, value: Any, schema: Any
) -> Iterator[ValidationError]:
    _steps.left = getattr(_steps, "left", _MOST_REFERENCES) - 1
    if _steps.left < 0:
        raise _TooMany
    yield from Draft202012Validator.VALIDATORS["$ref"](checking, reference, value, schema)


def _multiple_of(
    checking: Validator, step: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    if checking.is_type(value, "number") and not _is_multiple(value, step):
        yield ValidationError(f"multipleOf {step!r} does not divide {value!r}")


def _is_multiple(value: float, step: float) -> bool:
    """Whether a step divides a value: 0.01 divides 19.99, though no float is exactly either."""
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        if not math.isfinite(value):
            return False
    except OverflowError:
        # An integer beyond every float: where steps are fractions, values are floats.
        return False
    return (Fraction(repr(value)) / Fraction(repr(step))).denominator == 1


SchemaValidator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        # jsonschema divides floats, and 19.99 / 0.01 is not whole there.
        "multipleOf": _multiple_of,
        # jsonschema searches with Python's `re`, which knows no \p{Han} and may never end.
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "$ref": _reference,
    },
)
