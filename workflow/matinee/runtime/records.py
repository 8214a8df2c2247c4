"""What every stage leaves beside its artefact: whole files, and a `run.json` that says how."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
import re
import resource
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from matinee.runtime.errors import DataError

Record = TypeVar("Record", bound=BaseModel)
Decoded = TypeVar("Decoded")

SOFTWARE = ("matinee", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A sibling path to write a file or folder to; it takes `path`'s place only on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    beside = path.with_name(f".{path.name}.{host}.{os.getpid()}.part")
    _remove_abandoned(path, host)
    try:
        yield beside
        if path.is_dir():
            _remove(path)
        beside.replace(path)
    finally:
        _remove(beside)


def _remove_abandoned(path: Path, host: str) -> None:
    """Removes what processes of this machine left beside `path` when they were killed."""
    for left in path.parent.glob(f".{glob.escape(f'{path.name}.{host}')}.*.part"):
        number = left.name.split(".")[-2]
        if number == str(os.getpid()) or (number.isdecimal() and not _is_alive(int(number))):
            _remove(left)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all."""
    with whole(path) as beside:
        beside.write_text(
            json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def damaged(path: Path | str, why: object) -> DataError:
    """What to say of a file below the results that cannot be used."""
    return DataError(
        f"{path}: damaged ({why}). Delete the file and give the same command again: it is made "
        "anew."
    )


def _decode(path: Path | str, read: Callable[[], Decoded]) -> Decoded:
    try:
        return read()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise damaged(path, f"{place}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def read_json(path: Path) -> Any:
    """The decoded file. Raises DataError where it is damaged."""
    return _decode(path, lambda: json.loads(path.read_bytes()))


def read_record(path: Path, kind: type[Record]) -> Record:
    """The record that the file holds. Raises DataError where it is damaged."""
    return _decode(path, lambda: kind.model_validate_json(path.read_bytes()))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes JSON Lines, whole or not at all."""
    with whole(path) as beside, beside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _lines(path: Path, decode: Callable[[bytes], Decoded]) -> Iterator[Decoded]:
    with path.open("rb") as lines:
        # Only a line feed ends a line: model text may hold U+2028, which JSON leaves as it is.
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _decode(f"{path}:{number}", partial(decode, line))


def read_texts(path: Path) -> Iterator[str]:
    """The lines of a text file, with their ends. Raises DataError with the one that is no UTF-8."""
    return _lines(path, lambda line: line.decode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file. Raises DataError with the line that is damaged."""
    return list(_lines(path, json.loads))


def read_records(path: Path, kind: type[Record]) -> Iterator[Record]:
    """The records of a JSON Lines file. Raises DataError with the line that is damaged."""
    return _lines(path, kind.model_validate_json)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in SOFTWARE:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and, where torch has been imported, the accelerators."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
    }
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        found["visible_devices"] = visible.split(",")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["accelerators"] = [
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        ]
    return found


def peak_memory_mb() -> float:
    """The largest resident set of this process so far, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: its figure begins with the peak of the process that started this one.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found is not None:
            return round(int(found[1]) * 1024 / 1e6, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def command() -> str | None:
    """The command line of this stage, to be copied; None where it was called in another way."""
    if Path(sys.argv[0]).name != "run.py":
        return None
    return shlex.join(["matinee", *sys.argv[1:]])


def _redacted(value: Any) -> Any:
    """The value without tokens and passwords, which an address may hold."""
    from matinee.runtime.redaction import redact

    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value


class Recorder:
    """Collects what made an artefact, and writes it as `run.json`."""

    def __init__(self, stage: str, parameters: BaseModel | dict[str, Any]) -> None:
        self.stage = stage
        if isinstance(parameters, BaseModel):
            parameters = parameters.model_dump(mode="json")
        self.parameters = parameters
        self.facts: dict[str, Any] = {}
        self._started = time.time()
        self._clock = time.perf_counter()

    def add(self, **facts: Any) -> None:
        """Adds facts found while the stage ran, such as a resolved revision."""
        self.facts.update(facts)

    def summary(self) -> str:
        """Wall time and peak memory so far, for the line that a person sees."""
        from matinee.runtime.progress import duration

        return f"{duration(time.perf_counter() - self._clock)}, {peak_memory_mb() / 1000:.2f} GB"

    def write(self, path: Path) -> None:
        """Writes `run.json`: what was asked, found and used, and the time and memory it took."""
        write_json(
            path,
            {
                "stage": self.stage,
                "parameters": _redacted(self.parameters),
                "facts": _redacted(self.facts),
                "command": _redacted(command()),
                "versions": versions(),
                "hardware": hardware(),
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
                "wall_seconds": round(time.perf_counter() - self._clock, 3),
                "peak_memory_mb": peak_memory_mb(),
            },
        )
