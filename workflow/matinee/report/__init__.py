"""The report: what changed, is it real, and why; as a page, as a summary and as tables."""

from matinee.report.collect import ReportData, collect
from matinee.report.page import configuration_yaml, write_report
from matinee.report.run_comparison import describe_runs
from matinee.report.summary import write_summary
from matinee.report.tables import write_tables
from matinee.report.watched import log_report

__all__ = [
    "ReportData",
    "collect",
    "configuration_yaml",
    "describe_runs",
    "log_report",
    "write_report",
    "write_summary",
    "write_tables",
]
