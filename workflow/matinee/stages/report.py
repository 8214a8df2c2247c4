"""The end of the way: one page, one summary, tables."""

from __future__ import annotations

from pathlib import Path

from matinee.config import Configuration
from matinee.runtime import progress


def render_report(configuration: Configuration, results: Path) -> None:
    """Writes page, summary, tables and the run's description from the other stages' files."""
    from matinee.report import (
        collect,
        configuration_yaml,
        log_report,
        write_crate,
        write_report,
        write_summary,
        write_tables,
    )

    data = collect(results, configuration)
    write_summary(data, results / "summary.json")
    write_tables(data, results / "tables")
    write_report(data, results / "report.html")
    write_crate(data, results, configuration_yaml(configuration))
    log_report(data, results)
    progress.say(f"✓ report: {(results / 'report.html').resolve()}")
