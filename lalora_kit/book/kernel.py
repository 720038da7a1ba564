"""A Jupyter kernel of this very interpreter, watched from outside and never left behind.

Jupyter looks a kernel up by name, and the `python3` that it finds first may belong to another environment
of the user. Notebooks of this package must see this package, so the kernel is started by its path.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, KernelManager

SAMPLE_SECONDS = 0.1


@dataclass
class Watch:
    """What is seen of a kernel while it runs: its manager, its processes, and their peak memory in bytes."""

    manager: KernelManager | None = None
    peak_bytes: int = 0
    processes: set[psutil.Process] = field(default_factory=set)


@contextmanager
def watched_kernel() -> Iterator[tuple[Watch, type[AsyncKernelManager]]]:
    """Yield a watch and the kernel manager class to start; at the end no process of it is alive.

    Meant for one kernel. Its processes are killed on every way out, Ctrl-C included, and what they left in the folder
    for temporary files, which is their own, goes with them.
    """
    watch, done = Watch(), threading.Event()
    scratch = TemporaryDirectory(ignore_cleanup_errors=True)

    class ThisInterpreter(AsyncKernelManager):
        """Starts the Python that runs this line, whatever kernels are installed."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            watch.manager = self
            if self.has_trait("transport_encryption") and zmq.has("curve"):
                self.transport_encryption = "auto"  # else newer kernels warn the reader of plain TCP

        async def start_kernel(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
            # What a notebook prints comes as messages; the rest is a kernel's own log, of how it was stopped.
            await super().start_kernel(*args, **{"stderr": subprocess.DEVNULL, **options})

        @property
        def kernel_spec(self) -> KernelSpec:
            # Figures stay small JSON that the page draws; plotly's other renderers add 5 MB a notebook.
            return KernelSpec(**get_kernel_dict(), env={"PLOTLY_RENDERER": "plotly_mimetype", "TMPDIR": scratch.name})

    watcher = threading.Thread(target=_watch_until, args=(watch, done), daemon=True)
    watcher.start()
    try:
        yield watch, ThisInterpreter
    finally:
        done.set()
        watcher.join()
        _look(watch)  # a kernel interrupted before the first look
        for process in watch.processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue  # the usual case: the client has shut the kernel down
        scratch.cleanup()


def _watch_until(watch: Watch, done: threading.Event) -> None:
    while not done.wait(SAMPLE_SECONDS):
        _look(watch)


def _look(watch: Watch) -> None:
    pid = getattr(getattr(watch.manager, "provisioner", None), "pid", None)
    if pid is None:
        return
    try:
        kernel = psutil.Process(pid)
        tree = {kernel, *kernel.children(recursive=True)}
    except psutil.NoSuchProcess:
        return
    watch.processes |= tree
    watch.peak_bytes = max(watch.peak_bytes, sum(map(_peak_resident, tree)))


def _peak_resident(process: psutil.Process) -> int:
    """Bytes of the largest resident set so far where the system keeps it (Linux), else of the present one.

    The system's own mark catches a peak between two looks, such as one large training step.
    """
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        try:
            return process.memory_info().rss
        except psutil.Error:
            return 0
