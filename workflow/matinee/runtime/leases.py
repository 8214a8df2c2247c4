"""GPU leases: stages that run side by side on one machine compute on different devices.

A lease is an exclusive lock on a file per device. The system releases it when its process ends,
however it ends, so a killed job leaves nothing behind that anyone would have to clean up.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.runtime import progress
from matinee.runtime.errors import EngineError

VARIABLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Device:
    """`name`: how CUDA_VISIBLE_DEVICES spells it; `key`: what it is called on this machine."""

    name: str
    key: str


def visible_devices() -> list[Device]:
    """The devices that this process may use.

    Those of CUDA_VISIBLE_DEVICES where it is set, all NVIDIA devices of the machine where it is
    not; none on a machine without any.
    """
    machine = _machine()
    given = os.environ.get(VARIABLE)
    if given is None:
        return [Device(uuid, uuid) for uuid in machine]
    names: list[str] = []
    for name in map(str.strip, given.split(",")):
        # CUDA itself stops reading at the first entry that names no device.
        if not name or name.startswith("-") or name in names:
            break
        names.append(name)
    return [Device(name, _key(name, machine)) for name in names]


def _machine() -> list[str]:
    """The UUIDs of the devices that the driver shows to this process, in its order."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def _key(name: str, machine: Sequence[str]) -> str:
    """One key per device: a scheduler may show every job its own device as number 0."""
    if name.isdecimal():
        return machine[int(name)] if int(name) < len(machine) else name
    return next((uuid for uuid in machine if uuid.startswith(name)), name)


@contextlib.contextmanager
def lease(
    count: int, *, folder: Path | None = None, say: Callable[[str], None] = progress.say
) -> Iterator[tuple[str, ...]]:
    """Holds `count` visible devices, makes them the only visible ones and yields their names.

    Waits while other stages hold them. On a machine without devices it yields none and changes
    nothing; with `count` 0 it hides the devices. To be entered before torch is imported. Raises
    EngineError where more devices are asked for than are visible.
    """
    devices = visible_devices()
    if count > len(devices) > 0:
        raise EngineError(
            f"The job asks for {count} GPUs, but {len(devices)} can be used here "
            f"({', '.join(device.name for device in devices)}). Ask for fewer (the rule's `gpu` "
            f"resource), or show more in {VARIABLE}."
        )
    if not devices:
        yield ()
        return
    before, told = os.environ.get(VARIABLE), False
    with contextlib.ExitStack() as locks:
        while len(held := _try(devices, count, folder or _lock_folder(), locks)) < count:
            # All or none: two jobs that each hold half of what they need would wait for ever.
            locks.close()
            if not told:
                say(f"waiting for {count} of {len(devices)} GPUs; other jobs hold them")
                told = True
            time.sleep(POLL_SECONDS * random.uniform(0.5, 1.0))
        names = tuple(device.name for device in held)
        os.environ[VARIABLE] = ",".join(names)
        try:
            yield names
        finally:
            del os.environ[VARIABLE]
            if before is not None:
                os.environ[VARIABLE] = before


def lease_until_exit(count: int) -> tuple[str, ...]:
    """A lease for the rest of this process. Raises EngineError as `lease` does."""
    stack = contextlib.ExitStack()
    names = stack.enter_context(lease(count))
    atexit.register(stack.close)
    return names


def _try(
    devices: Sequence[Device], count: int, folder: Path, locks: contextlib.ExitStack
) -> list[Device]:
    held: list[Device] = []
    for device in devices:
        if len(held) == count:
            break
        file = (folder / device.key.replace(os.sep, "_")).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        # The lease goes on where this process is replaced by a launcher of several.
        os.set_inheritable(file.fileno(), True)
        locks.callback(file.close)
        held.append(device)
    return held


def _lock_folder() -> Path:
    """On this machine's own disk: devices belong to machines, results may lie on a shared one."""
    folder = Path(tempfile.gettempdir()) / f"matinee-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
