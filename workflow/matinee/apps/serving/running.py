"""`run.py serve`: the web application on a port, until it is stopped."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from matinee.apps.serving.app import Limits, Served, create_app
from matinee.apps.serving.loading import Loading, load_live, name_of
from matinee.runtime import progress
from matinee.runtime.errors import EngineError

# Seconds that answers under way get when the server is stopped.
_PATIENCE = 5
LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(
    folder: Path,
    loading: Loading,
    limits: Limits,
    *,
    host: str,
    port: int,
    name: str | None = None,
    key_env: str = "MATINEE_API_KEY",
) -> None:
    """Serves a model until it is interrupted. Raises EngineError where the port is not free."""
    import uvicorn

    listening = _listen(host, port)
    loaded = load_live(folder, loading)
    key = os.environ.get(key_env, "")
    served = Served(name or name_of(folder), loaded.engine, loaded.form, limits, key)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/v1"
    progress.say(f"✓ {served.name} (template {loaded.template}) answers at {address}")
    if not key and host not in LOCAL:
        progress.say(f"! Anyone who reaches {host} can use it. Set {key_env} to ask for a key.")
    config = uvicorn.Config(
        create_app(served),
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=_PATIENCE,
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port in use is known before the model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise EngineError(
            f"{host}:{port} cannot be used ({error.strerror}). Choose another --port or --host."
        ) from error
    return listening
