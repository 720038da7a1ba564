"""Yardsticks: what a federated private run is held against: the head alone, linear models on the raw inputs, what
public knowledge alone reaches, each site alone, and all data without privacy.

They train on the same private data, so they are not free. Each is a run in a directory of its own below the run that
it measures, at the run's own target ε, with a ledger of its own that counts for the directory from then on; asked for
again, it is read and not repeated, so nothing is spent twice. One has no noise, so no private run follows there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lalora_kit.base.files import digest, dumps, finite_or_null, write_atomically
from lalora_kit.methods import METHODS, Method
from lalora_kit.methods.personal import the_model
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.runs.checkpoint import locked, save_rounds
from lalora_kit.runs.marks import LEDGER, SITES
from lalora_kit.runs.results import Opened, Scores, predictions, row, scores, shown
from lalora_kit.runs.saved import load
from lalora_kit.runs.spent import Spent, open_account, spent
from lalora_kit.runs.standing import of_one_run
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.heads.linear import HOG, LINEAR, linear_views

HEAD_ONLY, UNTRAINED, POOLED = "head-only", "untrained", "pooled, no privacy"
#: Those without an adapter, which an adapter has to be ahead of.
BARE = (HEAD_ONLY, LINEAR, HOG, UNTRAINED)


@dataclass(frozen=True)
class Yardstick:
    """One baseline: its scores on all test samples, on its own site's, and what it cost.

    `site` is the owner's name, or "" where all sites took part; `own` is None then. `refused` says why it could not
    train or not be told, and all scores are then None; what it released counts even so.
    """

    name: str
    site: str
    overall: Scores | None
    own: Scores | None
    epsilon: float
    refused: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is not defined, and an infinite ε, becomes null."""
        return finite_or_null(asdict(self))


def yardsticks(run: Opened, directory: Path, say: Callable[[str], None] = lambda line: None) -> list[Yardstick]:
    """Train, or read, every baseline at the run's own settings; `say` is told before each.

    The sites are the owners, or the clients where samples have no owners.

    Raises:
        ValueError: if a run is going on in the directory, or a ledger of it is not what its mark says.
    """
    home = directory / "baselines" / digest(dict(run.plan.identity))
    with locked(directory):
        open_account(directory).tell(pending="baselines are being trained on the same data: ask `lalora statement`")
        try:
            home.mkdir(parents=True, exist_ok=True)
            write_atomically(home / SITES, dumps({"shard": run.plan.shard, "clients": clients_of(run)}))
            found = [
                measured(home / place, name, site, task, method, settings, run.task, say)
                for place, name, site, task, method, settings in planned(run)
            ]
            return [*untrained(run.task), *found]
        finally:
            open_account(directory).tell()


def untrained(task: Task) -> list[Yardstick]:
    """What public knowledge alone reaches, where a task has such a guess; it costs nothing."""
    if task.guess is None:
        return []
    labels = task.test.labels
    return [Yardstick(UNTRAINED, "", scores(labels, task.guess(task.test.inputs), len(task.classes)), None, 0.0)]


def measured(
    place: Path, name: str, site: str, task: Task, method: Method, settings: Settings, whole: Task,
    say: Callable[[str], None],
) -> Yardstick:  # fmt: skip
    """One baseline; what keeps it from being told is told in its place, with the ε that it has spent all the same."""
    say(f"{name}{': trained before' if (place / 'adapter').exists() else ' ...'}")
    try:
        return trained(place, name, site, task, method, settings, whole)
    except ValueError as error:
        cost = spent(place, settings.delta).epsilon if (place / LEDGER).exists() else 0.0
        return Yardstick(name, site, None, None, cost, str(error))


def clients_of(run: Opened) -> list[int]:
    """The client of the run that holds each site's samples."""
    holds = [set(map(int, shard)) for shard in run.plan.shards]
    return [next(c for c, held in enumerate(holds) if int(index[0]) in held) for index in sites(run).values()]


Planned = tuple[str, str, str, Task, Method, Settings]


