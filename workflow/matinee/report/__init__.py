"""The report: what changed, is it real, and why; as a page, as a summary and as tables."""

from matinee.report.data import ReportData, collect
from matinee.report.page import write_report
from matinee.report.runs import describe_runs
from matinee.report.summary import write_summary
from matinee.report.tables import write_tables

__all__ = [
    "ReportData",
    "collect",
    "describe_runs",
    "write_report",
    "write_summary",
    "write_tables",
]
