"""Commands of the data stages: from sources to token rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from matinee.commands.options import Inputs, Output, Params

app = typer.Typer()


@app.command("fetch-model")
def fetch_model(params: Params, output: Output) -> None:
    """Get a start model from its sources and check it."""
    from matinee.config import Model
    from matinee.stages import data

    data.fetch_model(Model.model_validate_json(params), output)


@app.command("fetch-dataset")
def fetch_dataset(params: Params, output: Output) -> None:
    """Get a data set's files from its sources and check them."""
    from matinee.config import Dataset
    from matinee.stages import data

    data.fetch_dataset(Dataset.model_validate_json(params), output)


@app.command("format-dataset")
def format_dataset(params: Params, raw: Annotated[Path, typer.Option()], output: Output) -> None:
    """Convert a published data set into the one row format."""
    from matinee.config import Dataset
    from matinee.stages import data

    data.format_dataset(Dataset.model_validate_json(params), raw, output)


@app.command("synthesize-dataset")
def synthesize_dataset(params: Params, output: Output) -> None:
    """Make tool-calling conversations from a catalogue of tools."""
    from matinee.config import Dataset
    from matinee.stages import data

    data.synthesize_dataset(Dataset.model_validate_json(params), output)


@app.command("mix-data")
def mix_data(params: Params, part: Inputs, output: Output) -> None:
    """Put a variant's data sets together."""
    from matinee.config import MixPart
    from matinee.stages import data

    values = json.loads(params)
    mixed = [MixPart.model_validate(value) for value in values["parts"]]
    data.mix_data(list(zip(mixed, part, strict=True)), values["validation_share"], output)


@app.command("tokenize-data")
def tokenize_data(
    params: Params,
    conversations: Annotated[Path, typer.Option()],
    model: Annotated[Path, typer.Option()],
    profile: Annotated[Path, typer.Option()],
    output: Output,
    processes: Annotated[int, typer.Option(min=1, help="To tokenize with.")] = 1,
) -> None:
    """Render conversations to token ids and supervision masks, and profile them."""
    from matinee.stages import data

    values = json.loads(params)
    data.tokenize_data(
        conversations,
        model,
        values["template"],
        values["cutoff_length"],
        output,
        profile,
        processes,
    )


@app.command("check-leakage")
def check_leakage(
    params: Params,
    conversations: Annotated[Path, typer.Option()],
    suite: Inputs,
    output: Output,
) -> None:
    """Look for test tools and test questions in the training data."""
    from matinee.stages import data

    data.check_leakage(conversations, suite, json.loads(params)["leakage"], output)
