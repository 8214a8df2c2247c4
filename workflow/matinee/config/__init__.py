"""The models of `config.yaml`: types, defaults, ranges, and checks across fields.

Every field description is the user's manual: `schemas/config.schema.json` is made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from typing import Any, Literal, TypeVar

from pydantic import Field, model_validator

from matinee.config.base import Settings, meant
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
from matinee.config.sweep import Sweep
from matinee.config.training import (
    CALL_FORMS,
    CallForm,
    Lora,
    PromptTemplate,
    Supervise,
    Training,
    Variant,
)

Named = TypeVar("Named", Model, Dataset, Variant, SuiteSettings)
# What of a variant its rows do not depend on.
OF_TRAINING = {"id", "training", "seeds", "shuffle_rows", "gpu_model"}


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
    results: str = Field(
        default="results",
        pattern=r"^\w[\w.-]*$",
        exclude_if=lambda value: value == "results",
        description="Name of the folder that everything is written to, in the folder of the run.",
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
    sweep: Sweep | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _identifiers_fit(self) -> Configuration:
        problems = [
            *_repeated("models", self.models),
            *_repeated("datasets", self.datasets),
            *_repeated("variants", self.variants),
            *_repeated("evaluation.suites", self.evaluation.suites),
            *_repeated("evaluation.references", self.evaluation.references),
            *self._publishing_problems(),
            *self._sweep_problems(),
            *(
                f"evaluation.gguf: {kind!r} is not among export.formats.gguf"
                for kind in self.evaluation.gguf
                if kind not in self.export.formats.gguf
            ),
        ]
        for number, variant in enumerate(self.variants):
            key = f"variants[{number}]"
            problems += _unknown(f"{key}.model", variant.model, "models", self.models)
            for part, mix in enumerate(variant.data):
                place = f"{key}.data[{part}].dataset"
                problems += _unknown(place, mix.dataset, "datasets", self.datasets)
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

    def _sweep_problems(self) -> list[str]:
        if (sweep := self.sweep) is None:
            return []
        if unknown := _unknown("sweep.variant", sweep.variant, "variants", self.variants):
            return unknown
        variant = _of(self.variants, sweep.variant)
        try:
            named = _repeated("sweep.over", [*self.variants, *sweep.candidates(variant)])
        except ValueError as error:
            return [f"sweep.over: {error}"]
        if sweep.choose_by == "held_out_loss" and not variant.validation_share:
            named.append(
                f"sweep.choose_by: held_out_loss needs a validation_share of variant {variant.id}"
            )
        for suite in self.evaluation.suites:
            for own in self.developments:
                if own.id == suite.id or own.scenarios == suite.scenarios is not None:
                    named.append(f"sweep.development: {suite.id} is the test, and may not choose")
        return named

    @cached_property
    def candidates(self) -> list[Variant]:
        """The swept variant with each combination of values; none without a sweep."""
        return self.sweep.candidates(_of(self.variants, self.sweep.variant)) if self.sweep else []

    @property
    def tested(self) -> list[Variant]:
        """The variants whose tuned models the test suites are run on."""
        sweep = self.sweep
        if sweep is None or sweep.test == "chosen":
            return self.variants
        return [*self.candidates, *(one for one in self.variants if one.id != sweep.variant)]

    def variant(self, identifier: str) -> Variant:
        """The variant, or candidate of the sweep, of that id."""
        return _of([*self.variants, *self.candidates], identifier)

    def model(self, identifier: str) -> Model:
        """The model of that id."""
        return _of(self.models, identifier)

    def dataset(self, identifier: str) -> Dataset:
        """The data set of that id."""
        return _of(self.datasets, identifier)

    def suite(self, identifier: str) -> SuiteSettings:
        """The suite of that id; the sweep's development suite is one."""
        return _of([*self.evaluation.suites, *self.developments], identifier)

    @property
    def developments(self) -> list[SuiteSettings]:
        """The suite that a sweep chooses by, if one does."""
        return [self.sweep.development] if self.sweep and self.sweep.development else []

    def rows_of(self, variant: str) -> str:
        """The first variant that is mixed and tokenized alike: its rows are these, too."""
        return self._first_like(variant, lambda one: one.model_dump(exclude=OF_TRAINING))

    def untuned_of(self, variant: str) -> str:
        """The first variant with the same model and prompts: before training they are one."""
        return self._first_like(variant, lambda one: (one.model, one.template))

    def _first_like(self, variant: str, key: Callable[[Variant], object]) -> str:
        wanted = key(self.variant(variant))
        return next(one.id for one in self.variants if key(one) == wanted)


def _of(entries: Iterable[Named], identifier: str) -> Named:
    return next(entry for entry in entries if entry.id == identifier)


def _repeated(key: str, entries: Sequence[Any]) -> list[str]:
    ids = [entry.id for entry in entries]
    return [
        f"{key}[{number}].id: {found!r} is used twice"
        for number, found in enumerate(ids)
        if found in ids[:number]
    ]


def _unknown(key: str, found: str, kind: str, entries: Sequence[Any]) -> list[str]:
    known = sorted(entry.id for entry in entries)
    if found in known:
        return []
    return [f"{key}: {found!r} is not among {kind}: {known}.{meant(found, known)}"]


@cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema of `config.yaml`, for editors."""
    return Configuration.model_json_schema()
