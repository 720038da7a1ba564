"""Across: sites in one process, over the seam that Flower carries elsewhere; the simulator beside them; a cheat.

What crosses is what crosses a network: the same bytes, which `Near` keeps. The simulator can only be the same run
because it is given the sites' secrets, which here lie in one hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, Side, planned_rounds
from lalora_kit.methods import Method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.records import Round
from lalora_kit.runs.sites.places import Limit
from lalora_kit.runs.sites.serving import serve, server_plan
from lalora_kit.runs.sites.site import Site
from lalora_kit.runs.sites.terms import Terms, about
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

NAMES = ("north", "south", "east", "west", "hill", "lake", "wood", "moor")


class Near:
    """A transport to sites in this process; `late` do not answer, the answers of those in `lost` do not arrive."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites, self.late, self.lost = sites, set[str](), set[str]()
        self.said: list[tuple[str, int, bytes, bytes]] = []  # site, round, demand, reply

    def hello(self, terms: Terms, wait: bool) -> dict[str, Any]:
        """What all sites say of themselves, as it would come out of a message."""
        return {name: json.loads(json.dumps(site.hello(terms.text()))) for name, site in self.sites.items()}

    def ask(self, terms: Terms, t: int, names: Mapping[str, int], demand: bytes) -> Iterator[tuple[str, bytes]]:
        """The sites' replies, one after the other."""
        for name, place in names.items():
            if name not in self.late:
                reply = self.sites[name].answer(terms.text(), place, t, demand)
                self.said.append((name, t, demand, reply))
                if name not in self.lost:
                    yield name, reply


class Several(Streams):
    """Each client's randomness as its site drew it, where it is client 0; `opens` is the server's."""

    own: list[Streams]
    server: Streams

    def __init__(self, secrets: list[bytes], server: bytes) -> None:
        super().__init__(b"".join(secrets))
        object.__setattr__(self, "own", [Streams(secret) for secret in secrets])
        object.__setattr__(self, "server", Streams(server))

    def key(self, purpose: str, client: int = 0, round: int = 0, step: int = 0) -> bytes:
        """The key of a stream of the client's own site."""
        return (self.server if purpose == "opens" else self.own[client]).key(purpose, 0, round, step)


class Pair(NamedTuple):
    """One round of one run, computed twice: over sites, and by the simulator."""

    sites: Round
    simulator: Round

    def apart(self) -> float:
        """The largest difference of two entries of the server's model; 0 where they are equal bit for bit."""
        there, here = self.sites.adapter.tensors, self.simulator.adapter.tensors
        return max(float((there[key] - here[key]).abs().max()) for key in here)


def dealt(task: Task, clients: int) -> list[Task]:
    """Each site's own task: every n-th sample, and the public test split as it is."""
    rows = [torch.arange(first, len(task.train), clients) for first in range(clients)]
    return [replace(task, name=f"own {c}", train=task.train.select(mine)) for c, mine in enumerate(rows)]


def opened(directory: Path, task: Task, limits: Mapping[str, Limit]) -> dict[str, Site]:
    """A site of each name, with its share of the training samples and its own limit on ε, kept below `directory`."""
    shares = zip(limits.items(), dealt(task, len(limits)), strict=True)
    return {name: Site(directory / name, name, own, limit) for (name, limit), own in shares}


def terms_of(task: Task, method: Method, settings: Settings, title: str = "lesson", quorum: int | None = None) -> Terms:
    """Terms between a site for each client; a seed is no part of them, for whoever has it knows the noise."""
    if settings.clients > len(NAMES):
        raise ValueError(f"clients={settings.clients} are more sites than have names here; take {len(NAMES)} at most")
    return Terms(
        title=title, sites=NAMES[: settings.clients], quorum=quorum or settings.participants, timeout=60.0,
        settings=replace(settings, seed=None), method=method, key=os.urandom(16), about=about(task, method),
    )  # fmt: skip


def twin(
    task: Task, terms: Terms, sites: Mapping[str, Site], ledger: Ledger, server: bytes = bytes(32)
) -> Iterator[Round]:
    """The simulator's rounds on the same samples, from the same adapter, with the sites' own noise.

    `server` is the server's secret, which matters to methods that draw something anew at each round.
    """
    settings, clients = terms.settings, terms.settings.clients
    plan = make_plan(task, terms.method, settings, ledger)
    facts = {name: site.hello(terms.text()) for name, site in sites.items()}
    secrets = [site.agreed[terms.name].side.run.plan.secret for site in sites.values()]
    shards = tuple(np.arange(first, len(task.train), clients) for first in range(clients))
    plan = replace(
        plan, shards=shards, units=tuple(np.arange(len(shard)) for shard in shards), schedule=terms.schedule,
        start=server_plan(task, terms, facts, None).start, streams=Several(secrets, server),
        sigmas=tuple(facts[name]["sigma"] for name in terms.sites),
    )  # fmt: skip
    yield from planned_rounds(task, terms.method, settings, plan, ledger)


def side_by_side(task: Task, terms: Terms, near: Near, directory: Path, ledger: Ledger) -> Iterator[Pair]:
    """The same run over sites, its server kept in `directory`, and simulated; a round of each at a time."""
    walk = serve(task, terms, directory, near)
    for here, there in zip(twin(task, terms, near.sites, ledger), walk, strict=True):
        yield Pair(there, here)


class Replayed(NamedTuple):
    """What a server learns that asks one round of a naive site twice, entry by entry of the factors' gradient."""

    truth: Tensor  # the clipped gradient, without noise
    answer: Tensor  # what one answer shows of it
    difference: Tensor  # what two answers with the same noise show

    @property
    def error(self) -> float:
        """The largest difference between what was read and what is true."""
        return float((self.difference - self.truth).abs().max())


def replayed(task: Task, method: Method, settings: Settings, server: Adapter) -> Replayed:
    """A site without a journal, asked for one round twice: with the server's model, and with its A and B at zero.

    Where both factors are zero, no gradient reaches either of them. So of the second answer nothing is left but its
    noise, and that is the noise of the first. What is looked at is the first step's release, in float64.
    """
    plan = make_plan(task, method, replace(settings, clients=1, seed=None), Ledger())
    engine = Engine(task, settings.scale, max_samples=plan.max_samples)
    active, [sigma] = plan.start.keys(method.trains(1, 1)), plan.sigmas
    factors = {key: server.tensors[key] for key in server.tensors if key[0] != "head"}
    empty = server.with_tensors({key: torch.zeros_like(value) for key, value in factors.items()})

    def told(adapter: Adapter, sigma: float) -> Tensor:
        seen: list[Tensor] = []
        naive = replace(plan, sigmas=(sigma,))
        run = Run(task, method, settings, naive, engine, Ledger(), lambda c, t, k, release: seen.append(release))
        Side(run).local_round(adapter, 1)
        return seen[0]

    mine = torch.cat([torch.full((server.tensors[key].numel(),), key in factors) for key in active])
    first, second, truth = told(server, sigma), told(empty, sigma), told(server, 0.0)
    return Replayed(truth[mine], first[mine], (first - second)[mine])
