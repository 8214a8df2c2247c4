"""A file at an address: streamed, resumed where it broke off, checked against its checksum."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from matinee.config import UrlSource
from matinee.data.sources.integrity import (
    Algorithm,
    cache_folder,
    file_name,
    in_cache,
    link_or_copy,
    require,
)
from matinee.runtime.errors import SourceError
from matinee.runtime.redaction import redact

ATTEMPTS = 4
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
BLOCK_BYTES = 1 << 18


def fetch(source: UrlSource, folder: Path, *, offline: bool) -> dict[str, Any]:
    """Leaves the file in `folder` under the last part of its address. Raises SourceError."""
    here = kept(source)
    algorithm: Algorithm = "sha1" if source.sha256 is None else "sha256"

    def download() -> None:
        part = here.with_name(here.name + ".part")
        _download(source.url, part)
        require(part, algorithm, _promised(source), source.url)
        part.replace(here)

    in_cache(here, algorithm, _promised(source), offline, download)
    link_or_copy(here, folder / here.name)
    return {"revision": redact(source.url), "commit": _promised(source), "licence": ""}


def _promised(source: UrlSource) -> str:
    return str(source.sha256 or source.sha1)


def kept(source: UrlSource) -> Path:
    """Where the whole file lies in the cache, once it is there."""
    name = PurePosixPath(unquote(urlsplit(source.url).path)).name
    return cache_folder() / "urls" / _promised(source) / file_name(name)


def _download(url: str, part: Path) -> None:
    """Appends to `part` until the file is whole; passing trouble is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _receive(url, part):
                return
            problem = "the connection broke off"
        except urllib.error.HTTPError as error:
            problem = f"the server answered with status {error.code}"
            if error.code < 500 and error.code != 429:
                raise SourceError(problem) from error
        except urllib.error.URLError as error:
            raise SourceError(f"no connection ({error.reason})") from error
        except (HTTPException, OSError) as error:
            problem = f"the connection broke off ({type(error).__name__})"
        if attempt < ATTEMPTS:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
    raise SourceError(
        f"{problem}, {ATTEMPTS} times; what arrived ({part.stat().st_size if part.exists() else 0} "
        "bytes) is kept, and the next run goes on from there"
    )


def _receive(url: str, part: Path) -> bool:
    """One request, from where `part` ends. True when the promised length has arrived."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "matinee", **({"Range": f"bytes={have}-"} if have else {})}
    request = urllib.request.Request(url, headers=headers)
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            # Nothing is left to send; the checksum says whether that is the whole file.
            return True
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        received = 0
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK_BYTES):
                file.write(block)
                received += len(block)
    return length is None or received == int(length)
