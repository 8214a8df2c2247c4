"""A sweep: one variant trained with several settings, and who of them is tested."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, WithJsonSchema, model_validator

from matinee.config.base import Identifier, Settings, meant
from matinee.config.evaluation import SuiteSettings
from matinee.config.training import Training, Variant

LONGEST_ID = 64
Scalar = Annotated[
    JsonValue,
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]}),
]


class Sweep(Settings):
    """One variant, trained with every combination of values, each with each of its seeds. Data that
    is not the test's chooses one. What they share (rows, tokens, the untuned subject) is made once.
    """

    variant: Identifier = Field(description="The `id` of the variant.")
    over: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(
        min_length=1,
        description="Keys of `training` with their values, such as `learning_rate: [1e-4, 3e-4]` "
        "or `lora.r: [8, 16]`; a line for each.",
    )
    choose_by: Literal["held_out_loss", "development"] = Field(
        default="held_out_loss",
        description="The mean over the seeds of the loss on rows that `validation_share` holds "
        "out, or of the cases of `development` that are right.",
    )
    development: SuiteSettings | None = Field(
        default=None, description="A suite to choose by; no suite of the test."
    )
    test: Literal["chosen", "all"] = Field(
        default="chosen",
        description="Who is tested. all: every combination, and the report corrects for their "
        "number (Holm).",
    )

    @model_validator(mode="after")
    def _development_fits(self) -> Self:
        if (self.choose_by == "development") != (self.development is not None):
            raise ValueError("`choose_by: development` and a suite `development` go together")
        return self

    def settings(self) -> Iterator[dict[str, Any]]:
        """Each combination: the swept keys with one value each."""
        for values in itertools.product(*self.over.values()):
            yield dict(zip(self.over, values, strict=True))

    def candidates(self, variant: Variant) -> list[Variant]:
        """The variant with each combination; its id says which. Raises ValueError for a key or a
        value that `training` does not take."""
        made = []
        for number, chosen in enumerate(self.settings(), 1):
            training = variant.training.model_dump()
            for key, value in chosen.items():
                _put(training, key, value)
            try:
                settings = Training.model_validate(training)
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"{chosen}: {first['msg']}") from None
            told = "_".join(f"{key.rsplit('.')[-1]}_{value}" for key, value in chosen.items())
            name = f"{variant.id}_{re.sub('[^a-z0-9]+', '_', told.lower())}"
            name = name if len(name) <= LONGEST_ID else f"{variant.id}_{number}"
            made.append(variant.model_copy(update={"id": name, "training": settings}))
        return made


def _put(training: dict[str, Any], key: str, value: object) -> None:
    *outer, last = key.split(".")
    for step in outer:
        training = training.get(step, {})
    if last not in training:
        raise ValueError(f"`{key}` is no key of `training`.{meant(last, training)}")
    training[last] = value
