"""What the rules ask of the configuration: ids, inputs, resources, and each stage's parameters."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from matinee import __version__
from matinee.config import (
    Configuration,
    Dataset,
    Formats,
    HubSource,
    PathSource,
    Variant,
    parameters,
    paths,
)
from matinee.config.subjects import (
    choosing_subjects,
    converted_subjects,
    decoded_subjects,
    greedy_subjects,
)
from matinee.messages.forms import FOLDER as TEMPLATES
from matinee.messages.forms import NATIVE
from matinee.runtime.leases import visible_devices
from matinee.runtime.places import RESOURCES, WORKFLOW

FEW_ROWS = 5000
ENGINE = "MATINEE_ENGINE"
EngineName = Literal["transformers", "vllm", "llama_cpp", "gold", "null"]
LOCAL = ("transformers", "vllm", "llama_cpp")
# More threads than this help a job on a GPU no further.
GPU_JOB_THREADS = 8


def canonical(value: Any) -> str:
    """One JSON text per value, so that an unchanged slice of the configuration reruns nothing."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _relative(files: Iterable[Path]) -> list[str]:
    """Paths from the working directory, so that a folder that was moved reruns nothing."""
    return sorted(map(os.path.relpath, files))


def _files(sources: Iterable[object]) -> list[str]:
    """The files below the sources that are paths on this machine."""
    return _relative(
        file
        for source in sources
        if isinstance(source, PathSource)
        for file in ([source.path] if source.path.is_file() else source.path.rglob("*"))
        if file.is_file()
    )


def _named(*files: Path | None) -> list[str]:
    """The paths of the files that the configuration names."""
    return [str(file) for file in files if file is not None]


def _seeded(variants: Iterable[Variant]) -> list[tuple[Variant, int]]:
    return [(variant, seed) for variant in variants for seed in variant.seeds]


def _told(model: type[BaseModel], source: object, **more: object) -> str:
    """A stage's parameters: `more`, and the source's values of the model's other fields."""
    same = {name: getattr(source, name) for name in model.model_fields if name not in more}
    return canonical(model(**same, **more))


def automatic_engine() -> Literal["transformers", "vllm"]:
    """What `evaluation.engine: auto` means here: vLLM where there is a GPU and its command.

    What the driver found holds for its jobs too, on whatever machine they run: another engine
    would be another parameter.
    """
    told = os.environ.get(ENGINE)
    if told in ("transformers", "vllm"):
        return "vllm" if told == "vllm" else "transformers"
    return "vllm" if shutil.which("vllm") and visible_devices() else "transformers"


