"""The algorithm, on one page: private federated LoRA, round by round.

    for r in federated_rounds(task, METHODS["la-lora"], Settings(epsilon=3.0)):
        print(r.round, r.accuracy, r.epsilon)

The caller owns the loop: breaking out of it is early stopping. Nothing here prints, logs or keeps global state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from lalora_kit.base.threads import torch_threads
from lalora_kit.base.transfer import to_host
from lalora_kit.engine.adapters import Adapter, unstack
from lalora_kit.engine.limits import check_still_finite
from lalora_kit.engine.memory import free_bytes
from lalora_kit.engine.persample import Engine
from lalora_kit.local import Observer, Step, Uploads, drawn, private_step, told, whole
from lalora_kit.methods import Method
from lalora_kit.methods.gap import aggregation_gap
from lalora_kit.methods.optimisers import Optimisers
from lalora_kit.methods.personal import averaged, judged, stacked_at_home
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import BudgetExceeded, Ledger, composed_epsilon, merged
from lalora_kit.privacy.soundcheck import check_mode
from lalora_kit.records import NO_NOISE, SEED_KNOWN, Round, RunState
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.feed import Feed, resides


def federated_rounds(
    task: Task,
    method: Method,
    settings: Settings,
    *,
    state: RunState | None = None,
    ledger: Ledger | None = None,
    observe: Observer | None = None,
) -> Iterator[Round]:
    """Train, privately and federated, and yield a record after each round.

    Args:
        task: backbone, private training split, public test split.
        method: a value of `METHODS`, or your own.
        settings: everything else; checked against the task at once, before the first round is asked for.
        state: `Round.state` of an earlier round of the same run, to go on from there.
        ledger: where releases are recorded; all runs in it compose. None starts a fresh one in memory.
        observe: called as `(client, round, step, release)` with each noised release, as the server sees it.

    Raises:
        ValueError: if settings do not fit the task, or `state` belongs to another run.
        BudgetExceeded: before the round whose last step would pass the target ε; no sample is drawn.

    >>> from lalora_kit import METHODS, load_task
    >>> settings = Settings(epsilon=3.0, clients=2, rounds=1)
    >>> for r in federated_rounds(load_task("digits"), METHODS["head-only"], settings):
    ...     print(r.round, 2.9 < r.epsilon <= 3.0)
    1 True
    """
    ledger = Ledger() if ledger is None else ledger
    if state is not None and state.round and not len(ledger):
        raise ValueError(
            f"state is of round {state.round} but the ledger is empty, so the ε spent so far would be forgotten; a run "
            "goes on only with its ledger; give ledger= the one that it began with"
        )
    return planned_rounds(task, method, settings, make_plan(task, method, settings, ledger, state), ledger, observe)


def planned_rounds(
    task: Task, method: Method, settings: Settings, plan: Plan, ledger: Ledger, observe: Observer | None = None
) -> Iterator[Round]:
    """The rounds of a plan that was just made of these very values, and of this ledger as it is now."""
    engine = Engine(
        task, settings.scale, device=settings.device, precision=settings.precision, max_samples=plan.max_samples,
        reads=method.hooked().get("reads"),  # type: ignore[arg-type]
    )  # fmt: skip
    return rounds(Run(task, method, settings, plan, engine, ledger, observe))


class Sites(Protocol):
    """Whoever trains: a `Side` with all clients in it, or sites elsewhere."""

    def uploads(self, server: Adapter, t: int, steps: range | None = None) -> Uploads:
        """What the participants of round t, which is on record, make of the server's adapter in all or these steps."""


@dataclass(frozen=True, eq=False)
class Run:
    """What stays the same from round to round; without `sites`, all clients train in this process."""

    task: Task
    method: Method
    settings: Settings
    plan: Plan
    engine: Engine
    ledger: Ledger
    observe: Observer | None
    sites: Sites | None = None


