"""The machine: its device, memory that is free, whether bf16 is in hardware, what an error says when memory ran out."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, and torch's on CUDA and on the CPU, which has no type."""
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory")
    )


def available_memory() -> int:
    """Bytes that a new process can have, a container's own limit included; -1 where that cannot be told."""
    try:
        free = importlib.import_module("psutil").virtual_memory().available
    except ImportError:
        return -1
    for limit, used in CGROUPS:
        try:
            free = min(free, int(Path(limit).read_text(encoding="utf-8")) - int(Path(used).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue  # no such limit here: `max`, or no such file
    return max(0, free)


def bf16_in_hardware(device: str) -> bool:
    """Whether a device ("cpu", "cuda", "cuda:1") multiplies bf16 itself; of a CPU Linux tells, elsewhere it is no."""
    if device.startswith("cuda"):
        cuda = importlib.import_module("torch").cuda
        return cuda.is_available() and cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def check_device(name: str) -> None:
    """A device that torch does not know, does not find here, or cannot add up float64 on is refused."""
    torch = importlib.import_module("torch")
    try:
        torch.ones(1, dtype=torch.float64, device=name).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"device={name!r} cannot be used: torch does not know it or does not find it on this machine; "
            "use cpu, or cuda where there is a GPU"
        ) from error


def device_name(name: str) -> str:
    """A device's kind and model, without the number of the slot."""
    kind = name.split(":")[0]
    on_card = kind == "cuda"
    return f"{kind} {importlib.import_module('torch').cuda.get_device_name(name) if on_card else platform.machine()}"
