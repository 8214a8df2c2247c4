"""What several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

Params = Annotated[str, typer.Option(help="The stage's settings as JSON.")]
Output = Annotated[Path, typer.Option(help="What the stage writes.")]
Inputs = Annotated[list[Path], typer.Option(help="Repeat the option for several files.")]
Gpus = Annotated[
    Optional[int],  # noqa: UP045 (typer reads it)
    typer.Option(help="Devices to hold for this stage; left out, all visible ones are used."),
]


def hold_devices(gpus: int | None) -> tuple[str, ...]:
    """Devices leased for this process; none where it is one of several that share a lease."""
    if gpus is None or "WORLD_SIZE" in os.environ:
        return ()
    from matinee.runtime.leases import lease_until_exit

    return lease_until_exit(gpus)
