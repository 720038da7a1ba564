"""A forecast without training: how far clients stand above their average after round 1, from labels and noise alone.

Ten imaginary clients are really evaluated, one for each class: each takes a round's steps on samples of its class only.
A client that holds a mixture of classes is taken to change the model's scores by the same mixture, and noise to add to
them. So the first model answers any split, any ε and any number of clients; what samples a step draws is left out.
Exact for one client of one class without noise, and rough elsewhere: the lesson holds it against what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key, stack, unstack
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.gradients import noised_gradient
from lalora_kit.lessons.lesson import schedule_cost
from lalora_kit.local import split_by_key
from lalora_kit.privacy import Streams, clipped_sum
from lalora_kit.privacy.budgets import clip_of
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.partition import partition

DRAWS = 4  # of noise; clients take them in turn, which is enough for a mean over clients


@dataclass(frozen=True, eq=False)
class Scores:
    """What moves the scores of one first model.

    Attributes:
        now: `(samples, classes)` of the model as it begins.
        by_class: `(classes, samples, classes)` change, were all of a client's samples of one class.
        by_noise: `(draws, samples, classes)` change for each unit of noise per entry after the round.
        labels: `(samples,)`.
    """

    now: Tensor
    by_class: Tensor
    by_noise: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Height:
    """Losses in nats: mean over the clients, and of their average."""

    clients: float
    average: float

    @property
    def above(self) -> float:
        """How far the clients stand above their average."""
        return self.clients - self.average


@dataclass(frozen=True, eq=False)
class Shares:
    """Who holds what: `classes` `(clients, classes)`, rows that sum to 1, and how many samples each holds."""

    classes: Tensor
    sizes: Tensor


def shares_of(task: Task, settings: Settings) -> Shares:
    """The split that a run at these settings has.

    Raises:
        ValueError: as `partition` does, if no draw leaves every client a sample.
    """
    streams = Streams.from_seed(settings.seed)
    labels = task.train.labels.numpy()
    shards = partition(labels, settings.clients, settings.dirichlet_beta, streams.generator("partition"))
    counts = np.stack([np.bincount(labels[shard], minlength=len(task.classes)) for shard in shards])
    sizes = torch.from_numpy(counts.sum(axis=1)).double()
    return Shares(torch.from_numpy(counts).double() / sizes[:, None], sizes)


def scores_of(task: Task, settings: Settings, start: Adapter, split: Split, noise_std: float) -> Scores:
    """Ask one first model for its scores, and for how they move: (1 + classes + DRAWS) evaluations of `split`.

    Args:
        task, settings: of the run; its rates, clip and local steps.
        start: the adapter that it begins with.
        split: public samples, some of every class.
        noise_std: noise per entry after a round at which its effect is measured; it is not quite proportional.

    Raises:
        ValueError: if the split lacks a class.
    """
    engine = Engine(task, settings.scale, device=settings.device, max_samples=settings.max_samples)
    streams = Streams.from_seed(settings.seed)
    now = engine.predict(start, split.inputs).double()

    def moved(point: Adapter, gradient: Mapping[Key, Tensor]) -> Adapter:
        rates = {"head": settings.head_learning_rate}
        steps = {key: rates.get(key[0], settings.learning_rate) * g.float() for key, g in gradient.items()}
        return point.with_tensors({key: point.tensors[key] - step for key, step in steps.items()})

    def noised(rows: Tensor, std: float, draw: int) -> Adapter:
        gradient = noised_gradient(
            engine, start, split.select(rows), clip_norm=settings.clip_norm, noise_std=std,
            generator=streams.generator("noise of a forecast", round=draw), clip_head_share=settings.clip_head_share,
        )  # fmt: skip
        return moved(start, gradient)

    def change(point: Adapter) -> Tensor:
        return engine.predict(point, split.inputs).double() - now

    many = stack(start.map(lambda value: value.to(engine.device)), len(task.classes))  # a client for each class
    for _ in range(settings.local_steps):
        many = moved(many, mean_by_class(engine, many, split, settings))
    by_class = [change(point) for point in unstack(many, len(task.classes))]
    one = torch.arange(1)  # a step of one sample: what it does without noise is taken away
    quiet = change(noised(one, 0.0, 0))
    by_noise = [(change(noised(one, noise_std, draw)) - quiet) / noise_std for draw in range(1, DRAWS + 1)]
    return Scores(now, torch.stack(by_class), torch.stack(by_noise), split.labels)


def mean_by_class(engine: Engine, many: Adapter, split: Split, settings: Settings) -> dict[Key, Tensor]:
    """The mean of each class's clipped gradients `(classes, ...)`, taken at the class's own row of `many`.

    Raises:
        ValueError: if the split lacks a class.
    """
    active, classes = many.keys("AB"), len(next(iter(many.tensors.values())))
    counts = split.labels.bincount(minlength=classes)
    if not counts.all():
        missing = int(counts.argmin())
        raise ValueError(f"the split holds no sample of class {missing}, and a client may; take more samples")
    clip = clip_of(settings.clip_norm, settings.clip_head_share, active)
    chunks = engine.gradients(many, active, split.inputs, split.labels, split.labels)
    sums = sum(clipped_sum(gradients, part, classes, clip)[0] for part, gradients in chunks)
    return split_by_key(sums / counts[:, None].to(engine.device), active, many)


def forecast(
    scores: Scores, shares: Shares, settings: Settings, noise_multiplier: float, *, data: bool = True
) -> Height:
    """Clients and their average after round 1; without `data` every client holds the whole's mixture of classes.

    A client's noise per entry after K steps is √K·σC / L, with L the batch that it expects: small clients are louder.
    """
    weights = shares.sizes / shares.sizes.sum()
    whole = (weights[:, None] * shares.classes).sum(0)
    classes = shares.classes if data else whole.expand_as(shares.classes)
    if settings.batch_size is not None:
        batches = torch.full_like(shares.sizes, settings.batch_size)
    else:
        assert settings.sample_rate is not None, "settings hold one of the two"
        batches = shares.sizes * settings.sample_rate
    std = math.sqrt(settings.local_steps) * noise_multiplier * settings.clip_norm / batches
    draws = torch.arange(len(weights)) % len(scores.by_noise)
    moves = torch.einsum("ic,csk->isk", classes, scores.by_class) + std[:, None, None] * scores.by_noise[draws]
    alone = scores.now + moves  # (clients, samples, classes)
    together = scores.now + torch.einsum("i,isk->sk", weights, moves)
    labels = scores.labels.expand(len(alone), -1)
    return Height(
        float(F.cross_entropy(alone.flatten(0, 1), labels.flatten())), float(F.cross_entropy(together, scores.labels))
    )


def std_of_round(task: Task, settings: Settings, noise_multiplier: float) -> float:
    """Noise per entry after a round, of a client of average size."""
    batch = schedule_cost(task, settings)[2] * len(task.train) / settings.clients
    return math.sqrt(settings.local_steps) * noise_multiplier * settings.clip_norm / batch
