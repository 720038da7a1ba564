"""Sites and a server in one process, over the same seam as across machines; and the simulator that they must equal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lalora_kit.federated import planned_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.records import Round
from lalora_kit.runs.sites.places import Limit
from lalora_kit.runs.sites.serving import server_plan
from lalora_kit.runs.sites.site import Site
from lalora_kit.runs.sites.terms import Terms, about
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from tests.tiny import FAST

NAMES = ("north", "south", "east", "west")
SETTINGS = replace(FAST, seed=None, clients=4, rounds=3)
KEY = bytes(range(16))


def terms_for(task: Task, settings: Settings = SETTINGS, method: str = "la-lora", **changes: Any) -> Terms:
    names = NAMES[: settings.clients]
    given = {"title": "trial", "sites": names, "quorum": len(names), "timeout": 60.0, "key": KEY, **changes}
    given["quorum"] = min(given["quorum"], settings.participants)
    return Terms(settings=settings, method=METHODS[method], about=about(task, METHODS[method]), **given)


def dealt(task: Task, clients: int) -> list[Task]:
    """Each site's own task: every n-th sample, the public test split as it is."""
    rows = [torch.arange(first, len(task.train), clients) for first in range(clients)]
    return [replace(task, name=f"own {c}", train=task.train.select(mine)) for c, mine in enumerate(rows)]


def sites_in(directory: Path, task: Task, clients: int = 4, epsilon: float = 10.0, **more: Any) -> dict[str, Site]:
    limit = Limit(epsilon, 1e-3)
    return {
        name: Site(directory / name, name, own, limit, **more)
        for name, own in zip(NAMES, dealt(task, clients), strict=False)
    }


class Near:
    """A transport to sites in this process; `late` are those that do not answer, `lost` those whose answer is lost."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites, self.late, self.lost = sites, set[str](), set[str]()
        self.said: list[tuple[str, int, bytes, bytes]] = []

    def hello(self, terms: Terms, wait: bool) -> dict[str, Any]:
        return {name: json.loads(json.dumps(site.hello(terms.text()))) for name, site in self.sites.items()}

    def ask(self, terms: Terms, t: int, names: Mapping[str, int], demand: bytes) -> Iterator[tuple[str, bytes]]:
        for name, place in names.items():
            if name not in self.late:
                reply = self.sites[name].answer(terms.text(), place, t, demand)
                self.said.append((name, t, demand, reply))
                if name not in self.lost:
                    yield name, reply


class Several(Streams):
    """Each client's randomness as its site drew it, where it is client 0."""

    def __init__(self, secrets: list[bytes]) -> None:
        super().__init__(b"".join(secrets))
        object.__setattr__(self, "own", [Streams(secret) for secret in secrets])

    def key(self, purpose: str, client: int = 0, round: int = 0, step: int = 0) -> bytes:
        return self.own[client].key(purpose, 0, round, step)


def simulated(task: Task, terms: Terms, sites: Mapping[str, Site], ledger: Ledger) -> list[Round]:
    """The simulator's rounds on the same samples, from the same adapter, with the sites' own noise."""
    settings = terms.settings
    plan: Plan = make_plan(task, terms.method, settings, ledger)
    secrets = [site.agreed[terms.name].side.run.plan.secret for site in sites.values()]
    shards = tuple(np.arange(first, len(task.train), settings.clients) for first in range(settings.clients))
    facts = {name: site.hello(terms.text()) for name, site in sites.items()}
    start = server_plan(task, terms, facts, None).start
    units = tuple(np.arange(len(shard)) for shard in shards)
    plan = replace(
        plan, shards=shards, units=units, start=start, schedule=terms.schedule, streams=Several(secrets),
        sigmas=tuple(facts[name]["sigma"] for name in terms.sites),
    )  # fmt: skip
    return list(planned_rounds(task, terms.method, settings, plan, ledger))


def told_of(r: Round) -> dict[str, Any]:
    """A record without its seconds."""
    return {name: value for name, value in r.to_json().items() if name != "seconds"}
