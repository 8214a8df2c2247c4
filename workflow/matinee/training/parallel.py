"""Several processes that train together, one device each: who they are, and how they start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

LAUNCH = Path(__file__).with_name("accelerate.yaml")


def processes() -> int:
    """How many processes train together; `accelerate launch` and torchrun say it so."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return os.environ.get("RANK", "0") == "0"


def take_own_device() -> None:
    """Makes this process's own GPU the current one, before anything is loaded onto it."""
    import torch

    if processes() > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def launch_command(devices: int, arguments: Sequence[str]) -> list[str]:
    """The command that runs a Python script with its arguments once per device.

    `accelerate.yaml` is named so that a configuration in the user's home is not read instead.
    Port 0 lets the processes agree on a free one.
    """
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    options = ["--config_file", str(LAUNCH), "--num_processes", str(devices)]
    return [*launch, *options, "--main_process_port", "0", *arguments]


def relaunch(devices: int) -> None:
    """Starts the running command again, once per device, in place of this process."""
    command = launch_command(devices, sys.argv)
    os.execv(command[0], command)
