"""A server as the engine: started, asked, and gone afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny import tokenizer

from matinee.config import Limits
from matinee.config.parameters import RunScenarios
from matinee.engines import servers
from matinee.engines.base import Completion, Request
from matinee.engines.servers import Kind, ServedEngine, ServedModel
from matinee.runtime.errors import EngineError
from matinee.stages.evaluation import run_scenarios

STAND_IN = Path(__file__).with_name("stand_in.py")
CALLED = shlex.join([sys.executable, str(STAND_IN)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, as far as a server's client reads it."""
    made = tmp_path_factory.mktemp("model")
    tokenizer().save_pretrained(made)
    return made


def served(folder: Path, log: Path, command: str = CALLED, kind: Kind = "vllm") -> ServedEngine:
    return ServedEngine(ServedModel(kind, command, folder, folder, "chatml_hermes"), log)


def ask(engine: ServedEngine, *keys: str) -> dict[str, Completion]:
    answers: dict[str, Completion] = {}
    asked = [Request(key, ({"role": "user", "content": "?"},), (), 8) for key in keys]

    def reply(request: Request, completion: Completion) -> None:
        answers[request.key] = completion

    engine.serve(asked, reply)
    return answers


def ends(file: Path) -> bool:
    """Whether the process whose number the file holds is gone, or goes soon."""
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(int(file.read_text()))
        with contextlib.suppress(psutil.TimeoutExpired):
            # Whoever inherits it may not have noticed yet.
            return child.status() == psutil.STATUS_ZOMBIE or child.wait(30) is None
        return child.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("kind", ["vllm", "llama_cpp"])
def test_every_request_is_answered_raw_and_nothing_is_left(
    folder: Path, tmp_path: Path, kind: Kind
) -> None:
    command = f"{CALLED} --child {tmp_path / 'child'} --seen {tmp_path / 'seen'}"
    engine = served(folder, tmp_path / "0.server.log", command, kind)
    assert engine.form == "hermes"
    answers = ask(engine, "a", "b", "c")
    assert {one.text for one in answers.values()} == {"你好"}
    assert {(one.prompt_tokens, one.completion_tokens) for one in answers.values()} == {(7, 2)}
    body = json.loads((tmp_path / "seen").read_text().splitlines()[0])
    assert body["tool_choice"] == "none"
    assert (tmp_path / "0.server.log").read_text().startswith("loading")
    assert ends(tmp_path / "child")


def test_a_stage_tests_its_subject_in_a_server(folder: Path, tmp_path: Path) -> None:
    scenario = {
        "id": "hello",
        "category": "no_tool",
        "family": "hello",
        "turns": [{"user": "你好", "calls": []}],
    }
    suite = {"id": "zh", "today": "2024-01-25", "tools": [], "scenarios": [scenario]}
    (tmp_path / "zh.json").write_text(json.dumps(suite), encoding="utf-8")
    told = RunScenarios(
        subject="chat-tuned-s42",
        form="hermes",
        template="chatml_hermes",
        reference=None,
        engine="vllm",
        server=CALLED,
        fixtures=None,
        part=0,
        limits=Limits(),
    )
    output = tmp_path / "parts/0.jsonl"
    run_scenarios(told, tmp_path / "zh.json", output, folder)
    (played,) = map(json.loads, output.read_text(encoding="utf-8").splitlines())
    assert [step["text"] for step in played["steps"]] == ["你好"]
    assert (tmp_path / "parts/0.server.log").read_text().startswith("loading")
    assert json.loads((tmp_path / "parts/0.run.json").read_text())["parameters"]["engine"] == "vllm"


def test_a_template_of_ours_goes_to_the_server(folder: Path, tmp_path: Path) -> None:
    ask(served(folder, tmp_path / "log"), "a")
    assert "--chat-template " in (tmp_path / "log").read_text()


def test_vllm_takes_the_model_right_behind_its_command(folder: Path, tmp_path: Path) -> None:
    ask(served(folder, tmp_path / "log", f"{CALLED} serve --dtype half"), "a")
    assert (tmp_path / "log").read_text().startswith(f"loading serve {folder} --dtype half ")


def test_flags_of_the_users_stand_in_place_of_ours(folder: Path, tmp_path: Path) -> None:
    ask(served(folder, tmp_path / "log", f"{CALLED} --dtype half"), "a")
    log = (tmp_path / "log").read_text()
    assert "--dtype half" in log
    assert log.count("--dtype") == 1


def test_a_server_that_dies_while_it_loads_is_quoted(folder: Path, tmp_path: Path) -> None:
    engine = served(folder, tmp_path / "log", f"{CALLED} --dies-loading")
    with pytest.raises(EngineError, match=r"(?s)status 1.*not enough memory for the weights"):
        ask(engine, "a")


def test_a_server_that_dies_while_it_is_asked_is_quoted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_RETRIES", 0)
    engine = served(folder, tmp_path / "log", f"{CALLED} --dies-asked")
    with pytest.raises(EngineError, match=r"(?s)status 9.*CUDA error: out of memory"):
        ask(engine, "a")


def test_a_server_that_fails_without_an_end_is_quoted_too(folder: Path, tmp_path: Path) -> None:
    engine = served(folder, tmp_path / "log", f"{CALLED} --fails")
    with pytest.raises(EngineError, match=r"(?s)HTTP 400.*EngineDeadError: the worker timed out"):
        ask(engine, "a")


def test_a_program_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    engine = served(folder, tmp_path / "log", "no-such-server serve")
    with pytest.raises(
        EngineError, match=r"'no-such-server' is not installed.*evaluation\.servers"
    ):
        ask(engine, "a")


@pytest.fixture
def other() -> Iterator[int]:
    """The port of a server that is not ours, and lists a model too."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": [{"id": "gpt"}]}')

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_another_port_is_tried_where_the_chosen_one_was_taken(
    folder: Path, tmp_path: Path, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = servers._free_port
    ports = iter([other])
    monkeypatch.setattr(servers, "_free_port", lambda: next(ports, 0) or free())
    assert ask(served(folder, tmp_path / "log"), "a")["a"].text == "你好"
    monkeypatch.setattr(servers, "_free_port", lambda: other)
    with pytest.raises(EngineError, match="in use"):
        ask(served(folder, tmp_path / "log"), "a")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path, number: int) -> None:
    script = f"""
import signal, sys
from pathlib import Path
from matinee.engines.servers import running
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as every stage does
command = lambda port, name: [
    *{[sys.executable, str(STAND_IN)]!r}, "--child", sys.argv[1], "--alias", name,
    "--host", "127.0.0.1", "--port", str(port),
]
with running(command, Path(sys.argv[2])) as server:
    print("up", flush=True)
    sys.stdin.read()
"""
    arguments = [str(tmp_path / "child"), str(tmp_path / "log")]
    stage = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(servers.__file__).parents[2])},
    )
    assert stage.stdout is not None
    assert stage.stdin is not None
    assert stage.stdout.readline() == b"up\n"
    assert psutil.pid_exists(int((tmp_path / "child").read_text()))
    stage.send_signal(number)
    stage.wait()
    assert ends(tmp_path / "child")
    stage.stdin.close()
    stage.stdout.close()
