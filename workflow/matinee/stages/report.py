"""The end of the way: one page, one summary, tables; and comparing two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matinee.config import Configuration
from matinee.runtime import progress
from matinee.stages.options import Input, told

app = typer.Typer()


@app.command()
def render_report(params: Annotated[Configuration, told(Configuration)], results: Input) -> None:
    """Write page, summary, tables and the run's description from what the other stages left."""
    from matinee.report import (
        collect,
        configuration_yaml,
        log_report,
        write_crate,
        write_report,
        write_summary,
        write_tables,
    )

    data = collect(results, params)
    write_summary(data, results / "summary.json")
    write_tables(data, results / "tables")
    write_report(data, results / "report.html")
    write_crate(data, results, configuration_yaml(params))
    log_report(data, results)
    progress.say(f"✓ report: {(results / 'report.html').resolve()}")


@app.command()
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
