"""The C library's allocator, told once to keep what a step frees, which the next step takes again.

By itself glibc gives freed memory back to the system after each step, and each page of it costs a fault when it comes
back: a twentieth of a small task's round (`tests.benchmarks.allocator`). Up to `KEPT` bytes stay with the process.

torch, asked by a variable, puts its blocks of 2 MiB and more on huge pages, where the system lets it. By the same
measure a round on `mnist` takes 4 % less (9 pairs, 8 clients, an AMD EPYC), and its peak is 1.8 GiB, not 2.9.
"""

from __future__ import annotations

import os
import sys

KEPT = 256 << 20  # bytes that are free at the heap's end before the rest goes back
WHOLE = 32 << 20  # bytes from which on a block is the system's own, and goes back at once; glibc takes no more
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
HUGE = "THP_MEM_ALLOC_ENABLE"  # torch's own variable
SET = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")


def prepare() -> None:
    """Before torch is loaded: huge pages for its large blocks; what is set already stays."""
    if sys.platform == "linux" and "torch" not in sys.modules:
        os.environ.setdefault(HUGE, "1")


def set_by_user() -> bool:
    """Whether a user has said how glibc is to allocate: by one of its variables, or by its tunables."""
    return any(name in os.environ for name in SET) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")


def keep_freed_memory() -> bool:
    """Keep up to `KEPT` bytes that were freed; whether it is so now. Only glibc can be told, and a user's wish wins."""
    if sys.platform != "linux" or set_by_user():
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
    except (ValueError, OSError):  # another C library
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_TRIM_THRESHOLD, KEPT) and mallopt(_MMAP_THRESHOLD, WHOLE))
