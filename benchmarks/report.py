"""How fast a report is made: `python benchmarks/report.py [--subjects 8] [--cases 2000]`.

Makes a synthetic results folder and times what the report stage does with it. Prints the seconds
of each part, the size of the page, and the peak memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests" / "unit")]

from report_fixture import Shape, make_results  # noqa: E402

from matinee.report import collect, write_report, write_summary, write_tables  # noqa: E402
from matinee.runtime.records import peak_memory_mb  # noqa: E402

Result = TypeVar("Result")


def timed(name: str, work: Callable[[], Result]) -> tuple[Result, float]:
    """Runs `work` and prints how long it took; returns its result and the seconds."""
    started = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    print(f"{name:24}{seconds:8.2f} s")
    return result, seconds


def main() -> None:
    """Two variants with as many seeds and references as make the asked number of subjects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--cases", type=int, default=2000)
    asked = parser.parse_args()
    seeds = max(1, (asked.subjects - 2) // 2)
    shape = Shape(
        cases=asked.cases,
        seeds=tuple(range(42, 42 + seeds)),
        references=max(0, asked.subjects - 2 - 2 * seeds),
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        results, configuration = make_results(root, shape)
        data, reading = timed("read and compare", lambda: collect(results, configuration))
        page = root / "report.html"
        _, writing = timed("write report.html", lambda: write_report(data, page))
        _, summing = timed("write summary.json", lambda: write_summary(data, root / "summary.json"))
        _, tabling = timed("write tables", lambda: write_tables(data, root / "tables"))
        total = reading + writing + summing + tabling
        print(f"{'total':24}{total:8.2f} s")
        print(f"{len(data.subjects)} subjects x {asked.cases} cases")
        print(f"report.html {page.stat().st_size / 1e6:.2f} MB, peak {peak_memory_mb():.0f} MB")


if __name__ == "__main__":
    main()
