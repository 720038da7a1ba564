"""What the lessons' panels draw of each round: a lens a lesson, measured in the thread that trains.

Read on public test samples, or on gradients without noise: for a lesson, not for release.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.coupling import Coupling, coupling, promised_move
from lalora_kit.lessons.gradients import Gradients, noised_gradient
from lalora_kit.lessons.lens import Lens, Seen
from lalora_kit.lessons.lesson import schedule_cost
from lalora_kit.methods import Method
from lalora_kit.privacy import Streams
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task

HEIGHT = "clients above their average (nats)"


@dataclass(frozen=True, eq=False)
class Pair:
    """One step's gradients of A and B: `quiet`, clipped; `unit`, noise of deviation 1; `std`, the private step's τ."""

    quiet: Gradients
    unit: Gradients
    std: float

    @property
    def noised(self) -> Gradients:
        """What a private step sees."""
        return self.at(self.std)

    def at(self, std: float) -> Gradients:
        """The same step with the same draw of noise, made as loud as `std`."""
        return {key: value + std * self.unit[key] for key, value in self.quiet.items()}


def noise_std(task: Task, settings: Settings, noise_multiplier: float) -> float:
    """τ = σ·C / L per entry of an averaged gradient; L is the expected batch of a client of average size."""
    batch = schedule_cost(task, settings)[2] * len(task.train) / settings.clients
    return noise_multiplier * settings.clip_norm / batch


def step_gradients(task: Task, settings: Settings, r: Round, split: Split) -> Pair:
    """What one client's step on both factors would see after round r, were its draw all of `split`."""
    engine = Engine(task, settings.scale, device=settings.device, max_samples=settings.max_samples)
    streams = Streams.from_seed(settings.seed)
    quiet, loud = (
        noised_gradient(
            engine, r.adapter, split, clip_norm=settings.clip_norm, noise_std=τ,
            generator=streams.generator("noise of a lesson", round=r.round), clip_head_share=settings.clip_head_share,
        )
        for τ in (0.0, 1.0)
    )  # fmt: skip
    unit = {key: loud[key] - value for key, value in quiet.items()}
    return Pair(quiet, unit, noise_std(task, settings, r.noise_multiplier))


class Steps:
    """The next step's gradients after each round of the runs at hand, asked for once a round.

    split: public samples that the gradients are taken on.
    """

    def __init__(self, task: Task, split: Split) -> None:
        self.task, self.split = task, split
        self.known: weakref.WeakKeyDictionary[Round, Pair] = weakref.WeakKeyDictionary()

    def of(self, settings: Settings, r: Round) -> Pair:
        """The step that follows round r of a run at `settings`."""
        if r not in self.known:
            self.known[r] = step_gradients(self.task, settings, r, self.split)
        return self.known[r]


def surprises(records: Sequence[Round], pairs: Sequence[Pair], kind: str, rate: float) -> list[float]:
    """Surprise of a step on both factors after each round, by its `kind` of gradients, quiet or noised."""
    return [
        promised_move(r.adapter, getattr(pair, kind), rate).pooled.surprise
        for r, pair in zip(records, pairs, strict=True)
    ]


def cosines(records: Sequence[Round], pairs: Sequence[Pair], kind: str) -> list[Coupling]:
    """The cosines between the gradients of A and B after each round, over all layers, by their `kind`."""
    return [coupling(r.adapter, getattr(pair, kind)).pooled for r, pair in zip(records, pairs, strict=True)]


def surprise_lens(steps: Steps) -> Lens:
    """Surprise of a step on both factors after each round, with the noise of the run and without."""

    def measure(settings: Settings, r: Round) -> Seen:
        pairs = [steps.of(settings, r)]
        [quiet], [noised] = (surprises([r], pairs, kind, settings.learning_rate) for kind in ("quiet", "noised"))
        return Seen([(r.round, noised)], [(r.round, quiet)])

    def headline(r: Round, seen: Seen) -> str:
        return f"surprise {seen.points[0][1]:.1%} in round {r.round}, without the noise {seen.beside[0][1]:.2%}"

    return Lens(
        measure,
        headline,
        axis="surprise, share of the promised move",
        beside="the same step without noise",
        yaxis={"type": "log", "tickformat": "~%", "dtick": 1},
        hover="round %{x}: %{y:.2%}",
    )


class Uploads:
    """Keeps what the clients sent in the newest round: `method` is the given one with an `aggregate` that looks on.

    `clients` holds their adapters. One run at a time.
    """

    def __init__(self, method: Method) -> None:
        self.clients: list[Adapter] = []
        self.average = method.aggregate
        self.method = replace(method, aggregate=self.aggregate)

    def aggregate(
        self, broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
    ) -> Adapter:
        """Keep a copy of each upload, and combine them as the method always does."""
        self.clients = [client.map(lambda value: value.detach().cpu().clone()) for client in clients]
        return self.average(broadcast, clients, weights, trained)


def heights_lens(task: Task, split: Split, uploads: Uploads) -> Lens:
    """How far the clients' losses stand above their average's, after each round: mean over the clients, in nats.

    A round is measured once, when it is new, for only then are its uploads at hand.
    """
    known: weakref.WeakKeyDictionary[Round, Seen] = weakref.WeakKeyDictionary()

    def measure(settings: Settings, r: Round) -> Seen:
        if r not in known:
            engine = Engine(task, settings.scale, device=settings.device, max_samples=settings.max_samples)
            alone = [engine.evaluate(client, split)[1] for client in uploads.clients]
            average = engine.evaluate(r.adapter, split)[1]
            known[r] = Seen([(r.round, fmean(alone) - average)], [(r.round, average)])
        return known[r]

    def headline(r: Round, seen: Seen) -> str:
        return f"round {r.round}: the clients stand {seen.points[0][1]:.2f} nats above their average"

    return Lens(measure, headline, axis=HEIGHT, beside="loss of the average", hover="round %{x}: %{y:.2f} nats")
