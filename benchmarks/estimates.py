"""python benchmarks/estimates.py RESULTS [--configfile FILE …]

Holds what `matinee estimate` says of every job against what the jobs of a finished run took. The
speed is that of its fastest training; with `--timed`, that of this machine, timed now.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from matinee.config.checking import configuration_files, read_configuration
from matinee.config.plan import Plan
from matinee.models.machines import this_machine
from matinee.stages.estimating import Estimator


def main() -> None:
    """Prints a line for every job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[])
    parser.add_argument("--timed", action="store_true")
    arguments = parser.parse_args()
    files = configuration_files(arguments.configfile, alone=False)
    plan = Plan(read_configuration(files, {}, Path.cwd()))
    machine = replace(this_machine(), here=not arguments.timed)
    estimator = Estimator(plan, machine, arguments.results)
    for guess, one in estimator.held():
        print(
            f"{one.job:28} {guess.seconds:8,.0f} s of {one.seconds:8,.0f} s "
            f"({guess.seconds / one.seconds:4.2f}) {guess.memory:6.1f} GB of {one.memory:6.1f} GB"
        )


if __name__ == "__main__":
    main()
