"""Runs a program that must not outlive whoever started it: `python -I guard.py PROGRAM …`.

Standard input is the tie: it ends when the starter closes it or dies, even killed. Then the
program and all that it started are ended, politely first. Imports nothing of the package, so that
it needs no path.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 10.0  # seconds


def main() -> None:
    """Waits for the program or for the end of standard input; exits as the program did."""
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def end_with_starter() -> None:
        sys.stdin.buffer.read()
        _signal(program.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(PATIENCE)
        _signal(program.pid, signal.SIGKILL)

    threading.Thread(target=end_with_starter, daemon=True).start()
    status = program.wait()
    _signal(program.pid, signal.SIGKILL)  # what it left behind
    os._exit(status if status >= 0 else 128 - status)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    main()
