"""What gets tested, and the one spelling of its id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from matinee.config import CALL_FORMS, CallForm, Configuration, GgufType, Reference, Variant
from matinee.messages.forms import NATIVE

Decoding = Literal["greedy", "constrained", "sampled"]


@dataclass(frozen=True)
class Subject:
    """A variant's start model (no `seed`), the same after a training, or an endpoint's model.

    `decoding`: how its tokens are chosen; ways other than greedy are named in the id. `gguf`: the
    number format of the file that is tested in place of the folder.
    """

    source: Variant | Reference
    seed: int | None = None
    decoding: Decoding = "greedy"
    gguf: GgufType | None = None

    @property
    def variant(self) -> Variant | None:
        """None for a reference."""
        return self.source if isinstance(self.source, Variant) else None

    @property
    def reference(self) -> Reference | None:
        """None for a local model."""
        return self.source if isinstance(self.source, Reference) else None

    @property
    def kind(self) -> Literal["untuned", "tuned", "reference"]:
        """Before training, after it, or reached over an endpoint."""
        if self.variant is None:
            return "reference"
        return "untuned" if self.seed is None else "tuned"

    @property
    def id(self) -> str:
        """Its name in paths, tables and addresses."""
        name = {
            "untuned": f"{self.source.id}-untuned",
            "tuned": f"{self.source.id}-tuned-s{self.seed}",
            "reference": f"ref-{self.source.id}",
        }[self.kind]
        ways = [way for way in (self.decoding, self.gguf) if way not in ("greedy", None)]
        return ".".join([name, *map(str, ways)])

    @property
    def name(self) -> str:
        """The id of the variant or reference."""
        return self.source.id

    @property
    def model(self) -> str:
        """The id of the start model, or the model's name at the endpoint."""
        return self.source.model

    @property
    def form(self) -> CallForm:
        """How its calls are spelled."""
        return CALL_FORMS.get(self.variant.template, NATIVE) if self.variant else "hermes"


def greedy_subjects(configuration: Configuration) -> Iterator[Subject]:
    """Each variant before and after its trainings, then the references: the order on the page.

    Variants that start from the same model and prompts are one before they are trained.
    """
    begun: set[str] = set()
    for variant in configuration.tested:
        if (first := configuration.untuned_of(variant.id)) not in begun:
            begun.add(first)
            yield Subject(configuration.variant(first))
        yield from (Subject(variant, seed) for seed in variant.seeds)
    yield from map(Subject, configuration.evaluation.references)


def decoded_subjects(configuration: Configuration) -> Iterator[Subject]:
    """The same once more for each further way of choosing tokens that is asked for."""
    evaluation = configuration.evaluation
    for subject in greedy_subjects(configuration):
        # What an endpoint may write is out of reach.
        if evaluation.constrained and subject.variant:
            yield replace(subject, decoding="constrained")
        if evaluation.sampling is not None:
            yield replace(subject, decoding="sampled")


def choosing_subjects(configuration: Configuration) -> Iterator[Subject]:
    """The candidates of a sweep that a development suite is to choose from."""
    if configuration.developments:
        yield from (Subject(one, seed) for one in configuration.candidates for seed in one.seeds)


def converted_subjects(configuration: Configuration) -> Iterator[Subject]:
    """Each tuned model once more for each GGUF file that is to be tested."""
    for subject in greedy_subjects(configuration):
        if subject.kind == "tuned":
            yield from (replace(subject, gguf=kind) for kind in configuration.evaluation.gguf)
