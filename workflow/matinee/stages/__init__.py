"""The stages of the workflow: each reads files, writes files, and leaves a `run.json`.

A command of `workflow/run.py` is the stage's function. What it needs is imported when it is called,
so that `--help` answers at once.
"""

from __future__ import annotations

import typer

from matinee.stages import apps, data, evaluation, experiments, training


def add_commands(app: typer.Typer) -> None:
    """Adds every command, in the order of the workflow."""
    for part in (data, training, evaluation, experiments, apps):
        app.add_typer(part.app)
