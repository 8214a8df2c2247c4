"""Readers of public data sets as they are published: one small file per format, one row format out.

A new reader is a module with a `READER`, a line in `reading.py`, its name in `config.ReaderName`,
and a test. It declares at each level which keys it reads, leaves on purpose, or refuses.
"""

from matinee.data.readers.reading import (
    READERS,
    FormatReport,
    RowProblem,
    read_dataset,
    read_tools,
)
from matinee.data.readers.rows import data_files

__all__ = [
    "READERS",
    "FormatReport",
    "RowProblem",
    "Rules",
    "data_files",
    "read_dataset",
    "read_tools",
]
