"""Values against a JSON Schema: numbers counted as they are written, and nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry


def validator(schema: dict[str, Any]) -> Validator:
    """What tells whether values fit a schema of draft 2020-12, and what is wrong with others."""
    # An empty registry: jsonschema's own would fetch a remote "$ref" from the network.
    made: Validator = SchemaValidator(schema, registry=Registry())
    return made


def _multiple_of(
    checking: Validator, step: Any, value: Any, schema: dict[str, Any]
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


# jsonschema divides floats, and 19.99 / 0.01 is not whole there.
SchemaValidator = extend(Draft202012Validator, {"multipleOf": _multiple_of})  # type: ignore[no-untyped-call]
