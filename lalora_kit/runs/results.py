"""Results: a run's accuracy for each site and each class, from what its directory holds and the data it names.

Accuracy alone flatters where one class is common; balanced accuracy is the mean of the classes' recalls, and a guess
gets one over the number of classes. Test samples are not protected: what is told of them is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lalora_kit.base.files import finite_or_null
from lalora_kit.base.threads import torch_threads
from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.methods import Method
from lalora_kit.methods.personal import the_model
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.runs.checkpoint import forget_what_ended
from lalora_kit.runs.saved import Saved, load
from lalora_kit.runs.spent import Account, open_account
from lalora_kit.tasks import Task
from lalora_kit.tasks.own.sources import load_source


@dataclass(frozen=True)
class Scores:
    """How one adapter does on some test samples.

    `recalls` has one a class, NaN where it has no sample; `balanced_accuracy` is the mean over the others. Accuracies
    are NaN where there is no sample at all.
    """

    samples: int
    accuracy: float
    balanced_accuracy: float
    recalls: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """A run's results.

    Attributes:
        task, method, round: what was run, and how far it came.
        unit: what ε protects.
        classes: names, in the order of all `recalls`.
        overall: on the whole test part.
        sites: by owner's name, on that owner's test samples; empty where samples have no owners.
        held: training units of each site.
        epsilons: what each site has spent, by everything that was released from the directory; infinite without noise.
        epsilon, noised: of the worst-off unit, and over the releases with noise alone.
        without_noise: the sentence on runs without noise, "" if there was none.
    """

    task: str
    method: str
    round: int
    unit: str
    delta: float
    classes: tuple[str, ...]
    overall: Scores
    sites: dict[str, Scores]
    held: dict[str, int]
    epsilons: dict[str, float]
    epsilon: float = math.nan
    noised: float = math.nan
    without_noise: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is not defined, and an infinite ε, becomes null."""
        return finite_or_null(asdict(self))


@dataclass(frozen=True, eq=False)
class Opened:
    """A run directory, its data loaded again and found to be the same, and the account of what it has spent."""

    saved: Saved
    task: Task
    plan: Plan
    account: Account


def open_run(directory: Path, method: Method | None = None) -> Opened:
    """Read a run, and load its data again; `method` as for `load`. A secret that outlived its run is deleted.

    Raises:
        ValueError: if there is no run, no round is finished, its task was made in Python, or its data have changed.
    """
    saved = load(directory, method)
    if not saved.rounds:
        raise ValueError(f"{directory} holds no finished round, so there is nothing to tell yet; --resume it first")
    forget_what_ended(directory, saved)
    account, task = open_account(directory), load_source(saved.source)
    return Opened(saved, task, make_plan(task, saved.method, saved.settings, Ledger(), saved.state), account)


def results(run: Opened) -> Results:
    """Results of the newest round."""
    task, saved, delta = run.task, run.saved, run.saved.settings.delta
    ledger, total = run.account.ledger, run.account.spent(delta)
    adapter = the_model(saved.method, saved.state.adapter)
    guesses = predictions(task, adapter, run.plan, saved.settings.device)
    sites, held, spent = {}, {}, {}
    for number, site in enumerate(task.owners):
        assert task.train.owners is not None and task.test.owners is not None
        sites[site] = scores(task.test.labels, guesses, len(task.classes), task.test.owners == number)
        mine = task.train.owners == number
        held[site] = int(mine.sum()) if task.train.units is None else len(task.train.units[mine].unique())
        [client] = [c for c, shard in enumerate(run.plan.shards) if bool(mine[torch.from_numpy(shard)].any())]
        spent[site] = ledger.epsilon(delta, client, run.plan.run, run.plan.shard)
    overall = scores(task.test.labels, guesses, len(task.classes))
    return Results(
        task=task.name, method=saved.method.name, round=saved.rounds[-1]["round"], unit=task.unit, delta=delta,
        classes=task.classes, overall=overall, sites=sites, held=held, epsilons=spent,
        epsilon=total.epsilon, noised=total.noised, without_noise=total.line,
    )  # fmt: skip


def predictions(task: Task, adapter: Adapter, plan: Plan, device: str) -> Tensor:
    """The most likely class of each test sample `(samples,)`."""
    engine = Engine(task, adapter.scale, device=device, max_samples=plan.max_samples)
    with torch_threads(plan.threads):
        return engine.predict(adapter.map(lambda value: value.to(engine.device)), task.test.inputs).argmax(1)


def scores(labels: Tensor, guesses: Tensor, classes: int, which: Tensor | None = None) -> Scores:
    """scikit-learn's accuracy and recalls of `guesses` `(samples,)`, of those where `which` is true.

    >>> scores(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 0]), 2).balanced_accuracy
    0.5
    """
    from sklearn.metrics import accuracy_score, recall_score

    if which is not None:
        labels, guesses = labels[which], guesses[which]
    if not len(labels):
        return Scores(0, np.nan, np.nan, (np.nan,) * classes)
    recalls = recall_score(labels, guesses, labels=range(classes), average=None, zero_division=np.nan)
    return Scores(
        len(labels), float(accuracy_score(labels, guesses)), float(np.nanmean(recalls)), tuple(map(float, recalls))
    )


def text(found: Results) -> str:
    """Two tables: sites, and classes."""
    lines = [
        headline(found),
        *table("site", found.sites, found.held, found.epsilons, f"{found.unit}s"),
        row("all", found.overall),
    ]
    width = max(5, *map(len, found.classes))
    lines += [f"{'class':<{width}}  recall"]
    lines += [
        f"{name:<{width}}  {shown(value)}" for name, value in zip(found.classes, found.overall.recalls, strict=True)
    ]
    return "\n".join([*lines, *spent(found)])


def headline(found: Results) -> str:
    """What was run and tested, and what a guess would get."""
    return (
        f"{found.task}: {found.method} after round {found.round}; {found.overall.samples} test samples, which are not "
        f"protected; a guess has a balanced accuracy of {1 / len(found.classes):.3f}"
    )


def spent(found: Results) -> list[str]:
    """What the directory has spent, in a line or two."""
    told = f"ε of everything released from this directory: {shown(found.epsilon)} at δ = {found.delta:g}"
    return [told, *filter(None, [found.without_noise])]


def table(
    what: str, sites: dict[str, Scores], held: dict[str, int], spent: dict[str, float], units: str
) -> Sequence[str]:
    """A head and a line a site."""
    head = f"{what:<20}{'test':>7}{'accuracy':>10}{'balanced':>10}{'ε':>8}{units[:18]:>19}"
    return [head, *(f"{row(name, s)}{shown(spent[name]):>8}{held[name]:>19}" for name, s in sites.items())]


def row(name: str, s: Scores) -> str:
    """A name and its scores."""
    return f"{name[:19]:<20}{s.samples:>7}{shown(s.accuracy):>10}{shown(s.balanced_accuracy):>10}"


def shown(value: float) -> str:
    """Three digits; a dash where there is nothing to tell, ∞ without noise."""
    return "–" if value != value else "∞" if value == float("inf") else f"{value:.3f}"
