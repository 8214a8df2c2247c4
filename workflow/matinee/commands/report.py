"""Commands of the report, and of comparing two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from matinee.commands.options import Params

app = typer.Typer()


@app.command("render-report")
def render_report(params: Params, results: Annotated[Path, typer.Option()]) -> None:
    """Write report.html, summary.json and tables from what the other stages left."""
    from matinee.config.checking import parse_configuration
    from matinee.stages import report

    configuration = parse_configuration(json.loads(params), Path.cwd())
    report.render_report(configuration, results)


@app.command("compare")
def compare(
    before: Path,
    after: Path,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 1 where a subject got worse.")
    ] = False,
) -> None:
    """Compare two runs by their summary.json: better, worse, and which cases flipped."""
    from matinee.report import describe_runs
    from matinee.report.run_comparison import compare_summaries

    comparison = compare_summaries(before, after)
    typer.echo(describe_runs(comparison))
    if fail_if_worse and comparison.worse:
        raise typer.Exit(1)
