"""What an experiment takes before it runs: downloads, disk, memory, steps, tokens, time, money.

What a stage left under the results, made with these very settings, is measured. What follows from
files that are here is computed. All else is assumed, by the constants below.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from matinee.config import (
    Dataset,
    HubSource,
    MixPart,
    PackageSource,
    PathSource,
    RandomSource,
    Training,
    Variant,
    paths,
)
from matinee.config.plan import Plan
from matinee.config.subjects import Subject
from matinee.data.tokens import read_tokens
from matinee.messages.conversations import Conversation, parse_row
from matinee.models.anatomy import Anatomy, folder_anatomy, named_anatomy
from matinee.models.machines import Machine
from matinee.models.packing import MaskedIds, shared_groups
from matinee.runtime import records
from matinee.runtime.places import RESOURCES
from matinee.training import Job
from matinee.training.batching import CPU_TOKENS, EpochBatches
from matinee.training.run import planned
from matinee.training.trainer import epoch_batches

# Tokens a row of a set that is not here: measured on 16 rows of glaive_toolcall_en_demo; assumed of
# sets without tools.
TOOL_TOKENS, PLAIN_TOKENS = 673.0, 200.0
# Measured on 688 made rows in Chinese with Qwen2.5's tokenizer: bytes of our row format a token; of
# eight rows over one list, the share of tokens that is left to compute; the supervised share.
BYTES_PER_TOKEN, SHARED_SHARE, SUPERVISED_SHARE = 5.8, 0.25, 0.06
SAMPLE = 64
# Published sets that hold fewer rows than are usually asked for (config.yaml).
PUBLISHED_ROWS = {"oaast_sft_zh": 689}
# Of a test case: outputs, tokens read and written in each, seconds a token at least on a GPU.
OUTPUTS, READ, WRITTEN, TOKEN_SECONDS = 2, 100, 40, 0.04
# Seconds until a stage has loaded its libraries, and the GB that they take.
START, CPU_BASE, GPU_BASE = 6.0, 0.6, 1.5
# GB on a GPU for one GB of 16-bit weights.
QUANTIZED = {"none": 1.0, "8bit": 0.55, "4bit": 0.3}

# Seconds of arithmetic from which on a training tells the speed of its machine.
LEAST_SECONDS = 10

How = Literal["measured", "computed", "assumed"]
MARKS: dict[How, str] = {"measured": "✓", "computed": "=", "assumed": "~"}


@dataclass(frozen=True)
class Quantity:
    """A number and how it is known."""

    value: float
    how: How = "assumed"


@dataclass(frozen=True)
class Outlay:
    """What one job takes, in GB, tokens and seconds. None: nothing, or not known."""

    job: str
    download: Quantity | None = None
    disk: Quantity | None = None
    memory: Quantity | None = None
    steps: Quantity | None = None
    tokens: Quantity | None = None
    seconds: Quantity | None = None


@dataclass(frozen=True)
class TrainingRows:
    """Rows to train on: how many, their mean tokens, and themselves where they are here."""

    count: Quantity
    mean: float
    known: Sequence[MaskedIds] = ()


def optimizer_steps(training: Training, rows: int) -> int:
    """Steps of a training by its own batching: 10,000 rows, 16 a step, 3 passes make 1,875."""
    groups = [[row] for row in range(rows)]
    batches = EpochBatches(groups, training.batch_size, training.gradient_accumulation, None)
    each = -(-len(batches) // training.gradient_accumulation)
    return training.max_steps or math.ceil(training.epochs * each)


class Estimator:
    """The outlays of a plan on a machine, with what is under `results`."""

    def __init__(self, plan: Plan, machine: Machine, results: Path = Path("results")) -> None:
        self.plan, self.machine, self.results = plan, machine, results
        self._anatomy, self._rows = cache(self._find_anatomy), cache(self._find_rows)
        self._base = GPU_BASE if machine.gpu else CPU_BASE
        self._made = tempfile.TemporaryDirectory()
        self.calibrated = machine.here and self._calibrate()

    def outlays(self) -> Iterator[Outlay]:
        """Every job that takes more than moments, in the order of the workflow."""
        variants = self.plan.configuration.variants
        runs = [(variant, seed) for variant in variants for seed in variant.seeds]
        yield from map(self._fetch, dict.fromkeys(variant.model for variant in variants))
        for job in (self._train, self._merge):
            yield from (job(variant, seed) for variant, seed in runs)
        yield from (self._test(tested) for tested in self.plan.subjects.values() if tested.variant)

    def _measured(self, run: Path, asked: str) -> dict[str, Quantity]:
        """Memory and time of a stage that ran with what the plan asks now; empty where none did."""
        if not (record := _record(run, asked)):
            return {}
        metrics = record["facts"].get("metrics", {})
        memory = metrics.get("peak_device_memory_mb", record["peak_memory_mb"]) / 1000
        return {
            "memory": Quantity(memory, "measured"),
            "seconds": Quantity(record["wall_seconds"], "measured"),
        }

    def _calibrate(self) -> bool:
        """Takes the speed from a training that ran here, where arithmetic was most of its time."""
        for variant in self.plan.configuration.variants:
            for seed in variant.seeds:
                run = paths.TRAINING.below(self.results, variant=variant.id, seed=seed) / "run.json"
                record = _record(run, self.plan.train_adapter(variant.id, str(seed)))
                anatomy = self._anatomy(variant.model)
                told = record.get("facts", {}).get("metrics")
                device = "cuda" if self.machine.gpu else "cpu"
                if anatomy is None or not told or told["device"] != device:
                    continue
                tokens, supervised = told["tokens"], told["supervised_tokens"] / told["tokens"]
                mean, share = tokens / told["samples"], told["computed_share"]
                work = tokens * work_per_token(variant.training, anatomy, mean, share, supervised)
                work *= 1 - told["resumed_from_step"] / told["steps"]
                expected = self.machine.seconds(work / told["processes"], told["precision"])
                if expected < LEAST_SECONDS:
                    continue
                factor = expected / told["runtime_seconds"]
                speeds = {form: speed * factor for form, speed in self.machine.speeds.items()}
                self.machine = replace(self.machine, speeds=speeds)
                return True
        return False

    # Models and rows

    def _folder(self, model: str) -> Path | None:
        """Where the model's files are on this machine, if they are; a random one is made."""
        sources = self.plan.configuration.model(model).sources
        local = [source.path for source in sources if isinstance(source, PathSource)]
        for folder in (paths.MODEL.below(self.results, model=model), *local):
            if (folder / "config.json").is_file():
                return folder
        if not isinstance(source := sources[0], RandomSource):
            return None
        from matinee.data.sources.tiny import make

        folder = Path(self._made.name) / model
        if not folder.exists():
            make(source, folder)
        return folder

    def _find_anatomy(self, model: str) -> Anatomy | None:
        if (folder := self._folder(model)) is not None:
            return folder_anatomy(folder)
        sources = self.plan.configuration.model(model).sources
        names = [source.repo for source in sources if isinstance(source, HubSource)]
        return next(filter(None, map(named_anatomy, [*names, model])), None)

    def _fetch(self, model: str) -> Outlay:
        anatomy, source = self._anatomy(model), self.plan.configuration.model(model).sources[0]
        if anatomy is None:
            return Outlay(f"model {model}")
        disk = Quantity(anatomy.stored, "assumed" if anatomy.guessed else "computed")
        if self._folder(model) is not None:
            return Outlay(f"model {model}", disk=disk)
        # Wheels carry about eight bits a parameter, hubs sixteen.
        share = 0.5 if isinstance(source, PackageSource) else 1
        return Outlay(f"model {model}", Quantity(anatomy.stored * share), disk)

    def _find_rows(self, name: str) -> TrainingRows | None:
        variant, tokens = self.plan.variant(name), paths.TOKENS.below(self.results, variant=name)
        stages = {"mix.run.json": self.plan.mix_data, "run.json": self.plan.tokenize_data}
        made = [self._measured(tokens.with_name(run), asked(name)) for run, asked in stages.items()]
        if tokens.is_file() and all(made) and (known := read_tokens(tokens)):
            mean = sum(len(ids) for ids, _ in known) / len(known)
            return TrainingRows(Quantity(len(known), "computed"), mean, known)
        found = [rows for part in variant.data if (rows := self._part(variant, part)) is not None]
        total = sum(rows.count.value for rows in found)
        if len(found) < len(variant.data) or not total:
            return None
        sure = not variant.validation_share and all(r.count.how == "computed" for r in found)
        mean = sum(rows.count.value * rows.mean for rows in found) / total
        left = total - round(total * variant.validation_share)
        return TrainingRows(Quantity(left, "computed" if sure else "assumed"), mean)

    def _part(self, variant: Variant, part: MixPart) -> TrainingRows | None:
        """What a data set gives to a variant. None where nothing tells how many rows it has."""
        dataset = self.plan.configuration.dataset(part.dataset)
        file = paths.ROWS.below(self.results, dataset=dataset.id)
        published = PUBLISHED_ROWS.get(dataset.id)
        count, sure = published or part.max_samples, published is not None
        mean = PLAIN_TOKENS if dataset.reader in ("alpaca", "oasst") else TOOL_TOKENS
        if self._measured(file.with_name("run.json"), self.plan.dataset(dataset.id)):
            lines = list(records.read_texts(file))
            count, sure, mean = len(lines), True, self._mean(variant, lines)
        elif rows := list(_own_rows(dataset)):
            lines = [json.dumps(row.to_row(), ensure_ascii=False) for row in rows]
            made = dataset.synthesis.conversations if dataset.synthesis else len(lines)
            count, sure, mean = made, True, self._mean(variant, lines)
        if count is None:
            return None
        taken = int(min(count, part.max_samples or count) * part.weight)
        how: How = "computed" if sure and part.deduplicate == "none" else "assumed"
        return TrainingRows(Quantity(taken, how), min(mean, variant.cutoff_length))

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

    # Jobs

    def _train(self, variant: Variant, seed: int) -> Outlay:
        job, training = f"train {variant.id} s{seed}", variant.training
        anatomy, rows = self._anatomy(variant.model), self._rows(variant.id)
        folder = paths.TRAINING.below(self.results, variant=variant.id, seed=seed)
        asked = self.plan.train_adapter(variant.id, str(seed))
        measured = self._measured(folder / "run.json", asked)
        if rows is None:
            return Outlay(job, **measured)
        steps = optimizer_steps(training, int(rows.count.value))
        each = min(training.batch_size * training.gradient_accumulation, rows.count.value)
        tokens, supervised = Quantity(steps * each * rows.mean), SUPERVISED_SHARE
        share = SHARED_SHARE if training.packing == "shared_prefix" else 1.0
        largest = training.batch_size * min(2 * rows.mean, variant.cutoff_length) * share
        if rows.known:
            given = Job(
                model=folder,
                rows=rows.known,
                settings=training,
                seed=seed,
                shuffle=variant.shuffle_rows,
                checkpoints=folder,
                output=folder,
                label=job,
            )
            counts = planned(given, training, steps)
            tokens = Quantity(counts["tokens"], "computed")
            supervised = counts["supervised_tokens"] / counts["tokens"]
            largest, share = _packed(given)
        found = {"steps": Quantity(steps, rows.count.how), "tokens": tokens, **measured}
        if anatomy is None or measured:
            return Outlay(job, **found)
        adapter = training.lora.r * anatomy.linear * training.lora.layers
        work = tokens.value * work_per_token(training, anatomy, rows.mean, share, supervised)
        seconds = START + self.machine.seconds(work, training.precision) / training.devices
        return Outlay(
            job,
            disk=Quantity(4 * 4 * adapter / 1e9),  # with moments, in checkpoints
            memory=Quantity(self._training_memory(variant, anatomy, adapter, largest)),
            seconds=Quantity(seconds),
            **found,
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
        job, anatomy = f"merge {variant.id} s{seed}", self._anatomy(variant.model)
        run = paths.MERGED.below(self.results, variant=variant.id, seed=seed) / "run.json"
        measured = self._measured(run, self.plan.merge_model(variant.id))
        if anatomy is None or measured:
            return Outlay(job, **measured)
        # Four prompts through four models in fp32, two of them held at once.
        work = 4 * 4 * TOOL_TOKENS * 2 * anatomy.products
        seconds = START + 6 * anatomy.stored + self.machine.seconds(work, "fp32")
        memory, disk = Quantity(self._base + 4 * anatomy.stored), Quantity(anatomy.stored)
        return Outlay(job, disk=disk, memory=memory, seconds=Quantity(seconds))

    def _test(self, subject: Subject) -> Outlay:
        job, anatomy = f"test {subject.id}", self._anatomy(subject.model)
        evaluation, suites = self.plan.configuration.evaluation, self.plan.suite_ids
        runs = []
        for suite in suites:
            for part, path in enumerate(self.plan.parts(subject.id, suite)):
                run = paths.Artefact(path).below(self.results).with_suffix(".run.json")
                asked = self.plan.run_scenarios(subject.id, suite, str(part))
                runs.append(self._measured(run, asked))
        if all(runs):
            memory = max(run["memory"].value for run in runs)
            seconds = sum(run["seconds"].value for run in runs)
            how: How = "measured"
            return Outlay(job, memory=Quantity(memory, how), seconds=Quantity(seconds, how))
        cases = [count for suite in suites if (count := self._cases(suite)) is not None]
        if anatomy is None or evaluation.engine != "transformers" or len(cases) < len(suites):
            return Outlay(job)
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
        return Outlay(job, memory=Quantity(memory), seconds=Quantity(seconds + START * len(runs)))

    def _cases(self, suite: str) -> int | None:
        """Cases of a suite, as its files hold them; None where they must be fetched first."""
        settings = self.plan.configuration.suite(suite)
        if settings.scenarios is None or settings.tools is None:
            return settings.limit if isinstance(settings.limit, int) else None
        from matinee.evaluation.suites import load_suite, select

        whole = load_suite(settings.scenarios, settings.tools, settings.fixtures)
        chosen = select(whole, limit=settings.limit, categories=settings.categories)
        return len(chosen.scenarios)

    def refusals(self, outlays: Sequence[Outlay]) -> Iterator[str]:
        """Settings and sizes that this machine cannot do."""
        evaluation = self.plan.configuration.evaluation
        asked = {f"variant {v.id}": v.training for v in self.plan.configuration.variants}
        for name, training in asked.items() if not self.machine.gpu else ():
            if training.precision == "fp16":
                yield f"{name}: precision fp16 needs a GPU; auto, fp32 and bf16 do not"
            if training.quantization != "none":
                yield f"{name}: quantization {training.quantization} needs a GPU; none does not"
        if evaluation.precision == "fp16" and not self.machine.gpu:
            yield "evaluation: precision fp16 needs a GPU; auto, fp32 and bf16 do not"
        for one in outlays:
            # A merge that a GPU has no memory for is done beside it.
            needs = one.memory.value if one.memory and one.memory.how != "measured" else 0
            if needs > self.machine.memory and not (self.machine.gpu and "merge" in one.job):
                yield f"{one.job}: takes {needs:,.0f} GB, there are {self.machine.memory:,.0f} GB"
        disk = sum(one.disk.value for one in outlays if one.disk)
        if disk > self.machine.disk:
            yield f"disk: takes {disk:,.0f} GB, {self.machine.disk:,.0f} GB are free"


def _record(run: Path, asked: str) -> dict[str, Any]:
    """The `run.json` of a stage that ran with what the plan asks now; empty where none did."""
    record: dict[str, Any] = records.read_json(run) if run.is_file() else {}
    return record if record.get("parameters") == json.loads(asked) else {}


def _own_rows(dataset: Dataset) -> Iterator[Conversation]:
    """Rows that need no download: of files on this machine, or some as synthesis makes them."""
    if dataset.synthesis is not None:
        from matinee.data.synthesis import generate

        few = min(SAMPLE, dataset.synthesis.conversations)
        settings = dataset.synthesis.model_copy(update={"conversations": few})
        yield from generate(settings, dataset.catalogue or RESOURCES / "catalogue")
    elif isinstance(source := dataset.sources[0], PathSource) and dataset.reader is not None:
        from matinee.data.readers import FormatReport, data_files, read_dataset

        files = [source.path] if source.path.is_file() else data_files(source.path)
        bad = dataset.on_bad_row
        yield from read_dataset(
            dataset.reader, files, source=dataset.id, on_bad_row=bad, report=FormatReport()
        )


def _packed(job: Job) -> tuple[float, float]:
    """Tokens of the largest micro-batch of a pass, and the share of all tokens that is computed."""
    sizes, whole = [], 0
    for batch in epoch_batches(job, job.settings):
        rows = [job.rows[row] for row in batch]
        tokens = sum(len(ids) for ids, _ in rows)
        groups = shared_groups(rows) if job.settings.packing == "shared_prefix" else []
        sizes.append(tokens - sum(prefix * (len(members) - 1) for prefix, members in groups))
        whole += tokens
    return max(sizes), sum(sizes) / whole


def work_per_token(
    training: Training, anatomy: Anatomy, mean: float, share: float, supervised: float
) -> float:
    """Floating-point operations: two a weight forward, two back as far as adapters lie, two more
    where activations are computed again; attention over half a row, on average `mean` tokens."""
    passes = 2 + 2 * training.lora.layers + 2 * training.gradient_checkpointing
    attention = anatomy.layers * anatomy.width * mean
    return share * passes * (anatomy.body + attention) + supervised * 4 * anatomy.head


def estimate(plan: Plan, machine: Machine, results: Path = Path("results")) -> Iterator[str]:
    """The lines that `matinee estimate` prints: what cannot be done before all else."""
    estimator = Estimator(plan, machine, results)
    outlays = list(estimator.outlays())
    yield from (f"! {line}" for line in estimator.refusals(outlays))
    if estimator.calibrated:
        yield "speed: as the training reached it that has run here"
    elif machine.here and machine.load > 0.5:
        yield f"! busy: {machine.load:.1f} processes a core; the times are those of an idle machine"
    heads = (f"on {machine.name}", "download", "disk", "memory", "steps", "tokens", "time")
    for row in (heads, *map(_cells, outlays)):
        yield (f"{row[0]:24}" + "".join(f" {cell:>10}" for cell in row[1:])).rstrip()
    taken = {
        name: [value for one in outlays if (value := getattr(one, name))]
        for name in ("download", "disk", "seconds")
    }
    total = {name: sum(value.value for value in values) for name, values in taken.items()}
    left = sum(value.value for value in taken["seconds"] if value.how != "measured")
    yield (
        f"in all: download {_size(total['download'])} and data sets, disk {_size(total['disk'])}, "
        f"{_time(total['seconds'])} one job after another, {_time(left)} of it to come"
    )
    if price := plan.configuration.report.price_per_hour:
        cost = total["seconds"] / 3600 * price
        yield f"money: {cost:,.2f} {plan.configuration.report.currency} at {price:g} an hour"
    if unknown := [one.job for one in outlays if not (one.seconds or one.disk)]:
        yield f"not known before it is here, and not counted: {', '.join(unknown)}"
    yield "✓ measured   = computed from files and settings   ~ assumed (docs/estimate.md)"


def _cells(one: Outlay) -> tuple[str, ...]:
    sizes = [_shown(value, _size) for value in (one.download, one.disk, one.memory)]
    counts = [_shown(value, _count) for value in (one.steps, one.tokens)]
    return (one.job, *sizes, *counts, _shown(one.seconds, _time))


def _shown(quantity: Quantity | None, write: Any) -> str:
    return f"{MARKS[quantity.how]}{write(quantity.value)}" if quantity else ""


def _size(gigabytes: float) -> str:
    return f"{gigabytes:,.1f} GB" if gigabytes >= 0.1 else f"{gigabytes * 1000:,.1f} MB"


def _count(value: float) -> str:
    return f"{value / 1e6:,.1f} M" if value >= 1e6 else f"{value:,.0f}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
