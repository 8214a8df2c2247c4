"""The end of the way: one page, one summary, tables."""

from __future__ import annotations

from pathlib import Path

from matinee import progress
from matinee.config import Configuration


def render_report(configuration: Configuration, results: Path) -> None:
    """Writes `summary.json`, `report.html` and `tables/` from the files of the other stages."""
    from matinee.report import collect, write_report, write_summary, write_tables

    data = collect(results, configuration)
    write_summary(data, results / "summary.json")
    write_tables(data, results / "tables")
    write_report(data, results / "report.html")
    progress.say(f"✓ report: {(results / 'report.html').resolve()}")
