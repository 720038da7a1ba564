"""Sites and a server in one process, over the same seam as across machines; and the simulator that they must equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lalora_kit.lessons.sites.across import Near, dealt, twin
from lalora_kit.methods import EVERY, Method
from lalora_kit.privacy import Ledger
from lalora_kit.records import Round
from lalora_kit.runs.sites.places import Limit
from lalora_kit.runs.sites.site import Site
from lalora_kit.runs.sites.terms import Terms, about
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from tests.tiny import FAST

__all__ = ["KEY", "NAMES", "SETTINGS", "Near", "dealt", "method_of", "simulated", "sites_in", "terms_for", "told_of"]
NAMES = ("north", "south", "east", "west")
SETTINGS = replace(FAST, seed=None, clients=4, rounds=3)
KEY = bytes(range(16))


def method_of(name: str) -> Method:
    return EVERY[name]


def terms_for(task: Task, settings: Settings = SETTINGS, method: str = "la-lora", **changes: Any) -> Terms:
    names = NAMES[: settings.clients]
    given = {"title": "trial", "sites": names, "quorum": len(names), "timeout": 60.0, "key": KEY, **changes}
    given["quorum"] = min(given["quorum"], settings.participants)
    return Terms(settings=settings, method=method_of(method), about=about(task, method_of(method)), **given)


def sites_in(directory: Path, task: Task, clients: int = 4, epsilon: float = 10.0, **more: Any) -> dict[str, Site]:
    limit = Limit(epsilon, 1e-3)
    return {
        name: Site(directory / name, name, own, limit, **more)
        for name, own in zip(NAMES, dealt(task, clients), strict=False)
    }


def simulated(
    task: Task, terms: Terms, sites: Mapping[str, Site], ledger: Ledger, server: bytes = bytes(32)
) -> list[Round]:
    """All of `twin`."""
    return list(twin(task, terms, sites, ledger, server))


def told_of(r: Round) -> dict[str, Any]:
    """A record without its seconds."""
    return {name: value for name, value in r.to_json().items() if name != "seconds"}
