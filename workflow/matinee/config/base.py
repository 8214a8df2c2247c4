"""What every model of the configuration is made of."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SECRET_PARAMETER = re.compile(r"signature|token|secret|password|api_?key|\bsig=", re.IGNORECASE)


def _without_secrets(address: str) -> str:
    parts = urlsplit(address)
    if parts.password or parts.username or SECRET_PARAMETER.search(parts.query):
        raise ValueError(
            "holds a secret (a password, a token or a signature), which would be written to logs "
            "and to the report; give the secret in an environment variable, or fetch the file "
            "yourself and use `kind: path`"
        )
    return address


# Part of what logs, run.json and the report show, so it may hold no secret.
Address = Annotated[str, AfterValidator(_without_secrets)]

Identifier = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_]*$",
        max_length=64,
        description="Your name for it, unique in its list; part of the paths under results/.",
    ),
]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, no value is made from one of another type.

    Fields that are `strict=False` take text too: YAML 1.1 reads 5e-4 as text, and paths are text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
