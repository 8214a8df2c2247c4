"""What `workflow/run.py` offers: one module per part of the workflow, each a flat list of commands.

Commands import what they do only when they are called, so that `--help` answers at once.
"""

from __future__ import annotations

import typer

from matinee.commands import data, evaluation, inputs, report, talking, training


def add_commands(app: typer.Typer) -> None:
    """Adds every command, in the order of the workflow."""
    for part in (data, training, evaluation, report, inputs, talking):
        app.add_typer(part.app)
