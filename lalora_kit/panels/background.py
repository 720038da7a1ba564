"""Background work for live figures: one run at a time, restartable, and a pause before a restart.

A callback that trains would hold the kernel, so training runs in a thread that steps a generator. Callbacks may
come from several threads at once (ipykernel's subshells), so everything here shares the caller's one lock.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any


class Debounce:
    """Calls `function` once, `wait` seconds after the last of a burst of calls."""

    def __init__(self, wait: float, function: Callable[[], object], lock: threading.RLock) -> None:
        self._wait, self._function, self._lock = wait, function, lock
        self._timer: threading.Timer | None = None

    def __call__(self) -> None:
        """Start the pause, anew if it was running."""
        with self._lock:
            self.cancel()
            self._timer = threading.Timer(self._wait, self._function)
            self._timer.daemon = True
            self._timer.start()

    def cancel(self) -> None:
        """Forget a call that is still pending."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None


class Runner:
    """Steps a generator in a thread, and hands its items over in batches.

    Every run has a number. Only the current run's items are handed over: `start` and `stop` make an older run
    stale, and it closes its generator after the item that it is at. A new run waits for that, so that two
    never compute at once.

    Args:
        lock: held while `on_items` runs; the caller changes its state under the same lock.
        on_items: takes a list of new items of the current run.
        on_end: called when a run ends and no newer one waits, with its number and its exception or None, without
            the lock: a newer run may begin meanwhile.
        flush: seconds between two batches, at least.
    """

    def __init__(
        self,
        lock: threading.RLock,
        on_items: Callable[[list[Any]], object],
        on_end: Callable[[int, Exception | None], object],
        flush: float = 0.1,
    ) -> None:
        self._lock, self._on_items, self._on_end, self._flush = lock, on_items, on_end, flush
        self._latest = self._current = 0
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], Generator[Any, None, None]]) -> int:
        """Run `work()` in the background in place of whatever runs now; returns the run's number."""
        with self._lock:
            self._latest += 1
            self._current = self._latest
            before, run = self._thread, self._latest
            self._thread = threading.Thread(target=self._loop, args=(run, work, before), daemon=True)
            self._thread.start()
            return run

    def stop(self) -> None:
        """Take no further item; the run closes its generator at the next one."""
        with self._lock:
            self._current = 0

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the newest run; whether it has ended."""
        with self._lock:  # not between a thread's making and its start
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _loop(self, run: int, work: Callable[[], Generator], before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        error: Exception | None = None
        try:
            if run == self._current:
                self._step(run, work)
        except Exception as failure:  # shown by the caller: a thread has nobody else to tell
            error = failure
        if run == self._latest:
            self._on_end(run, error)

    def _step(self, run: int, work: Callable[[], Generator]) -> None:
        held: list[Any] = []
        hand_over = partial(self._hand_over, run, held)
        last, late = -math.inf, None
        with closing(work()) as items:
            for item in items:
                with self._lock:
                    held.append(item)
                if run != self._current:
                    return
                wait = last + self._flush - time.perf_counter()
                if wait <= 0:
                    hand_over()
                    last = time.perf_counter()
                elif late is None or not late.is_alive():  # the next item may be long in coming
                    late = threading.Timer(wait, hand_over)
                    late.daemon = True
                    late.start()
        hand_over()

    def _hand_over(self, run: int, held: list[Any]) -> None:
        with self._lock:  # an item of a stale run can never land after a restart
            if held and run == self._current:
                self._on_items(list(held))
            held.clear()
