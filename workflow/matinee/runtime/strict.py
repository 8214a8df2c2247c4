"""The base of records that travel between stages, and YAML files that people write as such."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from matinee.runtime.errors import UserError

Value = TypeVar("Value")


class Strict(BaseModel):
    """Refuses keys that it does not know, and does not change once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path, kind: TypeAdapter[Value], keys: str) -> Value:
    """The value of a YAML file. Raises UserError, naming place and known `keys`."""
    try:
        return kind.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "(file)"
        raise UserError(f"{path}: {where}: {first['msg']}. The keys are {keys}.") from error
