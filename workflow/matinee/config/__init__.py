"""The models of `config.yaml`: types, defaults, ranges, and checks across fields.

Every field description is the user's manual: `schemas/config.schema.json` is made from it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import Field, model_validator

from matinee.config.base import (
    Identifier,
    Settings,
)
from matinee.config.data import (
    Dataset,
    DatasetSource,
    HubSource,
    MixPart,
    Model,
    ModelSource,
    PackageSource,
    PathSource,
    RandomSource,
    ReaderName,
    UrlSource,
)
from matinee.config.evaluation import (
    BfclSource,
    Evaluation,
    Limits,
    Reference,
    RequestForm,
    SampledRuns,
    SuiteSettings,
)
from matinee.config.outputs import (
    Export,
    Formats,
    GgufType,
    Publish,
    ReportSettings,
    WandbSettings,
)
from matinee.config.training import (
    CALL_FORMS,
    CallForm,
    Lora,
    PromptTemplate,
    Training,
    Variant,
)

__all__ = [
    "CALL_FORMS",
    "BfclSource",
    "CallForm",
    "Configuration",
    "Dataset",
    "DatasetSource",
    "Evaluation",
    "Export",
    "Formats",
    "GgufType",
    "HubSource",
    "Identifier",
    "Limits",
    "Lora",
    "MixPart",
    "Model",
    "ModelSource",
    "PackageSource",
    "PathSource",
    "PromptTemplate",
    "Publish",
    "RandomSource",
    "ReaderName",
    "Reference",
    "ReportSettings",
    "RequestForm",
    "SampledRuns",
    "Settings",
    "SuiteSettings",
    "Training",
    "UrlSource",
    "Variant",
    "WandbSettings",
    "json_schema",
]


class Configuration(Settings):
    """The whole of `config.yaml`."""

    offline: bool = Field(
        default=False, description="Forbid the network; what is missing is listed."
    )
    leakage: Literal["error", "same_tools", "warn"] = Field(
        default="error",
        description="What happens when a test tool or question is found in the training data. "
        "same_tools: the tools are the same by intent, such as your own; only a question is an "
        "error.",
    )
    models: list[Model] = Field(min_length=1)
    datasets: list[Dataset] = Field(min_length=1)
    variants: list[Variant] = Field(min_length=1)
    evaluation: Evaluation
    export: Export = Export()
    publish: Publish | None = Field(
        default=None, description="Upload the merged models. Absent: nothing leaves this machine."
    )
    wandb: WandbSettings = WandbSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _identifiers_fit(self) -> Configuration:
        problems = [
            *_repeated("models", self.models),
            *_repeated("datasets", self.datasets),
            *_repeated("variants", self.variants),
            *_repeated("evaluation.suites", self.evaluation.suites),
            *_repeated("evaluation.references", self.evaluation.references),
            *self._publishing_problems(),
        ]
        models = {model.id for model in self.models}
        datasets = {dataset.id for dataset in self.datasets}
        for number, variant in enumerate(self.variants):
            if variant.model not in models:
                problems.append(
                    f"variants[{number}].model: {variant.model!r} is not among "
                    f"models: {sorted(models)}"
                )
            problems += [
                f"variants[{number}].data[{part}].dataset: {mix.dataset!r} is not among "
                f"datasets: {sorted(datasets)}"
                for part, mix in enumerate(variant.data)
                if mix.dataset not in datasets
            ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _publishing_problems(self) -> list[str]:
        if self.publish is None:
            return []
        if self.offline:
            return ["publish: needs the network, which `offline: true` forbids"]
        runs = [(variant.id, seed) for variant in self.variants for seed in variant.seeds]
        if len({self.publish.repository(*run) for run in runs}) < len(runs):
            found = self.publish.name
            return [f"publish.name: {found!r} names one repository for {len(runs)} models"]
        return []

    def variant(self, identifier: str) -> Variant:
        """The variant of that id."""
        return next(variant for variant in self.variants if variant.id == identifier)

    def model(self, identifier: str) -> Model:
        """The model of that id."""
        return next(model for model in self.models if model.id == identifier)

    def dataset(self, identifier: str) -> Dataset:
        """The data set of that id."""
        return next(dataset for dataset in self.datasets if dataset.id == identifier)

    def suite(self, identifier: str) -> SuiteSettings:
        """The suite of that id."""
        return next(suite for suite in self.evaluation.suites if suite.id == identifier)


def _repeated(key: str, entries: list[Any]) -> list[str]:
    seen: set[str] = set()
    problems: list[str] = []
    for number, entry in enumerate(entries):
        if entry.id in seen:
            problems.append(f"{key}[{number}].id: {entry.id!r} is used twice")
        seen.add(entry.id)
    return problems


@cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema of `config.yaml`, for editors."""
    return Configuration.model_json_schema()
