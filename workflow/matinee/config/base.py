"""What every model of the configuration is made of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

SECRET_PARAMETER = re.compile(r"signature|token|secret|password|api_?key|\bsig=", re.IGNORECASE)


def _without_secrets(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ValueError(f"is no address ({error})") from None
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


def _usable(path: object) -> object:
    if isinstance(path, str):
        if not path.strip():
            raise ValueError("is empty; give a path, or leave the key out")
        if found := re.search(r"[{}\x00-\x1f\x7f]", path):
            raise ValueError(f"holds {found[0]!r}, which Snakemake takes in no path; rename it")
    return path


UserPath = Annotated[Path, Field(strict=False), BeforeValidator(_usable)]

# What NumPy, torch and Snakemake's wildcards all take.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# Never shown where it does not fit: what stands there may be the secret itself.
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=64)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, no value is made from one of another type.

    Numbers are finite. Paths alone are made from text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def meant(name: str, known: Iterable[str]) -> str:
    """A question whether the like-named one was meant; empty where none is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean `{close[0]}`?" if close else ""
