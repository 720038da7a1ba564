"""lalora-kit: private federated LoRA fine-tuning, built to be taught with.

    from lalora_kit import METHODS, Settings, federated_rounds, load_task

The algorithm is five files beside this one: settings, plan, federated (the loop), local (a client's step), records.
README.md draws the folders. Importing the package loads no torch: each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lalora_kit.base import allocator, threads

if TYPE_CHECKING:
    from lalora_kit.auditing.attack import AuditResult, audit
    from lalora_kit.engine.adapters import Adapter
    from lalora_kit.federated import federated_rounds
    from lalora_kit.methods import METHODS, Method
    from lalora_kit.privacy import BudgetExceeded, Ledger
    from lalora_kit.records import Round, RunState
    from lalora_kit.runs.adapterfile import load_adapter
    from lalora_kit.runs.usual import settings_for
    from lalora_kit.settings import Settings
    from lalora_kit.tasks import TASKS, Task, load_task

__version__ = "0.1.0"

threads.prepare()  # before torch is loaded
allocator.prepare()

_HOME = {
    "Adapter": "engine.adapters",
    "AuditResult": "auditing.attack",
    "BudgetExceeded": "privacy",
    "Ledger": "privacy",
    "METHODS": "methods",
    "Method": "methods",
    "Round": "records",
    "RunState": "records",
    "Settings": "settings",
    "TASKS": "tasks",
    "Task": "tasks",
    "audit": "auditing.attack",
    "federated_rounds": "federated",
    "load_adapter": "runs.adapterfile",
    "load_task": "tasks",
    "settings_for": "runs.usual",
}

__all__ = [
    "METHODS",
    "TASKS",
    "Adapter",
    "AuditResult",
    "BudgetExceeded",
    "Ledger",
    "Method",
    "Round",
    "RunState",
    "Settings",
    "Task",
    "audit",
    "federated_rounds",
    "load_adapter",
    "load_task",
    "settings_for",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
