"""A small server on loopback that speaks a model hub's paths, and can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server offers, which faults wait, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    listed: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def promised(self, name: str) -> bytes:
        """The content whose checksum the listing gives; differs from what is sent on request."""
        return self.listed.get(name, self.files[name])

    def gets(self, part: str) -> list[dict[str, str]]:
        """Headers, in lower case, of the GET requests whose path holds `part`."""
        return [headers for verb, path, headers in self.requests if verb == "GET" and part in path]


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            hub.requests.append((self.command, self.path, headers))
            fault = next(
                (
                    waiting.pop(0)
                    for part, waiting in hub.faults.items()
                    if part in path and body and waiting
                ),
                "",
            )
            if fault.isdigit():
                self.send(int(fault), {}, b"", body)
            elif path.startswith("/api/v1/"):
                self.answer_modelscope(path, body, fault)
            elif path.startswith("/api/"):
                self.answer_api(path, body)
            elif "/resolve/" in path:
                self.answer_file(path.split("/resolve/", 1)[1].split("/", 1)[1], path, body, fault)
            elif path.startswith("/content/"):
                self.send_file(path.removeprefix("/content/"), {}, body, fault)
            else:
                self.send(404, {}, b"", body)

        def answer_api(self, path: str, body: bool) -> None:
            if path.endswith(("/revision/main", f"/revision/{COMMIT}")):
                value: Any = {
                    "id": "owner/model",
                    "sha": COMMIT,
                    "cardData": {"license": "apache-2.0"},
                    "siblings": [self.sibling(name) for name in hub.files],
                }
            elif f"/tree/{COMMIT}" in path:
                value = [self.entry(name) for name in hub.files]
            else:
                self.send(404, {"X-Error-Code": "RevisionNotFound"}, b"", body)
                return
            content = json.dumps(value).encode()
            self.send(200, {"Content-Type": "application/json"}, content, body)

        def answer_modelscope(self, path: str, body: bool, fault: str) -> None:
            question = parse_qs(urlsplit(self.path).query)
            if path.endswith("/repo/files"):
                entries = [
                    {"Path": name, "Type": "blob", "Size": len(content), "Sha256": sha256(content)}
                    for name, content in ((name, hub.promised(name)) for name in hub.files)
                ]
                answer = {"Code": 200, "Success": True, "Data": {"Files": entries}}
                headers = {"Content-Type": "application/json"}
                self.send(200, headers, json.dumps(answer).encode(), body)
            elif path.endswith("/repo") and "FilePath" in question:
                self.send_file(question["FilePath"][0], {}, body, fault)
            else:
                self.send(404, {}, b"", body)

        def sibling(self, name: str) -> dict[str, Any]:
            content = hub.promised(name)
            value = {"rfilename": name, "size": len(content), "blobId": git_id(content)}
            if is_large(name):
                large = {"sha256": sha256(content), "size": len(content), "pointerSize": 1}
                return {**value, "lfs": large}
            return value

        def entry(self, name: str) -> dict[str, Any]:
            content = hub.promised(name)
            value = {"type": "file", "path": name, "size": len(content), "oid": git_id(content)}
            if is_large(name):
                large = {"oid": sha256(content), "size": len(content), "pointerSize": 1}
                return {**value, "lfs": large}
            return value

        def answer_file(self, name: str, path: str, body: bool, fault: str) -> None:
            if name not in hub.files:
                self.send(404, {"X-Error-Code": "EntryNotFound"}, b"", body)
                return
            content = hub.promised(name)
            headers = {"X-Repo-Commit": COMMIT}
            if is_large(name):
                linked = {
                    "X-Linked-Etag": f'"{sha256(content)}"',
                    "X-Linked-Size": str(len(content)),
                }
                # Another host name, as the hub's large files come from a content network.
                elsewhere = hub.address.replace("127.0.0.1", "localhost")
                place = {"Location": f"{elsewhere}/content/{name}"}
                self.send(302, {**headers, **linked, **place}, b"", body)
            else:
                self.send_file(name, {**headers, "ETag": f'"{git_id(content)}"'}, body, fault)

        def send_file(self, name: str, headers: dict[str, str], body: bool, fault: str) -> None:
            content = hub.files[name]
            status = 200
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes=") and fault != "no-range":
                start = int(wanted.removeprefix("bytes=").split("-")[0])
                total = len(content)
                if start >= total:
                    self.send(416, {"Content-Range": f"bytes */{total}"}, b"", body)
                    return
                headers = {**headers, "Content-Range": f"bytes {start}-{total - 1}/{total}"}
                content, status = content[start:], 206
            self.send(status, headers, content, body, broken=fault == "truncate")

        def send(
            self,
            status: int,
            headers: dict[str, str],
            content: bytes,
            body: bool,
            broken: bool = False,
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if broken else content)
            if broken:
                self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            """Keeps the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
