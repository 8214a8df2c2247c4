"""What the rules ask of the configuration: ids, paths, and each stage's own slice as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from matinee import __version__
from matinee.config import (
    CALL_FORMS,
    Configuration,
    MixPart,
    PathSource,
    Reference,
    Variant,
)
from matinee.messages.forms import FOLDER as TEMPLATES
from matinee.messages.forms import NATIVE
from matinee.runtime.places import RESOURCES

FEW_ROWS = 5000
# More threads than this help a job on a GPU no further.
GPU_JOB_THREADS = 8


def canonical(value: Any) -> str:
    """One JSON text per value, so that an unchanged slice of the configuration reruns nothing."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _relative(path: Path) -> str:
    """The path from the working directory, so that a folder that was moved reruns nothing."""
    return os.path.relpath(path)


def slice_of(settings: BaseModel, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """The settings as plain data, less the keys that do not change the stage's result."""
    return settings.model_dump(mode="json", exclude=set(without))


Decoding = Literal["greedy", "constrained", "sampled"]


@dataclass(frozen=True)
class Subject:
    """What gets tested. A reference has neither variant nor model folder.

    `decoding`: how its tokens are chosen; other ways than greedy are named behind a dot in `id`.
    """

    id: str
    kind: Literal["untuned", "tuned", "reference"]
    variant: Variant | None = None
    seed: int | None = None
    reference: Reference | None = None
    decoding: Decoding = "greedy"

    @property
    def model(self) -> str | None:
        """The folder of the model, or None for an endpoint."""
        if self.variant is None:
            return None
        if self.kind == "untuned":
            return f"results/model/{self.variant.model}"
        return f"results/merged/{self.variant.id}/s{self.seed}/model"

    @property
    def form(self) -> str:
        """How this subject's calls are spelled."""
        return CALL_FORMS.get(self.variant.template, NATIVE) if self.variant else "hermes"


class Plan:
    """The configuration as the rules see it."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.model_ids = [model.id for model in configuration.models]
        self.dataset_ids = [dataset.id for dataset in configuration.datasets]
        self.variant_ids = [variant.id for variant in configuration.variants]
        self.suite_ids = [suite.id for suite in configuration.evaluation.suites]
        greedy = list(self._subjects())
        self.subjects = {subject.id: subject for subject in [*greedy, *self._decoded(greedy)]}
        self.subject_ids = list(self.subjects)
        self.version = __version__

    def tell_environment(self, environments: Path | None = None) -> None:
        """Tells the stages what is no parameter of theirs, because it must not rerun them.

        Whether the network may be used, where training is watched, that descriptor 3 is the
        terminal (the shell commands keep it open while output goes to the log), which process
        drives them, and that `python` is the interpreter of this workflow, unless --use-conda
        activates another: one below `environments`.
        """
        os.environ["MATINEE_DRIVER"] = str(os.getpid())
        os.environ["MATINEE_CONDA"] = str(environments.absolute()) if environments else ""
        os.environ["MATINEE_OFFLINE"] = "1" if self.configuration.offline else "0"
        os.environ["WANDB_MODE"] = self.configuration.wandb.mode
        os.environ["WANDB_PROJECT"] = self.configuration.wandb.project
        os.environ["MATINEE_TERMINAL"] = "3"
        folder = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])

    @staticmethod
    def gpu_threads(cores: int | None, gpus: int | None) -> int:
        """Threads of a job on a GPU: a share of the cores where several such jobs run at once."""
        if cores is None or gpus is None or gpus < 2:
            return GPU_JOB_THREADS
        return max(1, min(GPU_JOB_THREADS, cores // gpus))

    def gpus(self, subject: str) -> int:
        """How many GPUs testing a subject takes; an endpoint computes elsewhere."""
        local = self.configuration.evaluation.engine == "transformers"
        return 1 if local and self.subjects[subject].variant else 0

    def _subjects(self) -> Iterable[Subject]:
        for variant in self.configuration.variants:
            yield Subject(f"{variant.id}-untuned", "untuned", variant)
            for seed in variant.seeds:
                yield Subject(f"{variant.id}-tuned-s{seed}", "tuned", variant, seed)
        for reference in self.configuration.evaluation.references:
            yield Subject(f"ref-{reference.id}", "reference", reference=reference)

    def _decoded(self, greedy: Iterable[Subject]) -> Iterable[Subject]:
        """The same subjects once more for each further way of choosing tokens."""
        evaluation = self.configuration.evaluation
        for subject in greedy:
            # What an endpoint may write is out of reach.
            if evaluation.constrained and subject.reference is None:
                yield replace(subject, id=f"{subject.id}.constrained", decoding="constrained")
            if evaluation.sampling is not None:
                yield replace(subject, id=f"{subject.id}.sampled", decoding="sampled")

    @staticmethod
    def pattern(ids: Iterable[str]) -> str:
        """A wildcard constraint; with no id at all, one that matches nothing."""
        return "|".join(ids) or "(?!)"

    def fetched(self) -> str:
        """Pattern of the data sets that are fetched."""
        return self.pattern(d.id for d in self.configuration.datasets if d.synthesis is None)

    def synthesized(self) -> str:
        """Pattern of the data sets that are made."""
        return self.pattern(d.id for d in self.configuration.datasets if d.synthesis is not None)

    def model(self, identifier: str) -> str:
        """A start model's sources."""
        return canonical(slice_of(self.configuration.model(identifier)))

    def dataset_fetch(self, identifier: str) -> str:
        """A data set's sources; how it is read later does not fetch it again."""
        values = slice_of(self.configuration.dataset(identifier))
        return canonical({**values, "on_bad_row": "error"})

    def dataset_files(self, identifier: str) -> list[str]:
        """Files on this machine that a data set is read from; those that are missing are not named
        here, because fetching says it better."""
        sources = self.configuration.dataset(identifier).sources
        paths = [source.path for source in sources if isinstance(source, PathSource)]
        files = [
            file
            for path in paths
            for file in ([path] if path.is_file() else path.rglob("*"))
            if file.is_file()
        ]
        return sorted(map(_relative, files))

    def dataset(self, identifier: str) -> str:
        """A data set's settings."""
        return canonical(slice_of(self.configuration.dataset(identifier)))

    def catalogue_files(self, identifier: str) -> list[str]:
        """The files of a data set's tool catalogue."""
        folder = self.configuration.dataset(identifier).catalogue or RESOURCES / "catalogue"
        return sorted(_relative(path) for path in Path(folder).glob("*.yaml"))

    def variant(self, identifier: str) -> Variant:
        """The variant of that id."""
        return self.configuration.variant(identifier)

    def mix(self, variant: str) -> str:
        """A variant's data sets and amounts, and the share that is held out."""
        settings = self.variant(variant)
        parts = [slice_of(part) for part in settings.data]
        return canonical({"parts": parts, "validation_share": settings.validation_share})

    def mix_inputs(self, variant: str) -> list[str]:
        """The row files that a variant is mixed from."""
        return [
            f"results/dataset/{part.dataset}/conversations.jsonl"
            for part in self.variant(variant).data
        ]

    def tokenize(self, variant: str) -> str:
        """Template and longest row."""
        settings = self.variant(variant)
        return canonical({"template": settings.template, "cutoff_length": settings.cutoff_length})

    def tokenize_threads(self, variant: str) -> int:
        """Cores for tokenizing: few rows are done before a second process has started."""
        known = [self._rows_at_most(part) for part in self.variant(variant).data]
        return 1 if all(known) and sum(filter(None, known)) <= FEW_ROWS else 8

    def _rows_at_most(self, part: MixPart) -> int | None:
        """How many rows a part can give, where the configuration tells."""
        synthesis = self.configuration.dataset(part.dataset).synthesis
        limits = [part.max_samples, synthesis.conversations if synthesis else None]
        return min((limit for limit in limits if limit is not None), default=None)

    def template_files(self, variant: str) -> list[str]:
        """The Jinja files that spell a variant's prompts."""
        name = self.variant(variant).template
        files = ["_macros", name] if name != NATIVE else []
        return [_relative(TEMPLATES / f"{file}.jinja") for file in files]

    def leakage(self) -> str:
        """What a leak does."""
        return canonical({"leakage": self.configuration.leakage})

    def train(self, variant: str, seed: str) -> str:
        """Everything that decides a training run's weights."""
        settings = self.variant(variant)
        return canonical(
            {
                "variant": variant,
                "seed": int(seed),
                "shuffle_rows": settings.shuffle_rows,
                "training": slice_of(settings.training),
            }
        )

    def devices(self, variant: str) -> int:
        """GPUs of one training."""
        return self.variant(variant).training.devices

    def checkpoints(self, variant: str, seed: str) -> str:
        """A folder that Snakemake does not know and so does not delete, by training and data."""
        values = [
            self.train(variant, seed),
            self.mix(variant),
            self.tokenize(variant),
            self.model(self.variant(variant).model),
            *(self.dataset(part.dataset) for part in self.variant(variant).data),
        ]
        digest = hashlib.sha256(canonical(values).encode()).hexdigest()[:16]
        return f"results/.checkpoints/{variant}-s{seed}-{digest}"

    def merge(self, variant: str) -> str:
        """Template and export settings."""
        return canonical(
            {
                "variant": variant,
                "template": self.variant(variant).template,
                "export": slice_of(self.configuration.export, without=["formats"]),
            }
        )

    def gguf(self) -> str:
        """The number formats of the GGUF files."""
        return canonical({"types": self.configuration.export.formats.gguf})

    def converted(self) -> list[str]:
        """The folder of every merged model's GGUF files; none where none are wanted."""
        wanted = self.configuration.export.formats.gguf
        return self.trained("merged", "gguf") if wanted else []

    def publish(self, variant: str, seed: str) -> str:
        """Where a merged model is uploaded to, and with which token."""
        settings = self.configuration.publish
        assert settings is not None
        return canonical(
            {
                "repository": settings.repository(variant, int(seed)),
                "private": settings.private,
                "token_env": settings.token_env,
            }
        )

    def published(self) -> list[str]:
        """The record of every upload; none where nothing is to be published."""
        return self.trained("published", "publish.json") if self.configuration.publish else []

    def suite(self, identifier: str) -> str:
        """A suite's settings."""
        return canonical(slice_of(self.configuration.suite(identifier)))

    def suite_files(self, identifier: str) -> list[str]:
        """Scenario files, tools and fixtures of a suite; none where it comes out of a wheel."""
        settings = self.configuration.suite(identifier)
        if settings.bfcl is not None:
            folder = settings.bfcl.path
            return [str(path) for path in sorted(folder.rglob("*.json"))] if folder else []
        files = [settings.tools, settings.fixtures]
        scenarios = sorted(settings.scenarios.glob("*.yaml")) if settings.scenarios else []
        return [str(path) for path in [*scenarios, *files] if path is not None]

    def fixture_files(self, suite: str) -> list[str]:
        """The file of recorded answers that a suite is played with; none where it is simulated."""
        fixtures = self.configuration.suite(suite).fixtures
        return [str(fixtures)] if fixtures else []

    def run(self, subject: str, suite: str, part: str) -> str:
        """How one part of a suite is run on one subject."""
        tested = self.subjects[subject]
        evaluation = self.configuration.evaluation
        fixtures = self.configuration.suite(suite).fixtures
        limits = slice_of(evaluation.limits())
        decoding: dict[str, Any] = {}
        if tested.decoding == "constrained":
            decoding["constrained"] = True
        if tested.decoding == "sampled" and evaluation.sampling is not None:
            decoding["sampling"] = slice_of(evaluation.sampling)
        return canonical(
            {
                **decoding,
                "subject": subject,
                "form": tested.form,
                "template": tested.variant.template if tested.variant else None,
                "reference": slice_of(tested.reference) if tested.reference else None,
                "engine": evaluation.engine,
                "fixtures": str(fixtures) if fixtures else None,
                "part": int(part),
                "limits": limits,
            }
        )

    def subject_templates(self, subject: str) -> list[str]:
        """The Jinja files that spell a subject's prompts; none for an endpoint."""
        variant = self.subjects[subject].variant
        return self.template_files(variant.id) if variant else []

    def parse(self, subject: str) -> str:
        """How a subject's calls are spelled."""
        return canonical({"form": self.subjects[subject].form})

    def parts(self, subject: str, suite: str) -> list[str]:
        """The files that a suite is scattered over."""
        folder = f"results/evaluation/{subject}/{suite}/parts"
        return [f"{folder}/{part}.jsonl" for part in range(self.configuration.evaluation.parts)]

    def evaluated(self, name: str) -> list[str]:
        """A file of every subject on every suite."""
        return [
            f"results/evaluation/{subject}/{suite}/{name}"
            for subject in self.subject_ids
            for suite in self.suite_ids
        ]

    def trained(self, folder: str, name: str) -> list[str]:
        """A file of every variant and seed."""
        return [
            f"results/{folder}/{variant.id}/s{seed}/{name}"
            for variant in self.configuration.variants
            for seed in variant.seeds
        ]

    def compared(self) -> list[str]:
        """The summaries of earlier runs that the report looks back on."""
        return [str(path) for path in self.configuration.report.compare_with]

    def report(self) -> str:
        """The whole configuration: the report shows it."""
        return canonical(slice_of(self.configuration))
