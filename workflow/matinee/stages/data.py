"""From sources to token rows: fetch, format or synthesize, mix, tokenize, look for leaks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from matinee.config import Dataset, Model
from matinee.config.parameters import CheckLeakage, MixData, TokenizeData
from matinee.runtime import progress, records
from matinee.runtime.errors import DataError
from matinee.runtime.places import RESOURCES
from matinee.stages.options import Input, Inputs, Output, told

if TYPE_CHECKING:
    from matinee.data.tokenizing import Prompts

CATALOGUE = RESOURCES / "catalogue"

app = typer.Typer()


def is_offline() -> bool:
    """Whether the configuration forbids the network; told by the environment, not by parameters,
    so that switching it reruns nothing."""
    return os.environ.get("MATINEE_OFFLINE") == "1"


@app.command()
def fetch_model(params: Annotated[Model, told(Model)], output: Output) -> None:
    """Get a start model from its sources and check it: config, safetensors, tokenizer."""
    from matinee.data import sources

    recorder = records.Recorder("fetch_model", params)
    with records.whole(output) as folder:
        facts = sources.fetch_model(params, folder, offline=is_offline(), root=Path.cwd())
        recorder.add(**facts)
        recorder.write(folder / "run.json")
    progress.say(f"✓ model {params.id}: {recorder.summary()}")


@app.command()
def fetch_dataset(params: Annotated[Dataset, told(Dataset)], output: Output) -> None:
    """Get a data set's files as published, and check them."""
    from matinee.data import sources

    recorder = records.Recorder("fetch_dataset", params)
    with records.whole(output) as folder:
        recorder.add(
            **sources.fetch_dataset(params.sources, folder, offline=is_offline(), root=Path.cwd())
        )
        recorder.write(folder / "run.json")
    progress.say(f"✓ data set {params.id}: {recorder.summary()}")


@app.command()
def format_dataset(params: Annotated[Dataset, told(Dataset)], raw: Input, output: Output) -> None:
    """Read published files into the one row format; the counts are written beside it."""
    from matinee.data.readers import FormatReport, data_files, read_dataset, read_tools
    from matinee.messages.conversations import write_conversations

    recorder = records.Recorder("format_dataset", params)
    report = FormatReport()
    assert params.reader is not None
    rows = read_dataset(
        params.reader,
        data_files(raw),
        source=params.id,
        on_bad_row=params.on_bad_row,
        on_unknown_key=params.on_unknown_key,
        tools=read_tools(params.tools),
        report=report,
    )
    with records.whole(output) as beside:
        count = write_conversations(beside, rows)
    if count == 0:
        raise DataError(f"{raw}: the reader {params.reader!r} found no usable row.")
    recorder.add(**report.as_dict())
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ formatted {params.id}: {count:,} conversations, {recorder.summary()}")


@app.command()
def synthesize_dataset(params: Annotated[Dataset, told(Dataset)], output: Output) -> None:
    """Make tool-calling conversations from a catalogue of tools."""
    from matinee.data.synthesis import generate
    from matinee.messages.conversations import write_conversations

    assert params.synthesis is not None
    recorder = records.Recorder("synthesize_dataset", params)
    with records.whole(output) as beside:
        made = generate(params.synthesis, params.catalogue or CATALOGUE)
        count = write_conversations(beside, made)
    recorder.add(rows=count)
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ synthesized {params.id}: {count:,} conversations, {recorder.summary()}")


@app.command()
def mix_data(params: Annotated[MixData, told(MixData)], part: Inputs, output: Output) -> None:
    """Put a variant's data sets together, in the order and amounts of the configuration."""
    from matinee.data.mixing import mix

    recorder = records.Recorder("mix_data", params)
    with records.whole(output) as beside:
        parts = list(zip(params.parts, part, strict=True))
        recorder.add(**mix(parts, beside, params.validation_share))
    recorder.write(output.with_name("mix.run.json"))
    progress.say(f"✓ mixed {output.parent.name}: {recorder.summary()}")


@app.command()
def tokenize_data(
    params: Annotated[TokenizeData, told(TokenizeData)],
    conversations: Input,
    model: Input,
    profile: Input,
    output: Output,
    processes: Annotated[int, typer.Option(min=1, help="To tokenize with.")] = 1,
) -> None:
    """Render conversations to token ids and supervision masks (Parquet), and profile them."""
    from matinee.data.mix_profile import profile as profiled
    from matinee.data.tokenizing import Prompts, renderer, tokenize
    from matinee.data.tokens import token_writer
    from matinee.models.suitability import warning

    recorder = records.Recorder("tokenize_data", params)
    prompts = Prompts(
        model,
        params.template,
        params.cutoff_length,
        params.supervise,
        params.supervise_reasoning,
    )
    with records.whole(output) as beside, token_writer(beside) as writer:
        found = tokenize(conversations, writer, prompts, processes)
    rows = len(found.tokens)
    if not rows:
        raise DataError(
            f"{conversations}: no row fits cutoff_length {params.cutoff_length} with a supervised "
            "token left."
        )
    described = profiled(found.tally, found.tokens, _samples(output, rows, prompts), found.held_out)
    counts = {"dropped": found.dropped, "control_tokens_spelled_out": found.spelled_out}
    records.write_json(profile, {**described, **counts})
    recorder.add(rows=rows, held_out=len(found.held_out), dropped=found.dropped)
    recorder.write(output.with_name("run.json"))
    progress.say(f"✓ tokenized {output.parent.name}: {rows:,} rows, {recorder.summary()}")
    if told := warning(model, renderer(prompts)):
        progress.say(told)


def _samples(tokens: Path, rows: int, prompts: Prompts) -> list[dict[str, Any]]:
    """A few rows to train on, token by token."""
    from matinee.data.mix_profile import sample_positions
    from matinee.data.tokenizing import renderer
    from matinee.data.tokens import read_some

    decode = renderer(prompts).tokenizer.decode
    return [
        {
            "id": row.id,
            "tokens": [[str(decode([t])), m] for t, m in zip(row.ids, row.mask, strict=True)],
        }
        for row in read_some(tokens, sample_positions(rows))
    ]


@app.command()
def check_leakage(
    params: Annotated[CheckLeakage, told(CheckLeakage)],
    conversations: Input,
    suite: Inputs,
    output: Output,
) -> None:
    """Look for test tools and test questions in the training data."""
    from matinee.data.leakage import find_leaks
    from matinee.messages.conversations import read_conversations
    from matinee.messages.scenarios import Suite

    recorder = records.Recorder("check_leakage", params)
    reports = {
        path.stem: find_leaks(read_conversations(conversations), records.read_record(path, Suite))
        for path in suite
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
    refused = {
        "error": hits,
        "same_tools": [hit for hit in hits if str(hit["kind"]).startswith("question")],
        "warn": [],
    }[params.leakage]
    if refused:
        kept = output.with_suffix(".refused.json")
        records.write_json(kept, {"checked": checked, "hits": hits})
        first = refused[0]
        raise DataError(
            f"{len(refused)} leaks between the training data and the test, listed in {kept}. "
            f"The first: {first['kind']}: {first['training']} ~ {first['test']}. Remove the rows, "
            "or set `leakage: warn`; where the tools are the same by intent, `leakage: same_tools`."
        )
    records.write_json(output, {"checked": checked, "hits": hits})
    recorder.write(output.with_name("leakage.run.json"))
    meant = hits and params.leakage == "same_tools"
    own = ", of tools that are the same by intent" if meant else ""
    progress.say(
        f"✓ leakage {output.parent.name}: {len(hits)} hits between training and test{own}, "
        f"{recorder.summary()}"
    )
