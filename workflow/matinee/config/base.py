"""What every model of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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
