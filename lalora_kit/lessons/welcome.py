"""Welcome: where a notebook runs (Colab, Binder, one's own machine) and what it has there, in one line."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version

from lalora_kit.base import threads
from lalora_kit.base.machine import available_memory, bf16_in_hardware
from lalora_kit.base.network import answers, hub_address

PATIENCE = 1.0  # seconds that the network has to answer


def place() -> str:
    """`Colab`, `Binder` or `this machine`, by what each sets in a kernel."""
    if "google.colab" in sys.modules:
        return "Colab"
    return "Binder" if "BINDER_SERVICE_HOST" in os.environ else "this machine"


def here() -> None:
    """Turn third-party widgets on where they are off, settle threads, and say in one line what was found."""
    where = place()
    if where == "Colab":
        from google.colab import output  # type: ignore[import-not-found, import-untyped]

        output.enable_custom_widget_manager()
    threads.settle()
    print(found(where))


def found(where: str) -> str:
    """Versions, device, bf16, memory and network, in one line."""
    import torch

    cuda = torch.cuda.is_available()
    device = f"GPU {torch.cuda.get_device_name()}" if cuda else f"{os.cpu_count()} CPU cores"
    native = bf16_in_hardware("cuda" if cuda else "cpu")
    hub = hub_address()
    parts = [
        f"lalora-kit {version('lalora-kit')} on {where}",
        f"Python {platform.python_version()}",
        f"torch {version('torch')}",
        f"{device}, {'with' if native else 'no'} bf16",
        f"{available_memory() / 1e9:.0f} GB free",
        "hub reached" if hub and answers(hub, PATIENCE) else "offline",
    ]
    return ", ".join(parts)
