"""Steps: what is done before the first result, named where it is done, and told by whoever listens while it lasts.

Nothing here prints: without a listener a step costs nothing. The command line listens (`lalora_kit.cli.waiting`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LONG = 1.0  # seconds from which on a step is told

Say = Callable[[str], object]
_SAY: ContextVar[Say | None] = ContextVar("say", default=None)


@contextmanager
def telling(say: Say) -> Iterator[None]:
    """Within the block, steps of this thread that take longer than `LONG` are told to `say`, a line at a time."""
    before = _SAY.set(say)
    try:
        yield
    finally:
        _SAY.reset(before)


@contextmanager
def step(what: str) -> Iterator[None]:
    """One step, as a block or around a function: `what` is told once it has taken long, its seconds when it is done.

    >>> with telling(print), step("counting to three"):
    ...     pass
    """
    say = _SAY.get()
    if say is None:
        yield
        return
    started = time.perf_counter()
    timer = threading.Timer(LONG, say, [f"{what} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # else what it says could come after what follows
    seconds = time.perf_counter() - started
    if seconds > LONG:
        say(f"{what}: {seconds:.1f} s")
