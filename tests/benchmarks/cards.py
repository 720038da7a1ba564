"""A card, or the CPU in its place: what it is, how fast it multiplies, how often it is waited for, what it holds."""

from __future__ import annotations

import contextlib
import gc
import platform
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lalora_kit.base.machine import bf16_in_hardware
from tests.benchmarks.speed import Step, interleaved

#: Dense tensor-core bf16 TFLOP/s by what torch calls the card, from NVIDIA's data sheets (which of the newer cards tell
#: the figure with sparsity: half of it); the first that is found holds. A share of a card (MIG) has no such figure.
DATA_SHEET = (
    (r"\bH[12]00 NVL\b", 835, "bf16"),
    (r"\bH100 PCIe\b", 756, "bf16"),
    (r"\bH100 80GB HBM3\b", 989, "bf16"),
    (r"\bH200\b", 989, "bf16"),
    (r"\bA100\b", 312, "bf16"),
    (r"\bL4\b", 121, "bf16"),
    (r"\bT4\b", 65, "fp16"),
)
SOURCE = "NVIDIA's data sheet, dense"


class TimeUp(BaseException):
    """A part has had its time. No `Exception`, so that whatever was running takes it for no fault of its own."""


def finish(device: str) -> Step:
    """What waits until the device has done all that it was given."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def about(device: str) -> dict[str, Any]:
    """What the device is, in words and numbers."""
    told: dict[str, Any] = {
        "device": device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "float32 products": torch.get_float32_matmul_precision(),
        "bf16 in hardware": bf16_in_hardware(device),
    }
    if device == "cpu":
        return {**told, "card": f"none, CPU ({platform.machine()})"}
    found = torch.cuda.get_device_properties(0)
    return {
        **told,
        "card": found.name,
        "GiB": round(found.total_memory / 2**30, 1),
        "compute capability": f"{found.major}.{found.minor}",
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
    }


def data_sheet(name: str) -> tuple[float, str] | None:
    """TFLOP/s and their precision by the card's name; None for one that is not known."""
    if "MIG" in name:
        return None
    return next(((rate, kind) for pattern, rate, kind in DATA_SHEET if re.search(pattern, name)), None)


def measured_rate(device: str, seconds: float) -> tuple[float, str]:
    """TFLOP/s of a large square product, the best within some seconds, in bf16 or, where it has none, in fp16."""
    kind = "bf16" if bf16_in_hardware(device) else "fp16"
    width = 8192 if device == "cuda" else 512
    dtype = torch.bfloat16 if kind == "bf16" else torch.float16
    a = torch.randn(width, width, device=device).to(dtype)
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, a, out=out)

    product()  # warm up
    best = min(map(min, interleaved(product, product, 20, seconds, finish(device))))
    return 2 * width**3 / best / 1e12, kind


def operations(step: Step) -> float:
    """Floating-point operations of one call, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def warned(step: Step) -> int:
    """How often the host waits for a CUDA device in one call, by torch's own warnings."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(one.message) for one in told)


def peak_on_card(make: Callable[[], Step]) -> float:
    """MiB of the card at the peak of making a step and taking it once, over what was in use before."""
    tidy()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    make()()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def tidy() -> None:
    """Give back what nobody holds any more on the card; on the CPU a peak is taken in a process of its own."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in what runs too long, where the system has timers (not on Windows) and this is the main thread.

    An operation that has begun is not broken off.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(*_: object) -> None:
        raise TimeUp(f"more than its {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
