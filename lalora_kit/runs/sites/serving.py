"""The server's side: the same rounds as a simulator's, with uploads asked of sites elsewhere; saved and resumable.

The server holds a mirror of the sites' ledgers, which is charged when it *asks*: a site that is late or lost may have
spent all the same, so its ε stays counted. What sites tell of other releases on their data is counted beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lalora_kit.base.files import digest, dumps, read_object, write_atomically
from lalora_kit.engine.adapters import Adapter, Key, create
from lalora_kit.engine.limits import check_fits
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, Uploads, rounds
from lalora_kit.plan import Plan
from lalora_kit.privacy import Ledger, Release, Streams
from lalora_kit.privacy.identity import check_same_run
from lalora_kit.privacy.mechanism import generator_of
from lalora_kit.records import Round, RunState
from lalora_kit.runs.checkpoint import begin, catch_up, forget_what_ended, kept, locked
from lalora_kit.runs.saved import load
from lalora_kit.runs.sites.terms import Terms, about, check_about
from lalora_kit.runs.sites.wire import is_sound, pack, unpack
from lalora_kit.runs.spent import open_account
from lalora_kit.settings import MOST_STEPS, Settings
from lalora_kit.tasks import Split, Task

HELLO = "sites.json"
Facts = dict[str, Any]
Told = Callable[[str], object]


class Transport(Protocol):
    """How sites are reached, by name."""

    def hello(self, terms: Terms, wait: bool) -> Mapping[str, Facts]:
        """What the sites say of themselves: of all of them, or without `wait` of those that are there."""

    def ask(self, terms: Terms, t: int, names: Mapping[str, int], demand: bytes) -> Iterator[tuple[str, bytes]]:
        """Replies as they come, of the named sites at their places; ends when all are there or the round is late."""


class Elsewhere:
    """The sites of a run, as its loop asks them for uploads."""

    def __init__(self, terms: Terms, plan: Plan, ledger: Ledger, transport: Transport, told: Told) -> None:
        self.terms, self.plan, self.ledger, self.transport, self.told = terms, plan, ledger, transport, told

    def uploads(self, server: Adapter, t: int, steps: range | None = None) -> Uploads:
        """Those that came in time, in client order; `ValueError` if they are fewer than the quorum."""
        terms, whole = self.terms, range(1, self.plan.local_steps + 1)
        assert steps in (None, whole), "terms name a method with one exchange a round"
        keys = server.keys(terms.method.trained_in(t, self.plan.local_steps))
        kinds = [sorted({kind for kind, _ in server.keys(terms.method.trains(t, k))}) for k in whole]
        wanted = {terms.sites[client]: client for client in self.plan.schedule[t - 1]}
        got: dict[int, tuple[dict[Key, Tensor], list[float]]] = {}
        asked = self.transport.ask(terms, t, wanted, pack(server, sorted(server.tensors), {}))
        for name, reply in asked:
            try:
                tensors, norms, facts = unpack(reply, server, keys, sum(map(len, kinds)))
                check_facts(facts, name, t)
                self.count(wanted[name], facts)
            except (ValueError, KeyError, TypeError) as error:
                self.told(f"round {t}: {name} sent what cannot be used: {error}")
                continue
            got[wanted[name]] = tensors, norms
        lost = [name for name, client in wanted.items() if client not in got]
        if len(got) < terms.quorum:
            raise ValueError(
                f"round {t} has {len(got)} uploads, and the quorum is {terms.quorum}; missing are {', '.join(lost)}; "
                "bring the sites back, and start the server again: it goes on with this round, at no cost"
            )
        if lost:
            self.told(f"round {t} goes on without {', '.join(lost)}; their ε stays counted")
        clients = tuple(sorted(got))
        device = next(iter(server.tensors.values())).device
        adapters = [server.with_tensors({k: v.to(device) for k, v in got[c][0].items()}) for c in clients]
        return Uploads(clients, adapters, mean_norms([got[client][1] for client in clients], kinds))

    def count(self, client: int, facts: Facts) -> None:
        """Beside the mirror: what else was released about the data of a client, as its site tells it."""
        self.ledger.beside(elsewhere(self.plan, client, facts["others"]))


def elsewhere(plan: Plan, client: int, rows: list[Any]) -> list[Release]:
    """Releases of other runs, a row `(rate, σ, steps)` a kind; told again, only what is new counts."""
    found: list[Release] = []
    for rate, sigma, steps in rows:
        if not (0 < rate <= 1 and 0 <= sigma < 1e300 and type(steps) is int and 0 < steps + len(found) <= MOST_STEPS):
            raise ValueError(f"a site tells of releases {rate!r:.40}, {sigma!r:.40}, {steps!r:.40}, which cannot be")
        found += [
            Release(client, 0, k, float(rate), float(sigma), plan.clip_norm, 1.0, f"elsewhere {rate} {sigma}",
                    plan.shard, plan.task, plan.unit)
            for k in range(steps)
        ]  # fmt: skip
    return found


def check_facts(facts: Facts, name: str, t: int) -> None:
    """A reply is of the site and the round that were asked."""
    if (facts["site"], facts["round"]) != (name, t):
        raise ValueError(f"it is of {facts['site']!r:.80}, round {facts['round']!r:.20}")


def mean_norms(told: list[list[float]], kinds: list[list[str]]) -> dict[str, float]:
    """The mean over clients of each step's norm, then over the steps that trained a kind, as a simulator has it."""
    each, found = torch.tensor(told).T, dict[str, list[float]]()  # (steps and kinds, clients)
    for row, kind in zip(each, [kind for step in kinds for kind in step], strict=True):
        found.setdefault(kind, []).append(float(row.mean()))
    return {kind: sum(values) / len(values) for kind, values in found.items()}


