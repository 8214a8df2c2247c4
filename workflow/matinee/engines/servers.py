"""vLLM or llama.cpp as the engine: its server is started for one run, asked, and stopped after it.

The server spells the prompts, by the model's chat template. What the model writes comes back raw
(`tool_choice: none` leaves the tools in the prompt and the text alone), so that calls are parsed
by the same parser, whichever engine wrote them: llama.cpp's own answers an output that is no call
of the form that it expects with HTTP 500.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal
from uuid import uuid4

from matinee.config import RequestForm
from matinee.engines.base import Completion, Reply, Request
from matinee.engines.openai import OpenAIEngine
from matinee.messages.parsing import CallForm
from matinee.messages.rendering import Renderer, load_template, portable
from matinee.runtime import progress
from matinee.runtime.errors import EngineError

Kind = Literal["vllm", "llama_cpp"]
GUARD = Path(__file__).with_name("guard.py")
HOST = "127.0.0.1"
# A large model takes minutes to load; one that died is noticed at once.
LOADING = 1800.0  # seconds
_GLANCE = 0.1
_TRIES = 3
_RETRIES = 2
_SHOWN = 12  # last lines of a log
# Conversations at a time in llama.cpp, which keeps room for each, and tokens of each.
_SLOTS, _SLOT = 4, 8192
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "auto": "auto"}


@dataclass(frozen=True)
class ServedModel:
    """What a server loads. `weights`: the folder, or a GGUF file; `folder`: where the tokenizer is.

    `command`: how the server is called, flags of the user's included. `batch_size`: conversations
    at a time.
    """

    kind: Kind
    command: str
    folder: Path
    weights: Path
    template: str
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: int = 16
    thinking: bool = False


class ServedEngine:
    """An engine whose model runs in a server of its own, on loopback; `log` holds what it said.

    `form`: how the model writes calls. Raises EngineError where the server cannot be started, ends
    while it loads or is asked: with the last lines of its log.
    """

    def __init__(self, model: ServedModel, log: Path) -> None:
        from transformers import AutoTokenizer

        self._model = model
        self._log = log
        tokenizer = AutoTokenizer.from_pretrained(model.folder)
        renderer = Renderer(tokenizer, model.template)
        self.form: CallForm = renderer.form
        self._stop_ids = sorted(renderer.stop_ids)
        self._ends = tuple(str(tokenizer.decode([end])) for end in self._stop_ids)

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Answers all requests; see `Engine`."""
        with tempfile.TemporaryDirectory() as scratch:
            template = None
            # A start model's folder knows nothing of a template of ours.
            if self._model.template != "native":
                template = Path(scratch) / "template.jinja"
                text = portable(load_template(self._model.template))
                template.write_text(text, encoding="utf-8")
            command = _COMMANDS[self._model.kind](self._model, template)
            with running(command, self._log) as server:
                asked = OpenAIEngine(
                    server.address,
                    server.name,
                    api_key_env="MATINEE_NO_KEY",
                    concurrency=self._concurrency,
                    timeout=LOADING,
                    retries=_RETRIES,
                    request=RequestForm(extra_body=self._extra()),
                )
                try:
                    asked.serve(requests, lambda one, done: reply(one, self._without_end(done)))
                except EngineError as error:
                    server.refuse_dead()
                    # A server may take long to end, or fail without an end.
                    raise EngineError(f"{error} {_tail(self._log)}") from None

    @property
    def _concurrency(self) -> int:
        return min(self._model.batch_size, _SLOTS if self._model.kind == "llama_cpp" else 256)

    def _extra(self) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "tool_choice": "none",
            "chat_template_kwargs": {"enable_thinking": self._model.thinking},
        }
        if self._model.kind == "vllm":
            # Marks of calls may be special tokens.
            return asked | {"skip_special_tokens": False, "stop_token_ids": self._stop_ids}
        return asked | {"reasoning_format": "none", "cache_prompt": True}

    def _without_end(self, done: Completion) -> Completion:
        """The completion without the token that ended it, which llama.cpp writes out."""
        text = done.text
        for end in self._ends:
            text = text.removesuffix(end)
        return replace(done, text=text)


@dataclass(frozen=True)
class Started:
    """A server that answers. `address`: its API's root; `name`: the model's name there."""

    address: str
    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def refuse_dead(self) -> None:
        """Raises EngineError where the server has ended."""
        try:
            status = self.process.wait(_GLANCE * 5)
        except subprocess.TimeoutExpired:
            return
        raise _ended(self.log, status)