class Side:
    """The clients' side of a run: all of a simulator's, or a site's, which is the only client of a plan of its own."""

    def __init__(self, run: Run) -> None:
        device = run.engine.device
        self.run, self.feed = run, Feed(run.task.train, device, resides(run.task.train, free_bytes(device)))

    def uploads(self, server: Adapter, t: int, steps: range | None = None) -> Uploads:
        """Every participant's, in one process."""
        clients = self.run.plan.schedule[t - 1]
        local, done = self.local_round(server, t, steps)
        return Uploads(clients, unstack(local, len(clients)), *told(done))

    def local_round(self, server: Adapter, t: int, steps: range | None = None) -> tuple[Adapter, list[Step]]:
        """Line 2 of the algorithm in lesson 04: all participants' local steps; their adapters, and for `told`."""
        plan, method, settings = self.run.plan, self.run.method, self.run.settings
        clients, steps = plan.schedule[t - 1], steps or range(1, settings.local_steps + 1)
        local = stacked_at_home(server, clients)
        optimisers = Optimisers(local, settings, t)
        done = []
        draws = [drawn(plan, self.feed, t, k) for k in steps]
        for k, data in zip(steps, self.feed.coming(draws), strict=True):
            method.between(local, clients, t, k)
            active = local.keys(method.trains(t, k))
            chart = method.chart and method.chart(local, active)
            seen = method.perturbs(local, server, settings, t, k, plan.streams.generator("perturbs", 0, t, k))
            step = private_step(plan, self.run.engine, data, seen, active, t, k, self.run.observe, chart)
            optimisers.apply(step.gradients, method)
            done.append(replace(step, gradients={}))
        method.between(local, clients, t, steps.stop)
        return local, done


def rounds(run: Run) -> Iterator[Round]:
    """The loop itself, over a run that has been checked."""
    sites = run.sites or Side(run)
    server = run.plan.start.map(lambda value: value.to(run.engine.device))
    for t in range(run.plan.done + 1, run.settings.rounds + 1):
        with torch_threads(run.plan.threads):
            server, done = one_round(run, sites, server, t)
        yield done


def one_round(run: Run, sites: Sites, server: Adapter, t: int) -> tuple[Adapter, Round]:
    """Round t from the server's adapter: charge, have every participant train, average, record."""
    started, method, exchanges, numbers = time.perf_counter(), run.method, list[tuple[Uploads, int]](), 0
    check_mode()
    charge(run, t)  # on record before any noise is drawn
    server = method.opens(server, t, run.plan.streams.generator("opens", 0, t))
    for steps in method.segments(run.settings.local_steps):
        sent, trained = sites.uploads(server, t, steps), method.factors(t, steps)
        weights, numbers = run.plan.weights(sent.clients), numbers + method.sends(server, trained)
        server = averaged(method, server, sent.clients, sent.adapters, weights, trained)
        check_still_finite(server, t)
        exchanges.append((sent, len(steps)))
    gap = aggregation_gap(sent.adapters, weights)
    return server, record(run, t, server, whole(exchanges), gap, numbers, started)


def charge(run: Run, t: int) -> None:
    """Put round t on record, or raise `BudgetExceeded` if its last step would pass the target ε."""
    plan, ledger, target, delta = run.plan, run.ledger, run.settings.epsilon, run.settings.delta
    for client in plan.schedule[t - 1] if run.settings.private else ():
        before = ledger.composition(client, plan.run, plan.shard)
        coming = [
            (release.sample_rate, release.noise_multiplier, 1)
            for release in plan.releases(t, client)
            if release not in ledger
        ]
        after = composed_epsilon(merged([*before, *coming]), delta)
        if after > target:
            raise BudgetExceeded(
                f"round {t} would bring client {client} to ε={after:.3f}, past the target epsilon={target}; "
                f"ε of all runs on the same data adds up, and {composed_epsilon(before, delta):.3f} is spent; "
                "raise epsilon to cover all runs, or use data that no run has seen"
            )
    ledger.charge(release for client in plan.schedule[t - 1] for release in plan.releases(t, client))


def record(run: Run, t: int, server: Adapter, sent: Uploads, gap: float, numbers: int, started: float) -> Round:
    """The record of round t: evaluates what the method makes where it is due, and asks the ledger what is spent."""
    settings, plan = run.settings, run.plan
    due = t % settings.evaluate_every == 0 or t == settings.rounds
    judge = judged(run.method, run.engine, server, run.task.test) if due else (math.nan, math.nan, ())
    spent = tuple(
        run.ledger.epsilon(settings.delta, client, plan.run, plan.shard) for client in range(settings.clients)
    )
    adapter = server.with_tensors(dict(zip(server.tensors, to_host([*server.tensors.values()]), strict=True)))
    return Round(
        round=t,
        accuracy=judge[0],
        loss=judge[1],
        epsilon=max(spent),
        epsilons=spent,
        noise_multiplier=max(plan.sigmas),
        noise_multipliers=plan.sigmas,
        participants=tuple(sent.clients),
        update_norms=sent.norms,
        aggregation_gap=gap,
        upload=numbers,
        personal=judge[2],
        seconds=time.perf_counter() - started,
        adapter=adapter,
        state=plan.state(t, adapter),
        caution=NO_NOISE if not settings.private else SEED_KNOWN if settings.seed is not None else "",
        teaching=sent.teaching if settings.teaching else None,
    )