def planned(run: Opened) -> Iterator[Planned]:
    """Directory, name, site, task, method and settings of each baseline."""
    settings, method = run.saved.settings, run.saved.method
    single = replace(settings, clients=1, participation=1.0, dirichlet_beta=None)
    yield "head-only", HEAD_ONLY, "", replace(run.task, source={}), METHODS["head-only"], settings
    for name, made in linear_views(run.task).items():
        yield name, name, "", made(), METHODS["head-only"], settings
    together = settings.batch_size and settings.batch_size * settings.participants
    pooled = replace(single, epsilon=math.inf, batch_size=together)
    yield "pooled", POOLED, "", without_owners(run.task), method, pooled
    for number, (site, index) in enumerate(sites(run).items()):
        alone = without_owners(run.task)
        yield (
            f"alone-{number:04d}",
            f"{site} alone",
            site,
            replace(alone, train=alone.train.select(index)),
            method,
            single,
        )


def sites(run: Opened) -> dict[str, torch.Tensor]:
    """The training samples of each site, by name."""
    whose = run.task.train.owners
    if whose is None:
        return {f"client {c + 1}": torch.from_numpy(shard) for c, shard in enumerate(run.plan.shards)}
    return {name: (whose == number).nonzero()[:, 0] for number, name in enumerate(run.task.owners)}


def without_owners(task: Task) -> Task:
    """The same samples as one client's."""
    train, test = (replace(split, owners=None) for split in (task.train, task.test))
    return replace(task, train=train, test=test, owners=(), source={})


def trained(
    place: Path, name: str, site: str, task: Task, method: Method, settings: Settings, whole: Task
) -> Yardstick:
    """One baseline, begun or gone on with in its place, and scored."""
    for _ in save_rounds(task, method, settings, place, resume=(place / "settings.json").exists()):
        pass
    saved, total = load(place, method), spent(place, settings.delta)
    plan = make_plan(task, method, settings, Ledger(), saved.state)
    guesses = predictions(task, the_model(method, saved.state.adapter), plan, settings.device)
    classes = len(task.classes)
    own = None
    if site in whole.owners and whole.test.owners is not None:
        own = scores(task.test.labels, guesses, classes, whole.test.owners == whole.owners.index(site))
    return Yardstick(name, site, scores(task.test.labels, guesses, classes), own, total.epsilon)


def standings(method: Method, overall: Scores, measured: list[Yardstick]) -> list[str]:
    """A sentence for each baseline without an adapter that is ahead of the run, or level with it."""
    bare = [(y.name, y.overall.accuracy) for y in measured if y.name in BARE and y.overall is not None]
    return of_one_run(method, overall.accuracy, overall.samples, bare, "one run, at the rates that it was given")


def cost(unit: str, total: Spent) -> str:
    """What a unit of the worst-off site has spent with every baseline counted."""
    return (
        f"these trained on the same private data, each with a ledger of its own: a {unit} has spent up to "
        f"ε = {shown(total.noised)} at δ = {total.delta:g} by everything that was released from this directory with "
        "noise. The pooled run has no noise: nothing that is told of it is private, and no private run is granted in "
        f"this directory from now on. {total.line}".rstrip()
    )


def text(unit: str, measured: list[Yardstick], total: Spent) -> str:
    """A line a baseline, and what they cost."""
    lines = [f"{'baseline':<20}{'test':>7}{'accuracy':>10}{'balanced':>10}{'ε':>8}{'accuracy on its own site':>27}"]
    for y in measured:
        if y.overall is None:
            counted = f" (ε = {shown(y.epsilon)} is spent on it, and counted)" if y.epsilon else ""
            lines.append(f"{y.name[:19]:<20} could not train{counted}: {y.refused}")
        else:
            own = "" if y.own is None else f"{shown(y.own.accuracy)} of {y.own.samples}"
            lines.append(f"{row(y.name, y.overall)}{shown(y.epsilon):>8}{own:>27}")
    return "\n".join([*lines, cost(unit, total)])
