"""Training runs in processes of their own, forked from one server that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tiny import random_rows

from matinee.config import Training


def job(folder: Path, settings: Training, *, seed: int = 42, rows: int = 40) -> Any:
    """A run over seeded rows with `folder/model` as its start model."""
    from matinee.training.batching import Job

    return Job(
        model=folder / "model",
        rows=random_rows(9, rows, prefix=40, longest=12),
        settings=settings,
        seed=seed,
        shuffle=True,
        checkpoints=folder / "checkpoints",
        output=folder / "output",
        label="train tiny",
    )


def run(folder: Path, settings: Training, environment: dict[str, str], options: Any) -> None:
    """What the process does; a UserError is written to `folder/error`."""
    os.environ.update(environment)
    os.setpgrp()
    with (folder / f"log-{os.getpid()}").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        import torch

        from matinee.runtime.errors import UserError
        from matinee.training.run import train

        torch.set_num_threads(1)
        try:
            train(job(folder, settings, **options))
        except UserError as error:
            (folder / "error").write_text(str(error))
            raise SystemExit(1) from None


def start(
    folder: Path, settings: Training, environment: dict[str, str] | None = None, **options: Any
) -> BaseProcess:
    """Starts a training process."""
    # The fork server imports with the path of the environment, not with that of this process.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainee_imports"])
    process = context.Process(target=run, args=(folder, settings, environment or {}, options))
    process.start()
    return process


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def adapter_bytes(folder: Path) -> bytes:
    return (folder / "output/adapter/adapter_model.safetensors").read_bytes()
