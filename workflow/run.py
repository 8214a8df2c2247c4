"""The one door from the workflow into Python: `python workflow/run.py STAGE --help`.

Every rule of the workflow calls this file, and prints the call: copy it to run a stage by hand.
`--params` is the stage's own slice of the configuration as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import typer
except ModuleNotFoundError:
    sys.exit(
        f"{sys.executable} has not what Matinee needs. In the folder of the checkout:\n"
        "  make setup && source .venv/bin/activate"
    )

sys.path.insert(0, str(Path(__file__).parent))

from matinee.stages import add_commands

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
add_commands(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a stage; an error that a user can mend is one message and exit status 1."""
    from matinee.runtime import process, progress
    from matinee.runtime.errors import UserError, storage_problem

    stage = sys.argv[1] if len(sys.argv) > 1 else "matinee"
    try:
        process.begin()
        app(arguments)
    except UserError as error:
        progress.say(f"✗ {stage}: {error}")
        raise SystemExit(1) from None
    except Exception as error:
        if problem := storage_problem(error):
            progress.say(f"✗ {stage}: {problem}")
            raise SystemExit(1) from None
        # A fault of ours: the traceback goes to the log, one line to whoever watches.
        progress.say(f"✗ {stage}: {type(error).__name__}: {error} (traceback in the stage's log)")
        raise


if __name__ == "__main__":
    main()
