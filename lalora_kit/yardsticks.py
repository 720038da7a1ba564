"""Yardsticks: what a federated private run is held against: each site alone, the head alone, all data without privacy.

They train on the same private data, so they are not free. Each is a run in a directory of its own beside the run that
it measures, with its own ledger; asked for again, it is read and not repeated, so nothing is spent twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lalora_kit.checkpoint import load, save_rounds
from lalora_kit.identity import digest
from lalora_kit.methods import METHODS, Method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.records import finite_or_null
from lalora_kit.results import Opened, Results, Scores, predictions, row, scores, shown
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

HEAD_ONLY, POOLED = "head-only", "pooled, no privacy"


@dataclass(frozen=True)
class Yardstick:
    """One baseline: its scores on all test samples, on its own site's, and what it cost.

    `site` is the owner's name, or "" where all sites took part; `own` is None then. `refused` says why it could not
    train, and all scores are then None.
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
    """
    home = directory / "baselines" / digest(dict(run.plan.identity))
    found = []
    for place, name, site, task, method, settings in planned(run):
        say(f"{name}{': trained before' if (home / place / 'adapter').exists() else ' ...'}")
        try:
            found.append(trained(home / place, name, site, task, method, settings, run.task))
        except ValueError as error:
            found.append(Yardstick(name, site, None, None, math.nan, str(error)))
    return found


Planned = tuple[str, str, str, Task, Method, Settings]


def planned(run: Opened) -> Iterator[Planned]:
    """Directory, name, site, task, method and settings of each baseline."""
    settings, method = run.saved.settings, run.saved.method
    single = replace(settings, clients=1, participation=1.0, dirichlet_beta=None)
    yield "head-only", HEAD_ONLY, "", replace(run.task, source={}), METHODS["head-only"], settings
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
    saved = load(place, method)
    plan = make_plan(task, method, settings, Ledger(), saved.state)
    guesses, classes = predictions(task, saved.state.adapter, plan, settings.device), len(task.classes)
    own = None
    if site in whole.owners and whole.test.owners is not None:
        own = scores(task.test.labels, guesses, classes, whole.test.owners == whole.owners.index(site))
    spent = saved.rounds[-1]["epsilon"]
    return Yardstick(
        name, site, scores(task.test.labels, guesses, classes), own, math.inf if spent is None else spent
    )  # fmt: skip


def cost(found: Results, measured: list[Yardstick], epsilon: float) -> str:
    """What a unit of the worst-off site has spent with every baseline counted, by simple addition."""
    head = next((y.epsilon for y in measured if y.name == HEAD_ONLY and not y.refused), 0.0)
    alone = max((y.epsilon for y in measured if y.site and not y.refused), default=0.0)
    total, parts = epsilon + head + alone, 1 + (head > 0) + (alone > 0)
    return (
        f"these trained on the same private data, each with a ledger of its own: with head-only and a site's own run a "
        f"{found.unit} has spent up to ε = {shown(total)} at δ = {parts * found.delta:g} (simple addition). The pooled "
        "run has no noise: nothing that is told of it is private."
    )


def text(found: Results, measured: list[Yardstick], epsilon: float) -> str:
    """A line a baseline, and what they cost."""
    lines = [f"{'baseline':<20}{'test':>7}{'accuracy':>10}{'balanced':>10}{'ε':>8}{'accuracy on its own site':>27}"]
    for y in measured:
        if y.overall is None:
            lines.append(f"{y.name[:19]:<20} could not train: {y.refused}")
        else:
            own = "" if y.own is None else f"{shown(y.own.accuracy)} of {y.own.samples}"
            lines.append(f"{row(y.name, y.overall)}{shown(y.epsilon):>8}{own:>27}")
    return "\n".join([*lines, cost(found, measured, epsilon)])
