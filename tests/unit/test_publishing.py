"""Publishing with the hub's real client, against a server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from matinee.config import Publish
from matinee.config.parameters import PublishModel
from matinee.export.publishing import publish
from matinee.runtime.errors import PublishError
from matinee.stages.training import publish_model

TOKEN = "hf_only_for_this_test"
WEIGHTS = bytes(range(256)) * 64


@dataclass
class Received:
    """What the server was sent: repositories, committed files, large files by their checksum."""

    address: str = ""
    status: int = 200
    tokens: set[str | None] = field(default_factory=set)
    repositories: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    from huggingface_hub import constants

    # The hub's other protocol for large files goes to servers of its own.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.tokens.add(self.headers["Authorization"])
            if received.status != 200:
                self.answer({"error": "not yours"}, received.status)
            elif self.path == "/api/repos/create":
                received.repositories.append(json.loads(body))
                self.answer({"url": f"{received.address}/owner/chat-s42"})
            elif self.path.endswith("/preupload/main"):
                modes = [self.mode(file["path"]) for file in json.loads(body)["files"]]
                self.answer({"files": modes})
            elif self.path.endswith("/info/lfs/objects/batch"):
                self.answer(
                    {"objects": [self.upload(each) for each in json.loads(body)["objects"]]}
                )
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif not self.path.startswith("/api/models/owner/chat-s42/commit/main"):
                self.answer({"error": f"no such path: {self.path}"}, 404)
            else:
                self.commit([json.loads(line) for line in body.splitlines()])
                oid = "c0ffee" + "0" * 34
                address = f"{received.address}/owner/chat-s42/commit/{oid}"
                self.answer({"success": True, "commitOid": oid, "commitUrl": address})

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            received.large[self.path.rsplit("/", 1)[1]] = content
            self.answer({})

        def mode(self, path: str) -> dict[str, Any]:
            mode = "lfs" if path.endswith(".safetensors") else "regular"
            return {"path": path, "uploadMode": mode, "shouldIgnore": False}

        def upload(self, wanted: dict[str, Any]) -> dict[str, Any]:
            action = {"href": f"{received.address}/large/{wanted['oid']}"}
            return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": action}}

        def commit(self, lines: list[dict[str, Any]]) -> None:
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    received.files[value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    received.files[value["path"]] = received.large[value["oid"]]

        def answer(self, value: dict[str, Any], status: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Keeps the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", received.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_bytes(b"{}")
    (made / "README.md").write_text("# Card\n", encoding="utf-8")
    (made / "model.safetensors").write_bytes(WEIGHTS)
    return made


def test_every_file_arrives_in_a_repository_of_its_own(hub: Received, folder: Path) -> None:
    facts = publish(folder, "owner/chat-s42", private=True, token_env="HF_TOKEN")
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert list(hub.large) == [hashlib.sha256(WEIGHTS).hexdigest()]
    (made,) = hub.repositories
    assert (made["name"], made["organization"]) == ("chat-s42", "owner")
    assert made.get("private") is True or made.get("visibility") == "private"
    assert facts["address"] == f"{hub.address}/owner/chat-s42"
    assert facts["commit"].startswith("c0ffee")
    assert hub.tokens == {f"Bearer {TOKEN}"}


def test_gguf_files_go_along_in_a_folder_of_their_own(hub: Received, folder: Path) -> None:
    gguf = folder.parent / "gguf"
    gguf.mkdir()
    for name in ("q8_0.gguf", "Modelfile", "run.json"):
        (gguf / name).write_bytes(name.encode())
    publish(folder, "owner/chat-s42", private=True, token_env="HF_TOKEN", gguf=gguf)
    assert hub.files["gguf/q8_0.gguf"] == b"q8_0.gguf"
    assert "gguf/Modelfile" in hub.files
    assert "gguf/run.json" not in hub.files
    assert "config.json" in hub.files


@dataclass
class Site:
    """ModelScope as its client sees it: what was made, uploaded and committed."""

    address: str = ""
    status: int = 200
    tokens: set[str | None] = field(default_factory=set)
    made: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture
def modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    pytest.importorskip("modelscope_hub", reason="the optional ModelScope client is not installed")
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"Code": 200, "Data": site.made[0]} if site.made else {}, not site.made)

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            site.tokens.add(self.headers["Authorization"])
            if self.path == "/api/v1/models":
                if site.status == 200 and not site.made:
                    site.made.append(said)
                self.answer({"Code": 200, "Data": said})
            elif self.path.endswith("/owner/chat-s42/info/lfs/objects/batch"):
                self.answer({"Data": {"objects": [self.offer(one) for one in said["objects"]]}})
            else:
                assert self.path.endswith("/api/v1/repos/models/owner/chat-s42/commit/master")
                for one in said["actions"]:
                    content = site.large.get(one["sha256"])
                    site.files[one["path"]] = content or base64.b64decode(one["content"])
                self.answer({"Code": 200, "Data": {}, "Success": True})

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            site.large[self.path.rsplit("/", 1)[1]] = content
            self.answer({})

        def offer(self, wanted: dict[str, Any]) -> dict[str, Any]:
            place = {"href": f"{site.address}/large/{wanted['oid']}"}
            return {"oid": wanted["oid"], "actions": {"upload": place}}

        def answer(self, value: dict[str, Any], missing: bool = False) -> None:
            content = json.dumps(value).encode()
            self.send_response(404 if missing else site.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Keeps the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", site.address)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "only-for-this-test")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


def on_modelscope(folder: Path, **more: Any) -> dict[str, str]:
    return publish(
        folder,
        "owner/chat-s42",
        private=True,
        token_env="MODELSCOPE_API_TOKEN",
        hub="modelscope",
        **more,
    )


def test_every_file_arrives_on_modelscope(modelscope: Site, folder: Path) -> None:
    before = sorted(folder.iterdir())
    gguf = folder.parent / "gguf"
    gguf.mkdir()
    (gguf / "q8_0.gguf").write_bytes(b"GGUF")
    facts = on_modelscope(folder, gguf=gguf)
    expected = {path.name: path.read_bytes() for path in before} | {"gguf/q8_0.gguf": b"GGUF"}
    assert modelscope.files == expected
    assert list(modelscope.large) == [hashlib.sha256(WEIGHTS).hexdigest()]
    (made,) = modelscope.made
    assert (made["Path"], made["Name"], made["Visibility"]) == ("owner", "chat-s42", 1)
    assert made["License"] == "other", "the start model's licence is not the client's to say"
    assert facts == {"address": f"{modelscope.address}/models/owner/chat-s42", "commit": ""}
    assert modelscope.tokens == {"Bearer only-for-this-test"}
    assert sorted(folder.iterdir()) == before, "nothing is left in the model's folder"


def test_a_refusal_of_modelscope_names_the_repository_and_not_the_token(
    modelscope: Site, folder: Path
) -> None:
    modelscope.status = 403
    with pytest.raises(PublishError, match=r"owner/chat-s42 could not be uploaded") as caught:
        on_modelscope(folder)
    assert "only-for-this-test" not in str(caught.value)
    assert modelscope.files == {}


def test_the_client_of_modelscope_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "x")
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(PublishError, match="pip install modelscope-hub"):
        on_modelscope(folder)


def test_the_record_says_where_it_went_and_not_the_token(
    hub: Received, folder: Path, tmp_path: Path
) -> None:
    record = tmp_path / "publish.json"
    told = PublishModel(repository="owner/chat-s42", private=False, token_env="HF_TOKEN")
    publish_model(told, folder, record)
    text = record.read_text(encoding="utf-8")
    assert json.loads(text)["facts"]["address"] == f"{hub.address}/owner/chat-s42"
    assert TOKEN not in text


def test_without_a_token_nothing_is_sent(
    hub: Received, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PublishError, match=r"set the variable HF_TOKEN.*same command again"):
        publish(folder, "owner/chat-s42", private=True, token_env="HF_TOKEN")
    assert hub.tokens == set()


def test_a_refusal_names_the_repository_and_not_the_token(hub: Received, folder: Path) -> None:
    hub.status = 403
    with pytest.raises(PublishError, match=r"owner/chat-s42 could not be uploaded.*403") as caught:
        publish(folder, "owner/chat-s42", private=True, token_env="HF_TOKEN")
    assert TOKEN not in str(caught.value)


def test_the_name_tells_variant_and_seed() -> None:
    assert Publish(owner="owner").repository("chat", 42) == "owner/chat-s42"
    assert Publish(owner="owner", name="yi-{variant}").repository("chat", 1) == "owner/yi-chat"


def test_each_hub_has_its_own_variable_for_the_token() -> None:
    assert Publish(owner="owner").token_variable == "HF_TOKEN"
    assert Publish(owner="owner", hub="modelscope").token_variable == "MODELSCOPE_API_TOKEN"
    assert Publish(owner="owner", token_env="MINE").token_variable == "MINE"
