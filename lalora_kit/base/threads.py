"""Threads: how many torch may use, chosen in one place, by what the process may use and by the size of the work.

On a small backbone a second thread wins little, and where anything else runs the two spin and wait for each other: see
`tests.benchmarks.threads` for what a round then costs. And torch by itself takes a thread for each core of the machine,
though a container may be granted one of 64. So importing the kit, before torch, lets torch begin with the
cores that are granted, and wait without spinning; and a run takes one thread for a small backbone.
A notebook of the kit does all else with one thread too (`settle`).

What a user has set wins, in this order: `Settings(threads=)` or `--threads`, the variable `LALORA_THREADS`,
`OMP_NUM_THREADS`, `torch.set_num_threads`.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "LALORA_THREADS"
OURS = "LALORA_OMP_NUM_THREADS"  # says to this process and its children that OMP_NUM_THREADS was set here, by nobody
SMALL = 2_000_000  # parameters of a backbone up to which a second thread wins little
CGROUP = Path("/sys/fs/cgroup")
_SETTLED: list[int] = []  # what `settle` has set, which is nobody's wish
_OUTSIDE = threading.local()  # `count`: what torch had before the outermost `torch_threads` of this thread


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: its affinity, and a container's quota (cgroup v2, v1), rounded up."""
    try:
        granted: float = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        granted = os.cpu_count() or 1
    return max(1, math.ceil(min(granted, quota(cgroup))))


def quota(cgroup: Path = CGROUP) -> float:
    """Cores' worth of time that a container may take; infinite where nothing bounds it, or nothing can be read."""
    for period, limit in ((None, "cpu.max"), ("cpu/cpu.cfs_period_us", "cpu/cpu.cfs_quota_us")):
        try:
            words = (cgroup / limit).read_text(encoding="utf-8").split()
            words += (cgroup / period).read_text(encoding="utf-8").split() if period else []
            allowed, of = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):
            continue  # no such file here, or "max": no bound
        if allowed > 0 and of > 0:
            return allowed / of
    return math.inf


def prepare() -> None:
    """Before torch is loaded: as many threads as cores are granted, and no spinning; what is set already stays."""
    if "torch" in sys.modules:
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = os.environ[OURS] = str(usable_cores())


def set_by_user() -> int | None:
    """Threads that a user asked for by a variable or by `torch.set_num_threads`; None if nobody did.

    Raises:
        ValueError: if `LALORA_THREADS` is no whole number from 1.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        if not named.isdecimal() or int(named) < 1:
            raise ValueError(f"{VARIABLE}={named!r} is no number of threads; give a whole number from 1, or unset it")
        return int(named)
    now: int = getattr(_OUTSIDE, "count", None) or importlib.import_module("torch").get_num_threads()
    begun = os.environ.get("OMP_NUM_THREADS")
    if begun is not None and begun != os.environ.get(OURS):
        return now
    cores = {usable_cores()} if begun else {os.cpu_count() or 1, usable_cores()}
    begins = cores | {max(1, n // 2) for n in cores}  # where a core has two threads, torch may count cores
    return None if now in begins or now in _SETTLED else now


def threads_for(parameters: int, asked: int | None = None) -> int:
    """Threads for work on a backbone of so many parameters: as asked, as the user has set, or by its size."""
    chosen = asked if asked is not None else set_by_user()
    if chosen is not None:
        return chosen
    return 1 if parameters < SMALL else usable_cores()


def settle() -> None:
    """One thread from here on, in a process whose work outside of runs is small, such as a lesson's; a user's wins."""
    if set_by_user() is None:
        _SETTLED[:] = [1]
        importlib.import_module("torch").set_num_threads(1)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads, and leave torch as it was."""
    torch = importlib.import_module("torch")
    before, outermost = torch.get_num_threads(), getattr(_OUTSIDE, "count", None) is None
    if outermost:
        _OUTSIDE.count = before
    if count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if outermost:
            _OUTSIDE.count = None
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
