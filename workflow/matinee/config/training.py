"""Variants: one start model, one data mix, one training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from matinee.config.base import Identifier, Seed, Settings
from matinee.config.data import MixPart
from matinee.messages.forms import NATIVE, templates

CallForm = str
# The form of calls in each of our own templates; that of the model's own is found in its folder.
CALL_FORMS: dict[str, CallForm] = {
    name: form.name for name, (_, form) in sorted(templates().items())
}
TEMPLATES = (NATIVE, *CALL_FORMS)


def _known_template(name: str) -> str:
    if name not in TEMPLATES:
        raise ValueError(f"{name!r} is no template; allowed are {', '.join(TEMPLATES)}")
    return name


Supervise = Literal["all", "last", "calls"]
PromptTemplate = Annotated[
    str,
    AfterValidator(_known_template),
    WithJsonSchema({"enum": [*TEMPLATES], "type": "string"}),
]


class Lora(Settings):
    """The adapter."""

    r: int = Field(default=8, ge=1, description="Rank.")
    alpha: float = Field(
        default=16, gt=0, description="Scale is alpha / r, or alpha / √r with rslora."
    )
    rslora: bool = Field(
        default=False,
        description="Rank-stabilised (arXiv:2312.03732), for high ranks.",
    )
    dora: bool = Field(
        default=False,
        description="Weight-decomposed (arXiv:2402.09353): the length of each row of a weight is "
        "learned apart from its direction. Slower: peft's own layers compute it.",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the adapter's inputs left out."
    )
    layers: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the layers that are adapted, counted from the last. Below them no "
        "gradient is computed: less time and memory, and less to learn with.",
    )
    target: Literal["all-linear"] | list[str] = Field(
        default="all-linear", description="All linear layers but the LM head, or module names."
    )
    modules_to_save: list[str] = Field(
        default=[],
        description="Modules that are trained whole beside the adapters: lm_head, embed_tokens (a "
        "tied head follows) or norms, by name. The adapter grows by their size.",
    )
    trainable_tokens: list[str] = Field(
        default=[],
        description="Tokens, by their text, whose rows in the embeddings and in the head are "
        "trained: for marks of calls that the start model never learnt.",
    )


class Training(Settings):
    """LoRA supervised fine-tuning."""

    lora: Lora = Lora()
    learning_rate: float = Field(gt=0, lt=1, description="Highest rate of AdamW.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="cosine and linear fall to zero at the last step."
    )
    warmup_steps: int = Field(
        default=0,
        ge=0,
        description="Steps in which the rate rises from zero, before the schedule begins.",
    )
    epochs: float = Field(gt=0, description="Passes over the data.")
    max_steps: int | None = Field(
        default=None, ge=1, description="Stop after so many optimizer steps."
    )
    batch_size: int = Field(ge=1, description="Rows per device and micro-batch.")
    gradient_accumulation: int = Field(default=1, ge=1, description="Micro-batches per step.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's, on the adapter's weights.")
    adam_beta2: float = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="AdamW's memory of squared gradients. In trainings of less than a few hundred "
        "steps 0.95 to 0.99 follows a growing gradient sooner, and prevents jumps of the loss.",
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="A gradient of larger norm is scaled to it."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Of the frozen weights and activations; adapters stay fp32. bf16 on a CPU: "
        "products with frozen weights alone are rounded, at twice the rate of fp32 where it has "
        "instructions for bf16; where it has none, fp32 is taken.",
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        default="none",
        description="Load the frozen weights in 8 or 4 bits (bitsandbytes; CUDA only): a half or a "
        "quarter of the memory, slower, slightly other results. Merging adds to the full weights.",
    )
    devices: int = Field(
        default=1,
        ge=1,
        description="GPUs of one training. They share the rows of each optimizer step, so "
        "gradient_accumulation must be a multiple of it.",
    )
    sharding: Literal["none", "fsdp"] = Field(
        default="none",
        description="With more than one device: none keeps the whole model on each, fsdp spreads "
        "it over them, for models that do not fit on one.",
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
    attention: Literal["auto", "sdpa"] = Field(
        default="auto",
        description="What computes attention over packed rows. auto: on CUDA the fastest kernel "
        "that this PyTorch has and that agrees with its SDPA in a trial. sdpa: SDPA everywhere.",
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

    @model_validator(mode="after")
    def _devices_fit(self) -> Self:
        if self.gradient_accumulation % self.devices:
            raise ValueError(
                f"gradient_accumulation {self.gradient_accumulation} cannot be divided over "
                f"devices {self.devices}; the rows of a step must not depend on the devices"
            )
        if self.sharding == "fsdp" and self.devices == 1:
            raise ValueError("sharding fsdp needs devices 2 or more")
        if self.sharding == "fsdp" and self.quantization != "none":
            raise ValueError("sharding fsdp needs quantization none")
        if self.sharding == "fsdp" and (self.lora.modules_to_save or self.lora.trainable_tokens):
            raise ValueError("sharding fsdp needs lora without modules_to_save, trainable_tokens")
        return self


class Variant(Settings):
    """One start model, one data mix, one training."""

    id: Identifier
    model: Identifier = Field(description="The `id` of the start model.")
    template: PromptTemplate = Field(
        default=NATIVE,
        description="How prompts and calls are spelled. native: by the chat template that the "
        "model brings. Templates of our own, for models without one: "
        + "; ".join(f"{n}: {t.about}, {f.about}" for n, (t, f) in sorted(templates().items()))
        + ".",
    )
    data: list[MixPart] = Field(min_length=1)
    validation_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the different rows that is held out of training. Their loss is "
        "measured ten times over the run and at its end, without learning from them.",
    )
    shuffle_rows: bool = Field(
        default=True, description="Shuffle rows (or tool lists) between steps, by the seed."
    )
    cutoff_length: int = Field(default=1024, ge=32, description="Longest row in tokens.")
    supervise: Supervise = Field(
        default="all",
        description="Which answers of a row are learned: all, only the last, or only those with "
        "calls. The others are read. What a row itself marks as not to be learned stays so.",
    )
    supervise_reasoning: bool = Field(
        default=True,
        description="Learn the thoughts that stand before an answer, where rows hold them and the "
        "template writes them. Else they are read, and what follows them is learned.",
    )
    training: Training
    seeds: list[Seed] = Field(default=[42], min_length=1, description="One training run per seed.")
    gpu_model: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.]+$",
        exclude_if=lambda value: value is None,
        description="The kind of GPU that its jobs ask a cluster for, as the cluster names it, "
        "such as a100.",
    )

    @model_validator(mode="after")
    def _validation_is_not_spread(self) -> Self:
        # The devices hold out unlike numbers of rows, and a spread model needs them in step.
        if self.validation_share > 0 and self.training.sharding == "fsdp":
            raise ValueError("validation_share needs sharding none")
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds repeat: {self.seeds}")
        return self
