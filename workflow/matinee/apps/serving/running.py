"""`run.py serve`: the web application on a port, until it is stopped."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matinee.apps.serving.app import Served, ServerLimits, create_app
from matinee.engines.live import LiveTransformersEngine
from matinee.messages.forms import NATIVE, templates
from matinee.messages.parsing import CallForm
from matinee.messages.rendering import load_template, portable
from matinee.models.devices import place
from matinee.runtime import progress
from matinee.runtime.errors import EngineError

TEMPLATE_FILE = "chat_template.jinja"


# Seconds that answers under way get when the server is stopped.
_PATIENCE = 5
LOCAL = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    `template`: its name, or None where the folder has one of ours. `context`: the most tokens of
    prompt and answer together. `batch_size`: answers that grow side by side. `constrained`: calls
    can only be spelled so that they can be read.
    """

    template: str | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: int = 8
    context: int = 8192
    constrained: bool = False


@dataclass(frozen=True)
class Loaded:
    """A model that answers, and what its outputs look like."""

    engine: LiveTransformersEngine
    template: str
    form: CallForm


def load_live(folder: Path, loading: Loading) -> Loaded:
    """Loads a folder. Raises EngineError where it holds no model or no template of ours."""
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"{folder} holds no model (no config.json). Give the folder that merge_model wrote, "
            "such as results/merged/VARIANT/sSEED/model, or a start model's, results/model/MODEL."
        )
    template = loading.template or template_of(folder)
    if template not in (NATIVE, *templates()):
        known = ", ".join((NATIVE, *templates()))
        raise EngineError(f"There is no template {template!r}; there are {known}.")
    from matinee.models.memory import keep_freed

    # Nothing here may reach a hub: the folder is complete.
    os.environ["HF_HUB_OFFLINE"] = "1"
    keep_freed()
    engine = LiveTransformersEngine.load(
        folder,
        template,
        place(loading.precision),
        loading.batch_size,
        loading.context,
        loading.constrained,
    )
    return Loaded(engine, template, engine.form)


def template_of(folder: Path) -> str:
    """The template of a folder: the one of ours that it was exported with, else its own.

    Raises EngineError where it has none.
    """
    path = folder / TEMPLATE_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for name in templates():
        if text in (portable(load_template(name)), load_template(name)):
            return name
    settings = folder / "tokenizer_config.json"
    if text or (settings.is_file() and '"chat_template"' in settings.read_text(encoding="utf-8")):
        return NATIVE
    raise EngineError(
        f"{path} is missing, so the form of the prompts is not known. "
        f"Say it with --template: {', '.join(templates())}."
    )


def name_of(folder: Path) -> str:
    """A name for the model: that of its folder, or VARIANT-sSEED for an exported one."""
    path = folder.resolve()
    return f"{path.parts[-3]}-{path.parts[-2]}" if path.name == "model" else path.name


@dataclass(frozen=True)
class Listening:
    """Where a server listens, and by which further names it may be reached. Port 0: a free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: Sequence[str] = ()


def serve(
    folder: Path,
    loading: Loading,
    limits: ServerLimits,
    at: Listening,
    *,
    name: str | None = None,
    key_env: str = "MATINEE_API_KEY",
) -> None:
    """Serves a model until it is interrupted. Raises EngineError where the port is not free."""
    import uvicorn

    host, port = at.host, at.port
    listening = _listen(host, port)
    loaded = load_live(folder, loading)
    key = os.environ.get(key_env, "")
    told = frozenset(one.lower() for one in (host, socket.gethostname(), *at.hosts))
    served = Served(name or name_of(folder), loaded.engine, loaded.form, limits, key, told)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/v1"
    progress.say(f"✓ {served.name} (template {loaded.template}) answers at {address}")
    if not key and host not in LOCAL:
        progress.say(f"! Anyone who reaches {host} can use it. Set {key_env} to ask for a key.")
    with listening:
        uvicorn.Server(web_settings(create_app(served), limits)).run(sockets=[listening])


def web_settings(app: Any, limits: ServerLimits, log_level: str = "warning") -> Any:
    """uvicorn's settings, with an end to its patience."""
    import uvicorn

    return uvicorn.Config(
        app,
        log_level=log_level,
        lifespan="on",
        http=_patient_protocol(limits.sending),
        ws="none",
        timeout_graceful_shutdown=_PATIENCE,
    )


def most_connections() -> int:
    """As many as leave files for everything else: without a file, no connection can be taken."""
    return max(8, min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


def _patient_protocol(seconds: float) -> type[Any]:
    """uvicorn's HTTP, which waits for ever for the rest of a request, with an end to its patience.

    Beyond `most_connections` the oldest that waits for its client makes room.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class PatientProtocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()
            peers: list[Any] = list(self.connections)
            idle = [one for one in peers if one.timeout_keep_alive_task is not None]
            if len(self.connections) > most_connections() and idle:
                min(idle, key=lambda one: one.timeout_keep_alive_task.when()).transport.abort()

        def data_received(self, data: bytes) -> None:
            waiting = self.timeout_keep_alive_task
            until = waiting.when() if waiting is not None else None
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._watch(until)

        def _watch(self, until: float | None = None) -> None:
            if self.timeout_keep_alive_task is None and not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_at(
                    until or self.loop.time() + seconds, self.transport.abort
                )

    return PatientProtocol


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
