"""Commands of the training stages: the adapter, the merged model, its publication."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from matinee.commands.options import Gpus, Output, Params, hold_devices

app = typer.Typer()


@app.command("train-adapter")
def train_adapter(
    params: Params,
    model: Annotated[Path, typer.Option()],
    tokens: Annotated[Path, typer.Option()],
    checkpoints: Annotated[Path, typer.Option(help="Survives a kill; removed at the end.")],
    output: Output,
    gpus: Gpus = None,
) -> None:
    """LoRA fine-tuning of one variant with one seed."""
    from matinee.config import Training
    from matinee.stages import training
    from matinee.training.parallel import processes, relaunch

    hold_devices(gpus)
    values = json.loads(params)
    settings = Training.model_validate(values["training"])
    if settings.devices > 1 and processes() == 1:
        relaunch(settings.devices)
    training.train_adapter(
        model,
        tokens,
        settings,
        variant=values["variant"],
        seed=values["seed"],
        shuffle=values["shuffle_rows"],
        checkpoints=checkpoints,
        output=output,
    )


@app.command("merge-model")
def merge_model(
    params: Params,
    base: Annotated[Path, typer.Option()],
    adapter: Annotated[Path, typer.Option()],
    tokens: Annotated[Path, typer.Option()],
    output: Output,
    gpus: Gpus = None,
) -> None:
    """Merge an adapter into its base, export the model and certify it."""
    from matinee.config import Export
    from matinee.stages import training

    hold_devices(gpus)
    values = json.loads(params)
    training.merge_model(
        base,
        adapter,
        tokens,
        values["template"],
        Export.model_validate(values["export"]),
        output,
        variant=values["variant"],
    )


@app.command("export-gguf")
def export_gguf(params: Params, model: Annotated[Path, typer.Option()], output: Output) -> None:
    """Write a merged model as GGUF files for llama.cpp and Ollama."""
    from matinee.stages import training

    training.export_gguf(model, json.loads(params)["types"], output)


@app.command("publish-model")
def publish_model(params: Params, model: Annotated[Path, typer.Option()], output: Output) -> None:
    """Upload a merged model to a hub, with a token from the environment."""
    from matinee.stages import training

    values = json.loads(params)
    training.publish_model(
        model,
        values["repository"],
        output,
        private=values["private"],
        token_env=values["token_env"],
    )
