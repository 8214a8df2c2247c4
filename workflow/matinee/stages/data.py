"""From sources to token rows: fetch, format or synthesize, mix, tokenize, look for leaks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from matinee import progress, records
from matinee.config import Dataset, MixPart, Model
from matinee.conversations import Conversation, read_conversations, write_conversations
from matinee.errors import DataError

CATALOGUE = Path(__file__).parents[2] / "resources" / "catalogue"


def is_offline() -> bool:
    """Whether the configuration forbids the network; told by the environment, not by parameters,
    so that switching it reruns nothing."""
    return os.environ.get("MATINEE_OFFLINE") == "1"


def fetch_model(model: Model, output: Path) -> None:
    """Leaves a plain transformers folder: config, safetensors, tokenizer."""
    from matinee import sources

    recorder = records.Recorder("fetch_model", model.model_dump(mode="json"))
    with records.whole(output) as folder:
        recorder.add(**sources.fetch_model(model, folder, offline=is_offline(), root=Path.cwd()))
        recorder.write(folder / "run.json")
    progress.say(f"✓ model {model.id}: {recorder.summary()}")


def fetch_dataset(dataset: Dataset, output: Path) -> None:
    """Leaves the data set's files as published."""
    from matinee import sources

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
    from matinee.readers import FormatReport, data_files, read_dataset

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
    from matinee.synthesis import generate

    assert dataset.synthesis is not None
    settings = dataset.synthesis
    recorder = records.Recorder("synthesize_dataset", settings.model_dump(mode="json"))
    with records.whole(output) as beside:
        count = write_conversations(beside, generate(settings, dataset.catalogue or CATALOGUE))
    recorder.add(rows=count)
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ synthesized {dataset.id}: {count:,} conversations, {recorder.summary()}")


def mix_data(parts: Sequence[tuple[MixPart, Path]], output: Path) -> None:
    """Puts a variant's data sets together, in the order and amounts of the configuration."""
    from matinee.mixing import mix

    recorder = records.Recorder(
        "mix_data", {"parts": [part.model_dump(mode="json") for part, _ in parts]}
    )
    with records.whole(output) as beside:
        recorder.add(**mix(parts, beside))
    recorder.write(output.with_name("mix.run.json"))
    progress.say(f"✓ mixed {output.parent.name}: {recorder.summary()}")


def tokenize_data(
    conversations: Path, model: Path, template: str, cutoff: int, output: Path, profile_file: Path
) -> None:
    """Renders every conversation to token ids and mask (Parquet), and profiles the data."""
    from transformers import AutoTokenizer

    from matinee.profile import RowTokens, Sample, profile, sample_positions
    from matinee.rendering import Renderer
    from matinee.tokens import TokenWriter

    recorder = records.Recorder("tokenize_data", {"template": template, "cutoff_length": cutoff})
    renderer = Renderer(AutoTokenizer.from_pretrained(model), template)
    fits: list[bool] = []
    lengths: list[RowTokens] = []
    with records.whole(output) as beside, TokenWriter(beside) as writer:
        for conversation in read_conversations(conversations):
            row = renderer.row_within(conversation, cutoff)
            fits.append(row is not None)
            if row is not None:
                writer.write(row)
                lengths.append(RowTokens(len(row.ids), sum(row.mask), row.truncated))
    if not lengths:
        raise DataError(
            f"{conversations}: no row fits cutoff_length {cutoff} with a supervised token left."
        )

    def kept() -> Iterator[Conversation]:
        return itertools.compress(read_conversations(conversations), fits)

    shown = set(sample_positions(len(lengths)))
    samples = []
    for place, conversation in enumerate(kept()):
        row = renderer.row_within(conversation, cutoff) if place in shown else None
        if row is not None:
            pieces = tuple(str(renderer.tokenizer.decode([token])) for token in row.ids)
            samples.append(Sample(row.id, pieces, tuple(row.mask)))
    dropped = fits.count(False)
    records.write_json(profile_file, {**profile(kept(), lengths, samples), "dropped": dropped})
    recorder.add(rows=len(lengths), dropped=dropped)
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ tokenized {output.parent.name}: {len(lengths):,} rows, {recorder.summary()}")


def check_leakage(conversations: Path, suites: Sequence[Path], on_leak: str, output: Path) -> None:
    """Looks for test tools and test questions in the training data."""
    from matinee.leakage import find_leaks
    from matinee.scenarios import Suite

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
