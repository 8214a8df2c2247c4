"""A network that is slow, silent, wrong or absent. What hubs get wrong is in unit/test_sources*."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from matinee.config import UrlSource
from matinee.data.sources import urls
from matinee.runtime.errors import SourceError

CONTENT = json.dumps([{"instruction": "你好", "input": "", "output": "您好"}] * 50).encode()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MATINEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urls, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(urls, "PAUSE_SECONDS", 0.0)


@contextmanager
def answering(answer: Callable[[Any], None]) -> Iterator[UrlSource]:
    """A server on loopback whose every answer the test writes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *parts: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/rows.json"
        yield UrlSource(kind="url", url=address, sha256=hashlib.sha256(CONTENT).hexdigest())
    finally:
        server.shutdown()
        server.server_close()


def fetch(source: UrlSource, tmp_path: Path) -> Path:
    urls.fetch(source, tmp_path / "raw", offline=False)
    return tmp_path / "raw/rows.json"


def head(handler: Any, length: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def test_slow_but_alive_is_waited_for(tmp_path: Path) -> None:
    pause = threading.Event()

    def drip(handler: Any) -> None:
        head(handler, len(CONTENT))
        for start in range(0, len(CONTENT), 1000):
            handler.wfile.write(CONTENT[start : start + 1000])
            handler.wfile.flush()
            pause.wait(0.1)  # slower than the whole answer may take, faster than one block may

    with answering(drip) as source:
        assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_silence_is_given_up_with_what_arrived_kept(tmp_path: Path) -> None:
    stopped = threading.Event()

    def fall_silent(handler: Any) -> None:
        head(handler, len(CONTENT))
        handler.wfile.write(CONTENT[:100])
        handler.wfile.flush()
        stopped.wait(5)

    try:
        with (
            answering(fall_silent) as source,
            pytest.raises(SourceError, match=r"broke off .*the next run goes on from there"),
        ):
            fetch(source, tmp_path)
    finally:
        stopped.set()
    assert not (tmp_path / "raw/rows.json").exists()


def test_another_page_in_its_place_is_refused(tmp_path: Path) -> None:
    """What a captive portal sends: status 200 and a page of its own."""
    page = b"<html>Please sign in</html>"

    def portal(handler: Any) -> None:
        head(handler, len(page))
        handler.wfile.write(page)

    with answering(portal) as source, pytest.raises(SourceError, match="checksum"):
        fetch(source, tmp_path)
    assert not (tmp_path / "raw/rows.json").exists()


def test_no_network_at_all_is_said(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/rows.json"
    source = UrlSource(kind="url", url=address, sha256="0" * 64)
    with pytest.raises(SourceError, match="no connection"):
        fetch(source, tmp_path)