# Makes a server's command from its port and the model's name.
Command = Callable[[int, str], list[str]]


@contextlib.contextmanager
def running(command: Command, log: Path) -> Iterator[Started]:
    """Starts a server on a free port of this machine, waits until it answers, and ends it.

    It ends with this process too, even where that is killed. Raises EngineError where it ends
    before it answers; another port is tried where the chosen one was taken meanwhile.
    """
    # A proxy of the network's is no way to this machine.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as written, contextlib.ExitStack() as stack:
        for left in reversed(range(_TRIES)):
            port, name = _free_port(), f"matinee-{uuid4().hex[:8]}"
            process = stack.enter_context(_guarded(command(port, name), written))
            server = Started(f"http://{HOST}:{port}/v1", name, log, process)
            if _answers(server):
                break
            if not left or not _taken(port):
                raise _ended(log, process.wait())
        progress.say(f"the server answers; its log is {log}")
        yield server


@contextlib.contextmanager
def _guarded(command: Sequence[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which is ended with all that it started; see `guard`."""
    program = shutil.which(command[0])
    if program is None:
        raise EngineError(
            f"The server's program {command[0]!r} is not installed here. Install it, or say in "
            "evaluation.servers how it is called."
        )
    process = subprocess.Popen(
        [sys.executable, "-I", str(GUARD), program, *command[1:]],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _answers(server: Started) -> bool:
    """Whether the server is up before it ends. Raises EngineError where it takes too long."""
    import httpx

    root = server.address.removesuffix("/v1")
    until = time.monotonic() + LOADING
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < until:
            try:
                server.process.wait(_GLANCE)
            except subprocess.TimeoutExpired:
                pass
            else:
                return False
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
                # llama.cpp lists its model while it still loads. The name tells our server from
                # another that took the port.
                listed = client.get(f"{server.address}/models").json()["data"]
                up = client.get(f"{root}/health").is_success
                if up and server.name in [one["id"] for one in listed]:
                    return True
    raise EngineError(f"The server did not answer within {LOADING:g} s. {_tail(server.log)}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _ended(log: Path, status: int) -> EngineError:
    return EngineError(f"The server ended with status {status}. {_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_SHOWN:]
    said = "\n".join(f"  {line[:300]}" for line in lines) or "  (nothing)"
    return f"The end of {log}:\n{said}"


def _called(command: str, *flags: tuple[object, ...]) -> list[str]:
    """The command with our flags behind it; one that the command has already is the user's."""
    words = shlex.split(command)
    ours = [flag for flag in flags if flag[0] not in words]
    return [*words, *(str(word) for flag in ours for word in flag)]


def _vllm(model: ServedModel, template: Path | None) -> Command:
    flags: list[tuple[object, ...]] = [
        # What the folder says of sampling is left out; its ends are kept.
        ("--generation-config", "vllm"),
        ("--dtype", _DTYPES[model.precision]),
        ("--max-num-seqs", model.batch_size),
        *([("--chat-template", template)] if template else []),
    ]
    # vLLM takes the model only right behind its `serve`.
    words = shlex.split(model.command)
    place = words.index("serve") + 1 if "serve" in words else len(words)
    command = shlex.join([*words[:place], str(model.weights), *words[place:]])
    return lambda port, name: _called(
        command, ("--served-model-name", name, "--host", HOST, "--port", port), *flags
    )


def _llama_cpp(model: ServedModel, template: Path | None) -> Command:
    slots = min(model.batch_size, _SLOTS)
    flags: list[tuple[object, ...]] = [
        ("--parallel", slots),
        ("--ctx-size", slots * _SLOT),
        *([("--chat-template-file", template)] if template else []),
    ]
    command = model.command
    program, *rest = shlex.split(command)
    # Without a server of llama.cpp's own, the one in the wheel that requirements-gguf.txt brings.
    if shutil.which(program) is None and importlib.util.find_spec("xllamacpp"):
        own = Path(__file__).with_name("llama_server.py")
        command = shlex.join([sys.executable, "-P", str(own), *rest])
    return lambda port, name: _called(
        command,
        ("--model", model.weights, "--alias", name, "--host", HOST, "--port", port),
        ("--jinja",),
        ("--special",),
        *flags,
    )


_COMMANDS: dict[Kind, Callable[[ServedModel, Path | None], Command]] = {
    "vllm": _vllm,
    "llama_cpp": _llama_cpp,
}
