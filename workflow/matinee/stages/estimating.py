"""What an experiment takes before it runs: downloads, disk, memory, steps, tokens, time, money.

What a stage left under the results, made with these very settings, is measured. What follows from
files that are here is computed. All else is assumed, by the constants below.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from matinee.config import (
    Dataset,
    PackageSource,
    PathSource,
    Variant,
    paths,
)
from matinee.config.plan import Plan
from matinee.config.subjects import Subject
from matinee.data.tokens import read_tokens
from matinee.messages.conversations import parse_row
from matinee.models.anatomy import Anatomy, folder_anatomy, named_anatomy
from matinee.models.machines import Machine, named_gpu, this_machine
from matinee.models.packing import MaskedIds, shared_groups
from matinee.runtime import records
from matinee.runtime.errors import ConfigurationError, UserError
from matinee.runtime.places import RESOURCES
from matinee.runtime.progress import duration
from matinee.stages.training import CERTIFIED_PROMPTS
from matinee.training.batching import CPU_TOKENS, Job, epoch_batches, rows_per_pass

# Tokens a row of a set that is not here: measured on 16 rows of glaive_toolcall_en_demo; assumed of
# sets without tools.
TOOL_TOKENS, PLAIN_TOKENS = 673.0, 200.0
# Measured on 688 made rows in Chinese with Qwen2.5's tokenizer: bytes of our row format a token; of
# eight rows over one list, the share of tokens that is left to compute; the supervised share.
BYTES_PER_TOKEN, SHARED_SHARE, SUPERVISED_SHARE = 5.8, 0.25, 0.06
SAMPLE = 64
# Of the prompts that a merge is proved with: 223 to 345 in the demo.
PROOF_TOKENS = 300
# Published sets that hold fewer rows than are usually asked for (config.yaml).
PUBLISHED_ROWS = {"oaast_sft_zh": 689}
# Of a test case: outputs and tokens written in each (the demo's four subjects: 1.0 to 2.5 and 20 to
# 69), tokens read beyond the tool list, seconds a token at least on a GPU.
OUTPUTS, WRITTEN, READ, TOKEN_SECONDS = 1.8, 35, 70, 0.04
# Seconds until a stage has loaded its libraries, and the GB that they take.
START, CPU_BASE, GPU_BASE = 6.0, 0.6, 1.5
# GB on a GPU for one GB of 16-bit weights.
QUANTIZED = {"none": 1.0, "8bit": 0.55, "4bit": 0.3}
# Seconds of arithmetic from which on a training tells the speed of its machine.
LEAST_SECONDS = 10


@dataclass(frozen=True)
class Outlay:
    """What one job takes, in GB, tokens and seconds; 0: nothing, or not known.

    `runs`: the job's `run.json`, each with the parameters that it is asked with now.
    """

    job: str
    runs: Sequence[tuple[Path, str]] = ()
    download: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    steps: int = 0
    tokens: float = 0.0
    seconds: float = 0.0
    measured: bool = False


class Estimator:
    """The outlays of a plan on a machine, with what is under `results`."""

    def __init__(self, plan: Plan, machine: Machine, results: Path | None = None) -> None:
        self.plan, self.machine = plan, machine
        self.results = results or Path(plan.configuration.results)
        self.anatomy = cache(self._anatomy)
        self._base = GPU_BASE if machine.gpu else CPU_BASE
        trainings = (
            [self._train(*training) for training in plan.trainings()] if machine.here else []
        )
        # Other work on the machine only ever makes a training slower.
        factor = max(map(self._speed_up, trainings), default=0.0)
        self.calibrated = factor > 0
        if self.calibrated:
            speeds = {form: speed * factor for form, speed in machine.speeds.items()}
            self.machine = replace(machine, speeds=speeds)

    def outlays(self) -> Iterator[Outlay]:
        """Every job that takes more than moments, in the order of the workflow."""
        models = dict.fromkeys(variant.model for variant, _ in self.plan.trainings())
        yield from map(self._fetch, models)
        yield from (measured or guess for guess, measured in self._jobs())

    def held(self) -> Iterator[tuple[Outlay, Outlay]]:
        """The estimate of each job that has run, and what it took."""
        yield from ((guess, measured) for guess, measured in self._jobs() if measured)

    def _jobs(self) -> Iterator[tuple[Outlay, Outlay | None]]:
        local = [subject for subject in self.plan.subjects.values() if subject.variant]
        for one in (
            *(self._train(*training) for training in self.plan.trainings()),
            *(self._merge(*merged) for merged in self.plan.merges()),
            *map(self._test, local),
        ):
            found = [_record(*run) for run in one.runs]
            yield one, _measured(one, found) if all(found) else None

    def _speed_up(self, training: Outlay) -> float:
        """How much faster than expected a training ran here; 0 where none did, or where arithmetic
        was not most of its time."""
        record = _record(*training.runs[0])
        told = record["facts"].get("metrics") if record else None
        if not told or told["device"] != ("cuda" if self.machine.gpu else "cpu"):
            return 0.0
        expected = training.seconds - START
        expected *= (1 - told["resumed_from_step"] / told["steps"]) / told["processes"]
        return expected / told["runtime_seconds"] if expected >= LEAST_SECONDS else 0.0

    def _folder(self, model: str) -> Path | None:
        """Where the model's files are on this machine, if they are."""
        folders = self.plan.model_folders(model, self.results)
        return next((folder for folder in folders if (folder / "config.json").is_file()), None)

    def _anatomy(self, model: str) -> Anatomy | None:
        if (folder := self._folder(model)) is not None:
            return folder_anatomy(folder)
        return next(filter(None, map(named_anatomy, self.plan.model_names(model))), None)

    def _rows(self, variant: Variant) -> tuple[float, float, Sequence[MaskedIds]] | None:
        """Rows to train on: how many, their mean tokens, and themselves where they are here. None
        where nothing tells how many rows a data set has."""
        tokens = paths.TOKENS.below(self.results, variant=self.plan.rows_of(variant.id))
        asked = {"mix.run.json": self.plan.mix_data, "run.json": self.plan.tokenize_data}
        made = all(_record(tokens.with_name(run), asked[run](variant.id)) for run in asked)
        if tokens.is_file() and made and (known := read_tokens(tokens)):
            return len(known), sum(len(ids) for ids, _ in known) / len(known), known
        total, weighted = 0, 0.0
        for part in variant.data:
            dataset = self.plan.configuration.dataset(part.dataset)
            count, lines = self._lines(dataset)
            if (count := count or part.max_samples) is None:
                return None
            mean = PLAIN_TOKENS if dataset.reader in ("alpaca", "oasst") else TOOL_TOKENS
            mean = self._mean(variant, lines) if lines else mean
            taken = int(min(count, part.max_samples or count) * part.weight)
            total, weighted = total + taken, weighted + taken * min(mean, variant.cutoff_length)
        return total - round(total * variant.validation_share), weighted / total, ()

    def _lines(self, dataset: Dataset) -> tuple[int | None, list[str]]:
        """How many rows a data set has, if that is known, and all or some of them in our format."""
        file = paths.ROWS.below(self.results, dataset=dataset.id)
        if _record(file.with_name("run.json"), self.plan.dataset(dataset.id)):
            lines = list(records.read_texts(file))
            return len(lines), lines
        if (made := dataset.synthesis) is not None:
            from matinee.data.synthesis import generate

            few = made.model_copy(update={"conversations": min(SAMPLE, made.conversations)})
            rows = list(generate(few, dataset.catalogue or RESOURCES / "catalogue"))
        elif isinstance(source := dataset.sources[0], PathSource) and dataset.reader is not None:
            from matinee.data.readers import data_files, read_dataset

            files = [source.path] if source.path.is_file() else data_files(source.path)
            bad = dataset.on_bad_row
            rows = list(read_dataset(dataset.reader, files, source=dataset.id, on_bad_row=bad))
        else:
            return PUBLISHED_ROWS.get(dataset.id), []
        lines = [json.dumps(row.to_row(), ensure_ascii=False) for row in rows]
        return made.conversations if made else len(rows), lines

    def _mean(self, variant: Variant, lines: Sequence[str]) -> float:
        """Tokens a row of a sample, by the model's tokenizer where it is here."""
        sample = lines[:: -(-len(lines) // SAMPLE)]
        folder = self._folder(variant.model)
        if folder is None or not (folder / "tokenizer.json").is_file():
            return sum(len(line.encode()) for line in sample) / len(sample) / BYTES_PER_TOKEN
        from matinee.data.tokenizing import Prompts, renderer

        spelling = renderer(Prompts(folder, variant.template, variant.cutoff_length))
        parsed = [parse_row(line, "sample") for line in sample]
        cut = spelling.rows_within(parsed, variant.cutoff_length)
        return sum(len(row.ids) for rows in cut for row in rows) / len(sample)

    def _fetch(self, model: str) -> Outlay:
        job, anatomy = f"model {model}", self.anatomy(model)
        if anatomy is None or self._folder(model):
            return Outlay(job, disk=anatomy.stored if anatomy else 0)
        wheel = isinstance(self.plan.configuration.model(model).sources[0], PackageSource)
        # Wheels carry about eight bits a parameter, hubs sixteen.
        return Outlay(job, download=anatomy.stored * (0.5 if wheel else 1), disk=anatomy.stored)

    def _train(self, variant: Variant, seed: int) -> Outlay:
        training, anatomy = variant.training, self.anatomy(variant.model)
        run = paths.TRAINING.below(self.results, variant=variant.id, seed=seed) / "run.json"
        asked = self.plan.train_adapter(variant.id, str(seed))
        one = Outlay(f"train {variant.id} s{seed}", [(run, asked)])
        if (found := self._rows(variant)) is None:
            return one
        count, mean, known = found
        each = training.batch_size * training.gradient_accumulation
        passed = rows_per_pass(int(count), each)
        steps = training.max_steps or math.ceil(training.epochs * -(-passed // each))
        tokens, supervised = steps * min(each, passed) * mean, SUPERVISED_SHARE
        share = SHARED_SHARE if training.packing == "shared_prefix" else 1.0
        largest = training.batch_size * min(2 * mean, variant.cutoff_length) * share
        if known:
            here = self.results
            job = Job(here, known, training, seed, variant.shuffle_rows, here, here, variant.id)
            largest, share, passing = _packed(job)
            tokens = steps / -(-passed // each) * passing
            supervised = sum(sum(mask) for _, mask in known) / (mean * count)
        one = replace(one, steps=steps, tokens=tokens)
        if anatomy is None:
            return one
        # Two operations a weight forward, two back as far as adapters lie, two more where
        # activations are computed again; attention over half a row.
        passes = 2 + 2 * training.lora.layers + 2 * training.gradient_checkpointing
        body = share * passes * (anatomy.body + anatomy.layers * anatomy.width * mean)
        operations = tokens * (body + supervised * 4 * anatomy.head) / training.devices
        adapter = training.lora.r * anatomy.linear * training.lora.layers
        return replace(
            one,
            disk=4 * 4 * adapter / 1e9,  # with moments, in checkpoints
            memory=self._training_memory(variant, anatomy, adapter, largest),
            seconds=START + self.machine.seconds(operations, training.precision),
        )

    def _training_memory(
        self, variant: Variant, anatomy: Anatomy, adapter: float, largest: float
    ) -> float:
        """GB: weights; 16 bytes a trainable parameter; some 12 widths and 6 inner widths a token
        and layer, of which checkpointing keeps one width. On a CPU fewer tokens (`pace.py`)."""
        training, gpu = variant.training, self.machine.gpu
        if not gpu and training.packing == "plain":
            lanes = records.hardware()["cores"]
            largest = min(largest, lanes * max(CPU_TOKENS / 2, variant.cutoff_length))
        layer = 12 * anatomy.width + 6 * anatomy.inner
        kept = anatomy.layers * training.lora.layers * layer
        if training.gradient_checkpointing:
            kept = anatomy.layers * anatomy.width + layer
        rounded = training.precision == "bf16" and "bf16" in self.machine.speeds
        weights = QUANTIZED[training.quantization] if gpu else 3 if rounded else 2
        moving = 16 * adapter + largest * kept * (2 if gpu else 4)
        return self._base + anatomy.stored * weights + moving / 1e9

    def _merge(self, variant: Variant, seed: int) -> Outlay:
        run = paths.MERGED.below(self.results, variant=variant.id, seed=seed) / "run.json"
        one = Outlay(f"merge {variant.id} s{seed}", [(run, self.plan.merge_model(variant.id))])
        if (anatomy := self.anatomy(variant.model)) is None:
            return one
        # The prompts go through four models in fp32, two of them held at once.
        work = CERTIFIED_PROMPTS * 4 * PROOF_TOKENS * 2 * anatomy.products
        seconds = START + 6 * anatomy.stored + self.machine.seconds(work, "fp32")
        memory = self._base + 4 * anatomy.stored
        return replace(one, disk=anatomy.stored, memory=memory, seconds=seconds)

    def _test(self, subject: Subject) -> Outlay:
        evaluation = self.plan.configuration.evaluation
        runs_on = (*self.plan.tests, *self.plan.trials)
        suites = [suite for tested, suite in runs_on if tested == subject.id]
        runs = [
            (
                paths.PART.below(
                    self.results, subject=subject.id, suite=suite, part=part
                ).with_suffix(".run.json"),
                self.plan.run_scenarios(subject.id, suite, str(part)),
            )
            for suite in suites
            for part in range(evaluation.parts)
        ]
        engine = self.plan.engine(subject.id)
        named = f" in {engine}" if engine in ("vllm", "llama_cpp") else ""
        one, anatomy = Outlay(f"test {subject.id}{named}", runs), self.anatomy(subject.model)
        cases = [count for suite in suites if (count := self._cases(suite)) is not None]
        if anatomy is None or engine != "transformers" or len(cases) < len(suites):
            return one
        outputs = sum(cases) * min(OUTPUTS, evaluation.max_steps)
        if subject.decoding == "sampled" and evaluation.sampling:
            outputs *= evaluation.sampling.repeats
        written = min(WRITTEN, evaluation.max_new_tokens)
        work = outputs * (READ + written) * 2 * anatomy.products
        seconds = self.machine.seconds(work, evaluation.precision)
        if self.machine.gpu:
            seconds = max(seconds, outputs / evaluation.batch_size * written * TOKEN_SECONDS)
        # Keys and values of a quarter of the heads: the list once, 500 tokens a conversation.
        kept = (1000 + 500 * evaluation.batch_size) * anatomy.layers * anatomy.width / 2 / 1e9
        memory = self._base + (anatomy.stored + 2 * kept) * (1 if self.machine.gpu else 2)
        return replace(one, memory=memory, seconds=seconds + START * len(runs))

    def _cases(self, suite: str) -> int | None:
        """Cases of a suite, as its files hold them; None where they must be fetched first."""
        settings = self.plan.suite(suite)
        if settings.scenarios is None or settings.tools is None:
            return settings.limit if isinstance(settings.limit, int) else None
        from matinee.evaluation.suites import load_suite, select

        whole = load_suite(settings.scenarios, settings.tools, settings.fixtures)
        chosen = select(whole, limit=settings.limit, categories=settings.categories)
        return len(chosen.scenarios)

    def refusals(self, outlays: Sequence[Outlay]) -> Iterator[str]:
        """Settings and sizes that this machine cannot do."""
        settings = self.plan.configuration
        asked: list[tuple[str, str]] = [("evaluation: precision", settings.evaluation.precision)]
        for variant in settings.variants:
            asked.append((f"variant {variant.id}: precision", variant.training.precision))
            asked.append((f"variant {variant.id}: quantization", variant.training.quantization))
        for key, value in asked if not self.machine.gpu else ():
            if value in ("fp16", "8bit", "4bit"):
                yield f"{key} {value} needs a GPU"
        for one in outlays:
            # A merge that a GPU has no memory for is done beside it.
            beside = one.measured or (self.machine.gpu and "merge" in one.job)
            if one.memory > self.machine.memory and not beside:
                has = f"there are {self.machine.memory:,.0f} GB"
                yield f"{one.job}: takes {one.memory:,.0f} GB, {has}"
        disk = sum(one.disk for one in outlays)
        if disk > self.machine.disk:
            yield f"disk: takes {disk:,.0f} GB, {self.machine.disk:,.0f} GB are free"


def _record(run: Path, asked: str) -> dict[str, Any]:
    """The `run.json` of a stage that ran with what the plan asks now; empty where none did."""
    record: dict[str, Any] = records.read_json(run) if run.is_file() else {}
    return record if record.get("parameters") == json.loads(asked) else {}


def _measured(one: Outlay, runs: Sequence[dict[str, Any]]) -> Outlay:
    """The outlay with the memory and time that its stages took."""
    facts = [{**run, **run["facts"].get("metrics", {})} for run in runs]
    memory = max(f.get("peak_device_memory_mb", f["peak_memory_mb"]) for f in facts) / 1000
    # A training that was taken up again took its time for the rest of its steps.
    done = [1 - f.get("resumed_from_step", 0) / f.get("steps", 1) for f in facts]
    seconds = sum(run["wall_seconds"] / share for run, share in zip(runs, done, strict=True))
    return replace(one, memory=memory, seconds=seconds, measured=True)


def _packed(job: Job) -> tuple[int, float, int]:
    """Of one pass: tokens of the largest micro-batch, the share of all tokens that is computed, and
    all tokens."""
    sizes, whole = [], 0
    for batch in epoch_batches(job, job.settings):
        rows = [job.rows[row] for row in batch]
        tokens = sum(len(ids) for ids, _ in rows)
        groups = shared_groups(rows) if job.settings.packing == "shared_prefix" else []
        sizes.append(tokens - sum(prefix * (len(members) - 1) for prefix, members in groups))
        whole += tokens
    return max(sizes), sum(sizes) / whole, whole


def estimate(plan: Plan, machine: Machine, results: Path | None = None) -> Iterator[str]:
    """The lines that `matinee estimate` prints: what cannot be done before all else."""
    estimator = Estimator(plan, machine, results)
    outlays = list(estimator.outlays())
    yield from (f"! {line}" for line in estimator.refusals(outlays))
    if estimator.calibrated:
        yield "speed: as the training reached it that has run here"
    elif machine.here and machine.load > 0.5:
        yield f"! busy: {machine.load:.1f} processes a core; the times are those of an idle machine"
    columns = {
        **dict.fromkeys(("download", "disk", "memory"), "{:,.2f} GB".format),
        **dict.fromkeys(("steps", "tokens"), "{:,.0f}".format),
        "seconds": duration,
    }
    width = max(len(one.job) for one in outlays)
    yield f"{f'  on {machine.name}':{width + 2}}" + "".join(
        f"{name.replace('seconds', 'time'):>14}" for name in columns
    )
    for one in outlays:
        known = [(getattr(one, name), write) for name, write in columns.items()]
        cells = "".join(f"{write(value) if value else '':>14}" for value, write in known)
        yield f"{'✓' if one.measured else '~'} {one.job:{width}}{cells}".rstrip()
    download, disk, seconds = (
        sum(getattr(one, name) for one in outlays) for name in ("download", "disk", "seconds")
    )
    left = sum(one.seconds for one in outlays if not one.measured)
    yield (
        f"in all: download {download:,.2f} GB and data sets, disk {disk:,.2f} GB, "
        f"{duration(seconds)} one job after another, {duration(left)} of it to come"
    )
    if price := plan.configuration.report.price_per_hour:
        cost, currency = seconds / 3600 * price, plan.configuration.report.currency
        yield f"money: {cost:,.2f} {currency} at {price:g} an hour"
    if unknown := [one.job for one in outlays if not (one.seconds or one.disk)]:
        yield f"not known before it is here, and not counted: {', '.join(unknown)}"
    yield "✓ measured   ~ estimated (docs/estimate.md)"


def usual_machine(plan: Plan) -> Machine:
    """The kind of GPU that a variant asks for, where its speed is known; else this machine."""
    for variant in plan.configuration.variants:
        if variant.gpu_model:
            with contextlib.suppress(ConfigurationError):
                return named_gpu(variant.gpu_model)
    return this_machine()


def tell_estimate(plan: Plan) -> None:
    """Prints the estimate on standard error, beneath what a dry run says."""
    try:
        lines = list(estimate(plan, usual_machine(plan)))
    except UserError as error:
        lines = [f"no estimate: {error}"]
    print("", *lines, sep="\n", file=sys.stderr)
