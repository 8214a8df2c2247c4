"""How subjects are tested."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from matinee.config.base import Identifier, Settings


class SuiteSettings(Settings):
    """A set of scenarios with its tools."""

    id: Identifier
    scenarios: Path = Field(strict=False, description="Folder of scenario files.")
    tools: Path = Field(strict=False, description="JSON list of the tools under test.")
    fixtures: Path | None = Field(
        default=None,
        strict=False,
        description="What your own tools return (see docs/scenarios.md).",
    )
    limit: int | None = Field(
        default=None, ge=1, description="A stratified subset of so many cases."
    )
    categories: list[str] = Field(default=[], description="Only these categories; empty: all.")


class Reference(Settings):
    """A model behind an OpenAI-compatible endpoint that runs the same suites."""

    id: Identifier
    base_url: str = Field(
        pattern=r"^https?://", description="Where /chat/completions is, for example https://…/v1."
    )
    model: str = Field(description="The model's name at the endpoint.")
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="Name of the variable, not the key."
    )
    concurrency: int = Field(default=4, ge=1, description="Requests at a time.")
    timeout: float = Field(default=60.0, gt=0, strict=False, description="Seconds per request.")
    retries: int = Field(default=4, ge=0, description="Further tries of a request that failed.")


class Limits(Settings):
    """What a run of scenarios may use."""

    max_steps: int = Field(default=6, ge=1, description="Model outputs per user turn.")
    max_new_tokens: int = Field(default=512, ge=8, description="Per model output.")
    max_observation: int = Field(
        default=4000,
        ge=100,
        description="Characters of a tool's answer that the model reads; the record keeps all.",
    )
    batch_size: int = Field(default=16, ge=1, description="Conversations decoded side by side.")
    parts: int = Field(default=1, ge=1, le=512, description="Jobs that a suite is scattered over.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Of weights and activations while a subject is tested."
    )


class Evaluation(Limits):
    """How every subject is tested."""

    suites: list[SuiteSettings] = Field(min_length=1)
    engine: Literal["transformers", "gold", "null"] = Field(
        default="transformers", description="gold and null are scripted, for testing the workflow."
    )
    references: list[Reference] = Field(default=[])

    def limits(self) -> Limits:
        """The part that a run of scenarios depends on."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})
