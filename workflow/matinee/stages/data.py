"""From sources to token rows: fetch, format or synthesize, mix, tokenize, look for leaks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matinee.config import Dataset, MixPart, Model
from matinee.messages.conversations import read_conversations, write_conversations
from matinee.runtime import progress, records
from matinee.runtime.errors import DataError
from matinee.runtime.places import RESOURCES

if TYPE_CHECKING:
    from matinee.data.mix_profile import Sample
    from matinee.data.tokenizing import Prompts

CATALOGUE = RESOURCES / "catalogue"


def is_offline() -> bool:
    """Whether the configuration forbids the network; told by the environment, not by parameters,
    so that switching it reruns nothing."""
    return os.environ.get("MATINEE_OFFLINE") == "1"


def fetch_model(model: Model, output: Path) -> None:
    """Leaves a plain transformers folder: config, safetensors, tokenizer."""
    from matinee.data import sources

    recorder = records.Recorder("fetch_model", model.model_dump(mode="json"))
    with records.whole(output) as folder:
        facts = sources.fetch_model(model, folder, offline=is_offline(), root=Path.cwd())
        recorder.add(**facts)
        recorder.write(folder / "run.json")
    progress.say(f"✓ model {model.id}: {recorder.summary()}")


def fetch_dataset(dataset: Dataset, output: Path) -> None:
    """Leaves the data set's files as published."""
    from matinee.data import sources

    recorder = records.Recorder("fetch_dataset", dataset.model_dump(mode="json"))
    with records.whole(output) as folder:
        facts = sources.fetch_dataset(
            dataset.sources, folder, offline=is_offline(), root=Path.cwd()
        )
        recorder.add(**facts)
        recorder.write(folder / "run.json")
    progress.say(f"✓ data set {dataset.id}: {recorder.summary()}")


def format_dataset(dataset: Dataset, raw: Path, output: Path) -> None:
    """Reads the published files into the one row format; writes the counts beside it."""
    from matinee.data.readers import FormatReport, data_files, read_dataset

    recorder = records.Recorder("format_dataset", {"dataset": dataset.id, "reader": dataset.reader})
    files = data_files(raw)
    report = FormatReport()
    assert dataset.reader is not None
    rows = read_dataset(
        dataset.reader,
        files,
        source=dataset.id,
        on_bad_row=dataset.on_bad_row,
        report=report,
    )
    with records.whole(output) as beside:
        count = write_conversations(beside, rows)
    if count == 0:
        raise DataError(f"{raw}: the reader {dataset.reader!r} found no usable row.")
    recorder.add(**report.as_dict())
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ formatted {dataset.id}: {count:,} conversations, {recorder.summary()}")


def synthesize_dataset(dataset: Dataset, output: Path) -> None:
    """Makes conversations from a catalogue of tools."""
    from matinee.data.synthesis import generate

    assert dataset.synthesis is not None
    settings = dataset.synthesis
    recorder = records.Recorder("synthesize_dataset", settings.model_dump(mode="json"))
    with records.whole(output) as beside:
        count = write_conversations(beside, generate(settings, dataset.catalogue or CATALOGUE))
    recorder.add(rows=count)
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ synthesized {dataset.id}: {count:,} conversations, {recorder.summary()}")


def mix_data(parts: Sequence[tuple[MixPart, Path]], validation_share: float, output: Path) -> None:
    """Puts a variant's data sets together, in the order and amounts of the configuration."""
    from matinee.data.mixing import mix

    recorder = records.Recorder(
        "mix_data",
        {
            "parts": [part.model_dump(mode="json") for part, _ in parts],
            "validation_share": validation_share,
        },
    )
    with records.whole(output) as beside:
        recorder.add(**mix(parts, beside, validation_share))
    recorder.write(output.with_name("mix.run.json"))
    progress.say(f"✓ mixed {output.parent.name}: {recorder.summary()}")


def tokenize_data(
    conversations: Path,
    model: Path,
    template: str,
    cutoff: int,
    output: Path,
    profile_file: Path,
    processes: int = 1,
) -> None:
    """Renders every conversation to token ids and mask (Parquet), and profiles the data."""
    from matinee.data.mix_profile import profile
    from matinee.data.tokenizing import Prompts, tokenize
    from matinee.data.tokens import TokenWriter

    recorder = records.Recorder("tokenize_data", {"template": template, "cutoff_length": cutoff})
    prompts = Prompts(model, template, cutoff)
    with records.whole(output) as beside, TokenWriter(beside) as writer:
        found = tokenize(conversations, writer, prompts, processes)
    if not found.tokens:
        raise DataError(
            f"{conversations}: no row fits cutoff_length {cutoff} with a supervised token left."
        )
    samples = _samples(output, len(found.tokens), prompts)
    described = profile(found.tally, found.tokens, samples, found.held_out)
    records.write_json(profile_file, {**described, "dropped": found.dropped})
    recorder.add(rows=len(found.tokens), held_out=len(found.held_out), dropped=found.dropped)
    recorder.write(output.with_name("run.json"))
    progress.say(
        f"✓ tokenized {output.parent.name}: {len(found.tokens):,} rows, {recorder.summary()}"
    )


def _samples(tokens: Path, rows: int, prompts: Prompts) -> list[Sample]:
    """A few rows to train on, token by token."""
    from matinee.data.mix_profile import Sample, sample_positions
    from matinee.data.tokenizing import renderer
    from matinee.data.tokens import read_some

    decode = renderer(prompts).tokenizer.decode
    return [
        Sample(row.id, tuple(str(decode([token])) for token in row.ids), tuple(row.mask))
        for row in read_some(tokens, sample_positions(rows))
    ]


def check_leakage(conversations: Path, suites: Sequence[Path], on_leak: str, output: Path) -> None:
    """Looks for test tools and test questions in the training data."""
    from matinee.data.leakage import find_leaks
    from matinee.messages.scenarios import Suite

    recorder = records.Recorder("check_leakage", {"leakage": on_leak})
    reports = {
        path.stem: find_leaks(
            read_conversations(conversations),
            Suite.model_validate_json(path.read_text(encoding="utf-8")),
        )
        for path in suites
    }
    hits = [
        {
            "suite": name,
            "kind": f"{leak.kind} ({leak.exactness})",
            "training": f"{leak.training_text} [{leak.training_source}, {leak.training_row}]",
            "test": f"{leak.test_text} [{leak.test_item}]",
            "similarity": leak.score,
            "rows": leak.rows,
        }
        for name, report in reports.items()
        for leak in report.leaks
    ]
    checked = {
        name: {key: value for key, value in report.as_dict().items() if key != "leaks"}
        for name, report in reports.items()
    }
    if hits and on_leak == "error":
        kept = output.with_suffix(".refused.json")
        records.write_json(kept, {"checked": checked, "hits": hits})
        raise DataError(
            f"{len(hits)} leaks between the training data and the test, listed in {kept}. "
            f"The first: {hits[0]['kind']}: {hits[0]['training']} ~ {hits[0]['test']}. "
            "Remove the rows, or set `leakage: warn`."
        )
    records.write_json(output, {"checked": checked, "hits": hits})
    recorder.write(output.with_name("leakage.run.json"))
    progress.say(
        f"✓ leakage {output.parent.name}: {len(hits)} hits between training and test, "
        f"{recorder.summary()}"
    )
