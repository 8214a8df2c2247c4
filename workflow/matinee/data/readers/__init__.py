"""Readers of public data sets as they are published: one small file per format, one row format out.

A new reader is a module with a `READER`, a line in `registry.py`, its name in
`config.ReaderName`, and a test.
"""

from matinee.data.readers.reading import read_dataset
from matinee.data.readers.report import FormatReport, Problem
from matinee.data.readers.rows import data_files

__all__ = ["FormatReport", "Problem", "data_files", "read_dataset"]
