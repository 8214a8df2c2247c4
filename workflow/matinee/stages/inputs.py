"""Commands that check or make what a user brings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


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
