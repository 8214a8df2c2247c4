"""How subjects are tested."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, WithJsonSchema, model_validator

from matinee.config.base import Address, Identifier, Seed, Settings, UserPath, VariableName
from matinee.config.outputs import GgufType
from matinee.messages.scenarios import BfclCategory

Count = Annotated[int, Field(ge=1)]


class BfclSource(Settings):
    """Where the questions of BFCL v4 (Apache-2.0) come from: its wheel, or a folder."""

    package: str = Field(
        default="bfcl-eval==2026.3.23",
        pattern=r"^[A-Za-z0-9._-]+==[^\s=]+$",
        description="name==version of the wheel; it is read, never installed.",
    )
    sha256: str = Field(
        default="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
        pattern=r"^[0-9a-f]{64}$",
        description="Checksum of the wheel.",
    )
    path: UserPath | None = Field(
        default=None,
        description="Folder with `BFCL_v4_….json` and `possible_answer/`, instead of the wheel.",
    )


class SuiteSettings(Settings):
    """A set of scenarios with its tools: files of your own, or questions of BFCL."""

    id: Identifier
    scenarios: UserPath | None = Field(default=None, description="Folder of scenario files.")
    tools: UserPath | None = Field(default=None, description="JSON list of the tools under test.")
    bfcl: BfclSource | None = Field(
        default=None, description="Take the suite from BFCL v4 instead (see docs/bfcl.md)."
    )
    fixtures: UserPath | None = Field(
        default=None,
        description="What your own tools return (see docs/scenarios.md).",
    )
    limit: Count | dict[str, Count] | None = Field(
        default=None,
        description="A stratified subset: of so many cases, or of so many of each category named.",
    )
    categories: list[str] = Field(default=[], description="Only these categories; empty: all.")

    @model_validator(mode="after")
    def _either_files_or_bfcl(self) -> Self:
        files = (self.scenarios, self.tools, self.fixtures)
        if self.bfcl is None and (self.scenarios is None or self.tools is None):
            raise ValueError("needs `scenarios` and `tools`, or `bfcl`")
        if self.bfcl is not None and any(file is not None for file in files):
            raise ValueError("has `bfcl` and also `scenarios`, `tools` or `fixtures`; choose one")
        if isinstance(self.limit, dict) and self.categories:
            raise ValueError("has `categories`, and a `limit` that names categories; choose one")
        offered = get_args(BfclCategory)
        named = self.limit if isinstance(self.limit, dict) else self.categories
        unknown = [name for name in named if self.bfcl and name not in offered]
        if unknown:
            raise ValueError(
                f"BFCL categories {', '.join(unknown)} cannot be run; choose among "
                f"{', '.join(offered)}"
            )
        return self


class RequestForm(Settings):
    """What an endpoint wants otherwise in its requests."""

    limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens",
        description="What the most tokens of an answer are called; OpenAI's newer models want "
        "max_completion_tokens.",
    )
    omit: list[Literal["temperature", "top_p", "seed", "max_tokens"]] = Field(
        default=[],
        description="Parameters that are not sent, where a model refuses them. Without temperature "
        "answers are drawn as the endpoint pleases.",
    )
    extra_body: Annotated[dict[str, JsonValue], WithJsonSchema({"type": "object"})] = Field(
        default={},
        description="Further keys of each request, such as enable_thinking: false. No secrets: "
        "they stand in the report.",
    )


class Reference(Settings):
    """A model behind an OpenAI-compatible endpoint that runs the same suites."""

    id: Identifier
    base_url: Address = Field(
        pattern=r"^https?://", description="Where /chat/completions is, for example https://…/v1."
    )
    model: str = Field(description="The model's name at the endpoint.")
    api_key_env: VariableName = Field(
        default="OPENAI_API_KEY", description="Name of the variable, not the key."
    )
    concurrency: int = Field(default=4, ge=1, description="Requests at a time.")
    timeout: float = Field(default=60.0, gt=0, description="Seconds per request.")
    retries: int = Field(default=4, ge=0, description="Further tries of a request that failed.")
    request: RequestForm = RequestForm()


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
    thinking: Literal["off", "on", "budget"] = Field(
        default="off",
        description="Whether models that can be asked to think before they answer are asked to; "
        "budget: and made to end their thoughts after `thinking_budget` tokens (engine "
        "transformers). Without effect on others, and on templates of our own.",
    )
    thinking_budget: int | None = Field(
        default=None, ge=1, description="Tokens of thoughts before an answer; with budget."
    )

    @model_validator(mode="after")
    def _budget_is_told(self) -> Self:
        if (self.thinking == "budget") != (self.thinking_budget is not None):
            raise ValueError("thinking budget and thinking_budget need each other")
        return self


class ServerCommands(Settings):
    """How servers are called, on the machine where a subject is tested, with flags of your own."""

    vllm: str = Field(
        default="vllm serve",
        description="vLLM's, for example in an environment of its own: /opt/vllm/bin/vllm serve "
        "--max-model-len 8192.",
    )
    llama_cpp: str = Field(
        default="llama-server",
        description="llama.cpp's; where it is not installed, the one in the wheel xllamacpp "
        "(requirements-gguf.txt).",
    )


class SampledRuns(Settings):
    """Every subject runs each case again with drawn tokens: is it right each time?"""

    temperature: float = Field(
        default=0.7, gt=0, le=2, description="How far from the likeliest token."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Keep the likeliest tokens of that mass."
    )
    repeats: int = Field(default=4, ge=2, le=64, description="Runs of each case.")
    seed: Seed = Field(default=0, description="Of all draws.")


class Evaluation(Limits):
    """How every subject is tested."""

    suites: list[SuiteSettings] = Field(min_length=1)
    engine: Literal["auto", "transformers", "vllm", "llama_cpp", "gold", "null"] = Field(
        default="auto",
        description="What runs the local subjects. vllm and llama_cpp: a server is started for "
        "each job, asked and stopped. auto: vllm where the machine has a GPU and the command, else "
        "transformers. gold and null are scripted, for testing the workflow.",
    )
    servers: ServerCommands = ServerCommands()
    gguf: list[GgufType] = Field(
        default=[],
        description="GGUF files of export.formats.gguf that run every suite too, in llama.cpp: the "
        "report then says what the format costs.",
    )
    references: list[Reference] = Field(default=[])
    constrained: bool = Field(
        default=False,
        description="Run every local subject once more with the format of calls guaranteed.",
    )
    sampling: SampledRuns | None = Field(
        default=None,
        description="Run every subject once more, several times per case, with drawn tokens.",
    )

    @model_validator(mode="after")
    def _budget_needs_our_engine(self) -> Self:
        served = self.engine != "transformers" or self.gguf
        if self.thinking == "budget" and served:
            raise ValueError("thinking budget needs engine transformers: servers close no thoughts")
        return self

    def limits(self) -> Limits:
        """The part that a run of scenarios depends on."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})
