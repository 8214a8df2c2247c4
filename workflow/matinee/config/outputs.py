"""What a run leaves behind: the exported model, its W&B run, the page."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from matinee.config.base import Settings, UserPath, VariableName

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m"]


class Formats(Settings):
    """Forms of the merged model beside safetensors."""

    gguf: list[GgufType] = Field(
        default=[],
        description="GGUF files for llama.cpp and Ollama, one per number format, made by "
        "llama.cpp's own tools (pip install -r requirements-gguf.txt).",
    )


class Export(Settings):
    """The merged model."""

    formats: Formats = Formats()
    keep: Literal["models", "adapters"] = Field(
        default="models",
        exclude_if=lambda value: value == "models",
        description="adapters: a merged model is deleted when its tests, GGUF files and upload are "
        "done; its adapter and the merge's certificate stay.",
    )
    shard_size: str = Field(
        default="2GB",
        pattern=r"^\d+(\.\d+)?(MB|GB)$",
        description="Largest weight file; 1 MB is 10^6 bytes, 1 GB is 10^9.",
    )
    tolerance: float = Field(
        default=1e-4,
        gt=0,
        description="Largest accepted difference between the logits of the merge in fp32 and of "
        "the adapter on its base, relative to the largest logit. How far the weights' own type "
        "rounds is measured beside it and needs no bound.",
    )


class Publish(Settings):
    """Upload of every merged model to a hub."""

    hub: Literal["hf", "modelscope"] = Field(
        default="hf",
        description="hf: Hugging Face, or the hub in HF_ENDPOINT. modelscope: ModelScope, or "
        "MODELSCOPE_ENDPOINT (pip install modelscope-hub).",
    )
    owner: str = Field(pattern=r"^[\w.-]+$", description="User or organisation on the hub.")
    name: str = Field(
        default="{variant}-s{seed}",
        pattern=r"^([\w.-]|\{variant\}|\{seed\})+$",
        description="Name of the repository; it must tell variants and seeds apart.",
    )
    private: bool = Field(default=True, description="Whether a new repository is private.")
    gguf: bool = Field(
        default=True, description="Whether the GGUF files of export.formats go along, in gguf/."
    )
    token_env: VariableName | None = Field(
        default=None,
        description="Name of the variable with the token, not the token. Absent: HF_TOKEN, or "
        "MODELSCOPE_API_TOKEN.",
    )

    @property
    def token_variable(self) -> str:
        """The variable with the token."""
        usual = "HF_TOKEN" if self.hub == "hf" else "MODELSCOPE_API_TOKEN"
        return self.token_env or usual

    def repository(self, variant: str, seed: int) -> str:
        """owner/name of one merged model."""
        name = self.name.replace("{variant}", variant).replace("{seed}", str(seed))
        return f"{self.owner}/{name}"


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
    price_per_hour: float | None = Field(
        default=None,
        gt=0,
        description="What an hour of the machine costs; the page then says what each stage cost.",
    )
    currency: str = Field(default="USD", description="The currency of that price, as it is shown.")
    compare_with: list[UserPath] = Field(
        default=[],
        description="The summary.json of earlier runs. The page then says what got better or worse "
        "since, and which cases flipped.",
    )
