"""Short lives: a process that has imported and computed everything once, and forks a real run for each order it reads.

Run as `python -m tests.lives DIR`. It reads one JSON order a line, and answers with how the child ended (a signal as a
negative number). An order says in which directory to go on, and how to die:

    {"directory": "..."}                       not at all
    {"directory": "...", "after": 0.2}         SIGKILL from outside, after so many seconds
    {"directory": "...", "call": 17}           SIGKILL before the 17th call that touches a file
    {"directory": "...", "bytes": 900}         by the kernel, inside the write that passes 900 bytes of any file
    {"directory": "...", "full": 900}          not, but no file may grow past 900 bytes: EFBIG from the kernel
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from lalora_kit.methods import METHODS
from lalora_kit.runs.checkpoint import save_rounds
from tests.tiny import FAST, linear_task

TASK, METHOD = linear_task(), METHODS["la-lora"]
#: Twenty clients: a round's ledger lines fill more than one buffer, so that a write can be cut in the middle.
SETTINGS = replace(FAST, clients=20, rounds=6, participation=1.0)
FULL, BROKEN = 3, 4
CALLS = {"write", "writelines", "flush", "fsync", "replace", "truncate", "open", "unlink", "rmdir", "mkdir", "close"}


def live(directory: Path) -> None:
    """Begin, or go on with, the run of a directory, to its end."""
    for _ in save_rounds(TASK, METHOD, SETTINGS, directory, resume=(directory / "settings.json").exists()):
        pass


def die_at_call(number: int) -> None:
    """SIGKILL this process just before its `number`-th call of a function that touches a file."""
    count = itertools.count(1)

    def watch(frame: Any, event: str, function: Any) -> None:
        if event == "c_call" and getattr(function, "__name__", "") in CALLS and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def child(order: dict[str, Any]) -> int:
    """One life; returns its exit code, if it gets that far."""
    if "call" in order:
        die_at_call(order["call"])
    limit = order.get("bytes", order.get("full"))
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if "bytes" in order else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        live(Path(order["directory"]))
    except OSError as error:
        full = error.errno in (errno.EFBIG, errno.ENOSPC) or "No space left on device" in str(error)
        return FULL if full else BROKEN
    return 0


def main() -> None:
    """Live once here, so that each fork starts warm; then take orders."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    live(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                code = child(order)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                code = BROKEN
            os._exit(code)
        if "after" in order:
            time.sleep(order["after"])
            os.kill(pid, signal.SIGKILL)  # until it is waited for, the id is the child's
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