def serve(
    task: Task, terms: Terms, directory: Path, transport: Transport, told: Told = lambda line: None
) -> Iterator[Round]:
    """`save_rounds` with sites elsewhere: goes on where `directory` stands, or begins.

    Args:
        task: the model, and the public test split on which rounds are judged; its training split is not read.
        terms: what all agree on.
        directory: ledger, records, state and adapter, as a simulator keeps them.
        transport: reaches the sites.
        told: called with lines for whoever runs the server.

    Raises:
        ValueError: if the terms speak of another model than the task, or the directory holds another run.
        BudgetExceeded: before a round that would bring a site past the terms' ε.
    """
    check_about(terms, about(task, terms.method))
    settings = terms.settings
    directory.mkdir(parents=True, exist_ok=True)
    lock = locked(directory)
    try:
        resumed = (directory / "settings.json").exists()
        saved = load(directory, terms.method) if resumed else None
        account = open_account(directory)
        sites = facts_of(directory, terms, transport, resumed)
        plan = server_plan(task, terms, sites, None if saved is None else saved.state)
        if saved is not None:
            catch_up(saved, task, account)
            forget_what_ended(directory, saved)
        else:
            begin(task, terms.method, settings, account, plan)
        asked = Elsewhere(terms, plan, account.ledger, transport, told)
        for client, name in enumerate(terms.sites):
            asked.count(client, sites[name])
        judge: Any = Engine(task, settings.scale) if len(task.test.labels) > 1 else Unjudged()
        walk = rounds(Run(task, terms.method, settings, plan, judge, account.ledger, None, asked))
    except BaseException:
        lock.release()
        raise
    return kept(walk, task, terms.method, settings, account, lock, None)


class Unjudged:
    """Stands where there are no public test data: accuracy and loss are not known."""

    device = torch.device("cpu")

    def evaluate(self, adapter: Adapter, test: Split) -> tuple[float, float]:
        """NaN, as for a round that was not evaluated."""
        return math.nan, math.nan


def facts_of(directory: Path, terms: Terms, transport: Transport, resumed: bool) -> dict[str, Facts]:
    """What each site said when the run began, and what those say now that are there."""
    path = directory / HELLO
    known = read_object(path, "start the server in a new directory") if resumed and path.exists() else {}
    known |= {name: said for name, said in transport.hello(terms, wait=not known).items() if is_sound(said)}
    for name in terms.sites:
        facts = known.get(name)
        if facts is None or facts["terms"] != terms.name:
            raise ValueError(f"site {name} has not agreed to the terms {terms.name}; start it, and the server again")
    write_atomically(path, dumps(known))
    return known


def server_plan(task: Task, terms: Terms, sites: Mapping[str, Facts], state: RunState | None) -> Plan:
    """The plan as the server knows it: of each site how much it holds and how much noise it adds, and no sample."""
    settings: Settings = terms.settings
    first = generator_of(terms.first)
    start = create(task.backbone, task.targets, task.head, settings.rank, settings.scale, first)
    start = terms.method.begins(start, task.backbone, first)
    if task.statistics is not None:
        start = start.with_head(task.statistics.begun(start.of("head")))
    identity = {"terms": terms.name, "shards": digest(["held by sites", terms.name]), "task": task.name}
    streams = Streams.from_seed(None) if state is None else Streams(state.secret)
    told = {purpose: key.hex() for purpose, key in streams.told().items()} if state is None else dict(state.told)
    facts = [sites[name] for name in terms.sites]
    plan = Plan(
        task=task.name, clip_norm=settings.clip_norm, clip_head_share=settings.clip_head_share,
        local_steps=settings.local_steps, shards=(), units=tuple(np.arange(one["size"]) for one in facts),
        unit=task.unit, rates=tuple(float(one["rate"]) for one in facts),
        sigmas=tuple(float(one["sigma"]) for one in facts), schedule=terms.schedule, identity=identity,
        machine={}, moves=(), run=digest(identity), threads=torch.get_num_threads(), max_samples=None,
        streams=streams, secret=streams.secret, told=told, start=start, done=0,
    )  # fmt: skip
    if state is None:
        return plan
    check_same_run(state, identity)
    check_fits(state.adapter, start, f"the state of round {state.round}")
    return replace(plan, start=state.adapter, done=state.round)