class Plan:
    """The configuration as the rules see it; parameters are JSON texts of one spelling."""

    version = __version__

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.model_ids = [model.id for model in configuration.models]
        self.dataset_ids = [dataset.id for dataset in configuration.datasets]
        self.variant_ids = [variant.id for variant in configuration.variants]
        self.suite_ids = [suite.id for suite in configuration.evaluation.suites]
        tested = [
            *greedy_subjects(configuration),
            *decoded_subjects(configuration),
            *converted_subjects(configuration),
        ]
        choosing = list(choosing_subjects(configuration))
        self.subjects = {subject.id: subject for subject in (*tested, *choosing)}
        self.tests = [(subject.id, suite) for subject in tested for suite in self.suite_ids]
        self.sweep = configuration.sweep
        self.development = [suite.id for suite in configuration.developments]
        self.trials = [(subject.id, suite) for subject in choosing for suite in self.development]
        self.variant, self.suite = configuration.variant, configuration.suite
        self.rows_of = configuration.rows_of

    def tell_environment(self, environments: Path | None = None) -> None:
        """Tells the stages what is no parameter of theirs, because it must not rerun them.

        Whether the network may be used, where training is watched, that descriptor 3 is the
        terminal (the shell commands keep it open while output goes to the log), which process
        drives them, that `matinee` is this checkout's, and that `python` is the interpreter of this
        workflow, unless --use-conda activates another: one below `environments`.
        """
        folders = [str(WORKFLOW / "bin"), str(Path(sys.executable).parent)]
        os.environ |= {
            "MATINEE_DRIVER": str(os.getpid()),
            "MATINEE_CONDA": str(environments.absolute()) if environments else "",
            "MATINEE_OFFLINE": "1" if self.configuration.offline else "0",
            "MATINEE_TERMINAL": "3",
            "WANDB_MODE": self.configuration.wandb.mode,
            "WANDB_PROJECT": self.configuration.wandb.project,
            "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        }

    # Resources

    @staticmethod
    def gpu_threads(cores: int | None, gpus: int | None) -> int:
        """Threads of a job on a GPU: a share of the cores where several such jobs run at once."""
        if cores is None or gpus is None or gpus < 2:
            return GPU_JOB_THREADS
        return max(1, min(GPU_JOB_THREADS, cores // gpus))

    def gpus(self, subject: str) -> int:
        """How many GPUs testing a subject takes; an endpoint computes elsewhere."""
        return 1 if self.engine(subject) in LOCAL and self.subjects[subject].variant else 0

    def gguf_option(self, subject: str) -> str:
        """How the stage is told of the GGUF file that it tests; empty where it tests none."""
        folders = self.subject_gguf(subject)
        return f"--gguf {folders[0]}/{self.subjects[subject].gguf}.gguf" if folders else ""

    def engine(self, subject: str) -> EngineName:
        """What runs a subject: a GGUF file llama.cpp, constrained decoding transformers."""
        asked, tested = self.configuration.evaluation.engine, self.subjects[subject]
        if asked in ("gold", "null"):
            return asked
        if tested.gguf:
            return "llama_cpp"
        if tested.decoding == "constrained" or not tested.variant:
            return "transformers"
        return automatic_engine() if asked == "auto" else asked

    def asked_for(
        self, *, model: str = "", variant: str = "", subject: str = "", **others: str
    ) -> tuple[str, str]:
        """The start model of the job with these wildcards, and the kind of GPU that it asks for."""
        tested = self.subjects[subject].variant if subject else None
        owner = self.variant(variant) if variant else tested
        return (owner.model, owner.gpu_model or "") if owner else (model, "")

    def tokenize_threads(self, variant: str) -> int:
        """Cores for tokenizing: few rows are done before a second process has started."""
        most = 0.0
        for part in self.variant(variant).data:
            made = self.configuration.dataset(part.dataset).synthesis
            limits = [part.max_samples, made.conversations if made else None]
            most += min((limit for limit in limits if limit is not None), default=math.inf)
        return 1 if most <= FEW_ROWS else 8

    # Paths

    def at(self, artefact: paths.Artefact, **names: object) -> str:
        """The path of one artefact, in the folder that the configuration names."""
        return artefact.at(self.configuration.results).of(**names)

    def _of_runs(
        self, artefacts: Iterable[paths.Artefact], runs: Sequence[tuple[Variant, int]]
    ) -> list[str]:
        return [self.at(one, variant=of.id, seed=seed) for one in artefacts for of, seed in runs]

    def _of_tests(
        self, artefacts: Iterable[paths.Artefact], tests: Sequence[tuple[str, str]]
    ) -> list[str]:
        return [
            self.at(one, subject=subject, suite=suite)
            for one in artefacts
            for subject, suite in tests
        ]

    # Wildcards

    @staticmethod
    def pattern(ids: Iterable[str]) -> str:
        """A wildcard constraint; with no id at all, one that matches nothing."""
        return "|".join(ids) or "(?!)"

    def datasets(self, *, made: bool) -> str:
        """Pattern of the data sets that are made here, or of those that are fetched."""
        chosen = (d.id for d in self.configuration.datasets if (d.synthesis is not None) is made)
        return self.pattern(chosen)

    # Inputs. Files that are missing are not among them: the stage that reads them says it better.

    def dataset_files(self, dataset: str) -> list[str]:
        """Files on this machine that a data set is read from."""
        return _files(self.configuration.dataset(dataset).sources)

    def model_files(self, model: str) -> list[str]:
        """The same for a start model."""
        return _files(self.configuration.model(model).sources)

    def subject_model(self, subject: str) -> list[str]:
        """The folder of a subject's model; none for an endpoint."""
        tested = self.subjects[subject]
        if tested.variant is None:
            return []
        if tested.seed is None:
            return [self.start_model(tested.name)]
        return [self.at(paths.MERGED_MODEL, variant=tested.name, seed=tested.seed)]

    def subject_gguf(self, subject: str) -> list[str]:
        """The folder of the GGUF files that a subject is one of; none where it is no file."""
        one = self.subjects[subject]
        return [self.at(paths.GGUF, variant=one.name, seed=one.seed)] if one.gguf else []

    def model_folders(self, model: str, results: Path) -> list[Path]:
        """Where a start model's files lie, if they are on this machine."""
        sources = self.configuration.model(model).sources
        local = [source.path for source in sources if isinstance(source, PathSource)]
        return [paths.MODEL.below(results, model=model), *local]

    def model_names(self, model: str) -> list[str]:
        """What a start model is called: on hubs, and in the configuration."""
        sources = self.configuration.model(model).sources
        return [*(source.repo for source in sources if isinstance(source, HubSource)), model]

    def dataset_tools(self, dataset: str) -> list[str]:
        """The file with the tools of a data set whose rows list none."""
        return _named(self.configuration.dataset(dataset).tools)

    def catalogue_files(self, dataset: str) -> list[str]:
        """The files of a data set's tool catalogue."""
        folder = self.configuration.dataset(dataset).catalogue or RESOURCES / "catalogue"
        return _relative(folder.glob("*.yaml"))

    def mix_inputs(self, variant: str) -> list[str]:
        """The row files that a variant is mixed from."""
        return [self.at(paths.ROWS, dataset=part.dataset) for part in self.variant(variant).data]

    def start_model(self, variant: str) -> str:
        """The folder of a variant's start model."""
        return self.at(paths.MODEL, model=self.variant(variant).model)

    def tokens(self, variant: str) -> str:
        """The token rows that a variant trains on."""
        return self.at(paths.TOKENS, variant=self.rows_of(variant))

    def template_files(self, variant: str) -> list[str]:
        """The Jinja files that spell a variant's prompts."""
        name = self.variant(variant).template
        files = ["_macros", name] if name != NATIVE else []
        return _relative(TEMPLATES / f"{file}.jinja" for file in files)

    def suite_files(self, suite: str) -> list[str]:
        """Scenario files, tools and fixtures of a suite; none where it comes out of a wheel."""
        settings = self.suite(suite)
        if settings.bfcl is not None:
            folder = settings.bfcl.path
            return sorted(map(str, folder.rglob("*.json"))) if folder else []
        scenarios = sorted(settings.scenarios.glob("*.y*ml")) if settings.scenarios else []
        return _named(*scenarios, settings.tools, settings.fixtures)

    def fixture_files(self, suite: str) -> list[str]:
        """The file of recorded answers that a suite is played with; none where it is simulated."""
        return _named(self.suite(suite).fixtures)

    def subject_templates(self, subject: str) -> list[str]:
        """The Jinja files that spell a subject's prompts; none for an endpoint."""
        variant = self.subjects[subject].variant
        return self.template_files(variant.id) if variant else []

    def parts(self, subject: str, suite: str) -> list[str]:
        """The files that a suite is scattered over."""
        parts = range(self.configuration.evaluation.parts)
        return [self.at(paths.PART, subject=subject, suite=suite, part=part) for part in parts]

    def trainings(self) -> list[tuple[Variant, int]]:
        """Every training: a variant with a seed. A swept variant's are those of its candidates."""
        swept = self.sweep.variant if self.sweep else None
        kept = [one for one in self.configuration.variants if one.id != swept]
        return _seeded([*self.configuration.candidates, *kept])

    def merges(self) -> list[tuple[Variant, int]]:
        """Every merge: of what is tested, on a development suite too."""
        tuned = [one for one in self.subjects.values() if one.variant and one.seed is not None]
        return _seeded({one.name: one.variant for one in tuned if one.variant}.values())

    def trained(self, *artefacts: paths.Artefact) -> list[str]:
        """Files of every variant and seed."""
        return self._of_runs(artefacts, _seeded(self.configuration.variants))

    def tested(self, *artefacts: paths.Artefact) -> list[str]:
        """Files of every tuned model that is tested."""
        return self._of_runs(artefacts, _seeded(self.configuration.tested))

    def candidates(self, *artefacts: paths.Artefact) -> list[str]:
        """Files of every training of the sweep."""
        return self._of_runs(artefacts, _seeded(self.configuration.candidates))

    def chosen(self, *artefacts: paths.Artefact) -> list[str]:
        """Files of the swept variant, which are those of the candidate that was chosen."""
        swept = [self.variant(self.sweep.variant)] if self.sweep else []
        return self._of_runs(artefacts, _seeded(swept))

    def with_rows(self, *artefacts: paths.Artefact) -> list[str]:
        """Files of every mix; variants may share one."""
        owners = dict.fromkeys(map(self.rows_of, self.variant_ids))
        return [self.at(artefact, variant=owner) for artefact in artefacts for owner in owners]

    def evaluated(self, *artefacts: paths.Artefact) -> list[str]:
        """Files of every subject on every suite."""
        return self._of_tests(artefacts, self.tests)

    def choosing(self) -> list[str]:
        """What a candidate is chosen by."""
        return self._of_tests([paths.VERDICTS], self.trials) or self.candidates(paths.METRICS)

    def everything(self) -> list[str]:
        """All that is made on the way to the report, so that what was deleted is made again."""
        export = self.configuration.export
        made = [
            *map(self.start_model, self.variant_ids),
            *(file for variant in self.variant_ids for file in self.mix_inputs(variant)),
            *self.with_rows(paths.MIXED, paths.TOKENS, paths.PROFILE, paths.LEAKAGE),
            *(self.at(paths.SUITE, suite=suite) for suite in self.suite_ids),
            *self.trained(paths.ADAPTER, paths.METRICS, paths.TRAINER_STATE),
            *self.tested(paths.ADAPTER, paths.CERTIFICATE),
            *(self.tested(paths.MERGED_MODEL) if export.keep == "models" else ()),
            *(part for test in self.tests for part in self.parts(*test)),
            *self.evaluated(paths.TRANSCRIPTS, paths.VERDICTS),
            *(self.trained(paths.PUBLISHED) if self.configuration.publish else ()),
            *(self.trained(paths.GGUF) if export.formats.gguf else ()),
        ]
        return list(dict.fromkeys(made))

    def published_gguf(self, variant: str, seed: str) -> list[str]:
        """The folder of the GGUF files that go along with a model; none where none do."""
        settings, made = self.configuration.publish, self.configuration.export.formats.gguf
        along = settings is not None and settings.gguf and made
        return [self.at(paths.GGUF, variant=variant, seed=seed)] if along else []

    def compared(self) -> list[str]:
        """The summaries of earlier runs that the report looks back on."""
        return list(map(str, self.configuration.report.compare_with))

    # Parameters

    def fetch_model(self, model: str) -> str:
        """A start model's sources."""
        return canonical(self.configuration.model(model))

    def fetch_dataset(self, dataset: str) -> str:
        """A data set's sources; how its rows are read later does not fetch it again."""
        reading = ("on_bad_row", "on_unknown_key", "tools")
        defaults = {name: Dataset.model_fields[name].default for name in reading}
        return canonical(self.configuration.dataset(dataset).model_copy(update=defaults))

    def dataset(self, dataset: str) -> str:
        """How a data set is read or made."""
        return canonical(self.configuration.dataset(dataset))

    def mix_data(self, variant: str) -> str:
        """What a variant's rows are mixed from."""
        settings = self.variant(variant)
        return _told(parameters.MixData, settings, parts=settings.data)

    def tokenize_data(self, variant: str) -> str:
        """How a variant's rows are spelled."""
        return _told(parameters.TokenizeData, self.variant(variant))

    def check_leakage(self) -> str:
        """What a leak does."""
        return _told(parameters.CheckLeakage, self.configuration)

    def train_adapter(self, variant: str, seed: str) -> str:
        """What decides a training's weights, but its rows."""
        settings = self.variant(variant)
        return _told(parameters.TrainAdapter, settings, variant=variant, seed=int(seed))

    def checkpoints(self, variant: str, seed: str) -> str:
        """A folder that Snakemake does not know and so does not delete, by training and data."""
        values = [
            self.train_adapter(variant, seed),
            self.mix_data(variant),
            self.tokenize_data(variant),
            self.fetch_model(self.variant(variant).model),
            *(self.dataset(part.dataset) for part in self.variant(variant).data),
        ]
        digest = hashlib.sha256(canonical(values).encode()).hexdigest()[:16]
        return self.at(paths.CHECKPOINTS, variant=variant, seed=seed, digest=digest)

    def choose_variant(self) -> str:
        """What one candidate of the sweep is chosen from and by."""
        assert self.sweep is not None
        ids = [one.id for one in self.configuration.candidates]
        return canonical(
            parameters.ChooseVariant(
                variant=self.sweep.variant,
                candidates=dict(zip(ids, self.sweep.settings(), strict=True)),
                seeds=self.variant(self.sweep.variant).seeds,
                suite=next(iter(self.development), None),
            )
        )

    def merge_model(self, variant: str) -> str:
        """How a variant's models are exported."""
        # What is made of the merged model afterwards does not merge it again.
        kept = {"formats": Formats(), "keep": "models"}
        export = self.configuration.export.model_copy(update=kept)
        return _told(parameters.MergeModel, self.variant(variant), variant=variant, export=export)

    def export_gguf(self) -> str:
        """The number formats of the GGUF files."""
        return canonical(parameters.ExportGguf(types=self.configuration.export.formats.gguf))

    def publish_model(self, variant: str, seed: str) -> str:
        """Where a merged model is uploaded to."""
        settings = self.configuration.publish
        assert settings is not None
        repository = settings.repository(variant, int(seed))
        token = settings.token_variable
        return _told(parameters.PublishModel, settings, repository=repository, token_env=token)

    def prepare_suite(self, suite: str) -> str:
        """What a suite holds."""
        return canonical(self.suite(suite))

    def run_scenarios(self, subject: str, suite: str, part: str) -> str:
        """How one part of a suite is run on one subject."""
        tested, evaluation = self.subjects[subject], self.configuration.evaluation
        engine = self.engine(subject)
        return _told(
            parameters.RunScenarios,
            tested,
            subject=subject,
            template=tested.variant.template if tested.variant else None,
            engine=engine,
            server=getattr(evaluation.servers, engine, None),
            fixtures=self.suite(suite).fixtures,
            part=int(part),
            limits=evaluation.limits(),
            constrained=tested.decoding == "constrained",
            sampling=evaluation.sampling if tested.decoding == "sampled" else None,
        )

    def score_scenarios(self, subject: str) -> str:
        """How a subject's outputs are read."""
        return _told(parameters.ScoreScenarios, self.subjects[subject])

    def render_report(self) -> str:
        """The whole configuration: the report shows it."""
        return canonical(self.configuration)
