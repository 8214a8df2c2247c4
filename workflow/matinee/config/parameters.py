"""What each stage is told: made by the plan, passed as JSON, recorded in run.json as it is.

Stages that are told what one entry of the configuration says (`Model`, `Dataset`,
`SuiteSettings`, or all of it) have no model of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from matinee.config import (
    CallForm,
    Export,
    GgufType,
    Limits,
    MixPart,
    PromptTemplate,
    Reference,
    SampledRuns,
    Settings,
    Supervise,
    Training,
)


class MixData(Settings):
    """A variant's data sets and amounts, and the share that is held out."""

    parts: list[MixPart]
    validation_share: float


class TokenizeData(Settings):
    """How rows are spelled, the longest in tokens, and what of them is learned."""

    template: PromptTemplate
    cutoff_length: int
    supervise: Supervise = "all"
    supervise_reasoning: bool = True


class CheckLeakage(Settings):
    """What a leak does."""

    leakage: Literal["error", "same_tools", "warn"]


class TrainAdapter(Settings):
    """Everything that decides a training run's weights, but its rows."""

    variant: str
    seed: int
    shuffle_rows: bool
    training: Training


class ChooseVariant(Settings):
    """Which variants, trained with which settings, one is chosen from, and by what: the held-out
    loss, or a suite."""

    variant: str
    candidates: dict[str, dict[str, JsonValue]]
    seeds: list[int]
    suite: str | None


class MergeModel(Settings):
    """How a variant's model is exported."""

    variant: str
    template: PromptTemplate
    export: Export


class ExportGguf(Settings):
    """The number formats of the GGUF files."""

    types: list[GgufType]


class PublishModel(Settings):
    """Where a merged model is uploaded to; `token_env` names the variable with the token."""

    repository: str
    private: bool
    token_env: str
    hub: Literal["hf", "modelscope"] = "hf"


class RunScenarios(Settings):
    """One subject on one part of a suite.

    `fixtures`: what own tools return. `server`: how the engine's is called. What is off is left
    out, so that nothing is run again for a new way of choosing tokens.
    """

    subject: str
    form: CallForm
    template: PromptTemplate | None
    reference: Reference | None
    engine: Literal["transformers", "vllm", "llama_cpp", "gold", "null"]
    fixtures: Path | None
    part: int
    limits: Limits
    server: str | None = Field(default=None, exclude_if=lambda value: value is None)
    constrained: bool = Field(default=False, exclude_if=lambda value: not value)
    sampling: SampledRuns | None = Field(default=None, exclude_if=lambda value: value is None)


class ScoreScenarios(Settings):
    """How the subject's calls are spelled."""

    form: CallForm
