"""The base of records that travel between stages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Refuses keys that it does not know, and does not change once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
