"""An experiment of one's own: check what it is made from, begin it, try it, plan it, run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Literal

import typer

from matinee.runtime.places import PROJECT

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(help="The experiment's folder.")]
ANY = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    model: Annotated[str, typer.Option(help="A folder, or OWNER/NAME on the hub.", prompt=True)],
    tools: Annotated[Path | None, typer.Option(help="A list of tools in JSON.")] = None,
    openapi: Annotated[Path | None, typer.Option(help="An OpenAPI document instead.")] = None,
    logs: Annotated[Path | None, typer.Option(help="Conversations to learn and test from.")] = None,
    reader: Annotated[str, typer.Option(help="Their format: docs/data.md.")] = "openai",
    language: Annotated[Literal["zh", "en"], typer.Option(help="Of the report.")] = "en",
) -> None:
    """Begin an experiment with your model, tools and logs: a configuration and test cases."""
    from matinee.apps.beginning import Beginning, begin

    given = Beginning(folder, model, tools, openapi, logs, reader, language=language)
    begun = begin(given)
    typer.echo(f"{folder}: {begun.rows} rows to train on, {begun.cases} test cases.")
    for note in begun.notes:
        typer.echo(f"! {note}")
    typer.echo(
        f"Next:\n  matinee check-scenarios {folder}/scenarios {folder}/tools.json"
        f" --fixtures {folder}/fixtures.yaml\n"
        f"  matinee try {folder}      # everything once, small: does it fit together?\n"
        f"  matinee run {folder}      # the experiment: {folder}/results/report.html"
    )


@app.command("try")
def try_out(folder: Folder) -> None:
    """Run an experiment with a few rows, cases and steps, beside its results."""
    import yaml

    from matinee.apps.beginning import trial

    place = folder / "trial"
    place.mkdir(exist_ok=True)
    small = place / "experiment.yaml"
    small.write_text(yaml.safe_dump(trial(folder), allow_unicode=True), encoding="utf-8")
    _snakemake(place, "--cores", "all", "--quiet", "all")
    typer.echo(f"It fits together: {place}/results/report.html. Its figures mean nothing.")


@app.command(context_settings=ANY)
def plan(folder: Folder, context: typer.Context) -> None:
    """Say which jobs an experiment has still to run; further arguments go to snakemake."""
    _snakemake(folder, "--dry-run", "--quiet", "rules", *context.args)


@app.command()
def estimate(
    folder: Annotated[
        Path | None, typer.Argument(help="The experiment's folder. None: this one's configuration.")
    ] = None,
    configfile: Annotated[
        list[Path] | None, typer.Option(help="Laid over config.yaml; repeat for several.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="On a GPU of that name: A100, 4090 …")] = None,
) -> None:
    """Say what an experiment takes: downloads, disk, memory, steps, tokens, time, money."""
    from matinee.config.checking import configuration_files, read_configuration
    from matinee.config.plan import Plan
    from matinee.models.machines import named_gpu
    from matinee.stages.estimating import estimate as lines
    from matinee.stages.estimating import usual_machine

    given = [file.absolute() for file in configfile or []]
    if folder is not None:
        given[:0] = [PROJECT / "config.yaml", _experiment(folder).absolute()]
    with chdir(folder or Path()):
        files = configuration_files(given, alone=folder is not None)
        plan = Plan(read_configuration(files, {}, Path.cwd()))
        for line in lines(plan, named_gpu(gpu) if gpu else usual_machine(plan)):
            typer.echo(line)


@app.command(context_settings=ANY)
def run(folder: Folder, context: typer.Context) -> None:
    """Run an experiment, or go on with it; further arguments go to snakemake."""
    given = context.args or ["--cores", "all", "--quiet", "all"]
    _snakemake(folder, *given)
    typer.echo(f"Report: {folder.absolute()}/results/report.html")


@app.command()
def check_scenarios(
    scenarios: Path,
    tools: Path,
    fixtures: Annotated[
        Path | None,
        typer.Option(help="What your own tools return."),
    ] = None,
) -> None:
    """Say what is wrong with a folder of scenarios and a tool list, by file and line."""
    from matinee.evaluation.suites import check_suite, load_suite, too_few

    problems = check_suite(scenarios, tools, fixtures)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    for warning in too_few(load_suite(scenarios, tools)):
        typer.echo(f"warning: {warning}")
    typer.echo("All scenarios are sound.")


@app.command()
def check_model(
    folder: Path,
    template: Annotated[
        str, typer.Option(help="The variant's template; native is the model's own.")
    ] = "native",
) -> None:
    """Say what a model folder is: form of calls, what can be learnt, memory and speed."""
    from matinee.models.suitability import describe

    for line in describe(folder, template):
        typer.echo(line)


@app.command()
def import_openapi(
    document: Annotated[Path, typer.Argument(help="OpenAPI 3.0 or 3.1, YAML or JSON.")],
    out: Annotated[Path, typer.Option(help="The list of tools that is written.")],
    operation: Annotated[
        list[str] | None,
        typer.Option(help='operationId or "GET /path"; repeat it. None: all operations.'),
    ] = None,
) -> None:
    """Turn the operations of an OpenAPI document into a list of tools."""
    from matinee.evaluation.openapi import import_openapi as read
    from matinee.runtime import records

    imported = read(document, operation or [])
    records.write_json(out, list(imported.tools))
    for line in imported.left_out:
        typer.echo(line)
    count = "1 tool" if len(imported.tools) == 1 else f"{len(imported.tools)} tools"
    names = ", ".join(tool["name"] for tool in imported.tools)
    typer.echo(f"{count} written to {out}: {names}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of config.yaml."""
    from matinee.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False))


def _experiment(folder: Path) -> Path:
    experiment = folder / "experiment.yaml"
    if not experiment.is_file():
        typer.echo(f"There is no {experiment}. Begin one: matinee init {folder}", err=True)
        raise typer.Exit(1)
    return experiment


def _snakemake(folder: Path, *arguments: str) -> None:
    """Snakemake on the checkout's workflow, with the folder's experiment and results."""
    from matinee.config.checking import read_layers

    experiment = _experiment(folder)
    # Snakemake reads them before the workflow does, and tells no line of what is no YAML.
    read_layers([PROJECT / "config.yaml", experiment])
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile")),
        *("--directory", str(folder), *arguments),
        *("--configfile", str(PROJECT / "config.yaml"), str(experiment)),
    ]
    done = subprocess.run(command, check=False, env=os.environ)
    if done.returncode:
        raise typer.Exit(done.returncode)
