"""What the lessons' panels draw of each round: a lens a lesson, measured in the thread that trains.

Read on public test samples, or on gradients without noise: for a lesson, not for release.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lalora_kit.adapters import Adapter
from lalora_kit.coupling import Coupling, coupling, half_steps, promised_move
from lalora_kit.gradients import Gradients, noised_gradient
from lalora_kit.lens import Lens, Seen
from lalora_kit.lesson import schedule_cost
from lalora_kit.persample import Engine
from lalora_kit.privacy import Streams
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task


@dataclass(frozen=True, eq=False)
class Pair:
    """One step's gradients of A and B, clipped alike: `quiet` without noise, `noised` with a private step's."""

    quiet: Gradients
    noised: Gradients


def noise_std(task: Task, settings: Settings, noise_multiplier: float) -> float:
    """τ = σ·C / L per entry of an averaged gradient; L is the expected batch of a client of average size."""
    batch = schedule_cost(task, settings)[2] * len(task.train) / settings.clients
    return noise_multiplier * settings.clip_norm / batch


def step_gradients(task: Task, settings: Settings, r: Round, split: Split) -> Pair:
    """What one client's step on both factors would see after round r, were its draw all of `split`."""
    engine = Engine(task, settings.scale, device=settings.device, max_samples=settings.max_samples)
    std = noise_std(task, settings, r.noise_multiplier)
    streams = Streams.from_seed(settings.seed)
    quiet, noised = (
        noised_gradient(
            engine, r.adapter, split, clip_norm=settings.clip_norm, noise_std=τ,
            generator=streams.generator("noise of a lesson", round=r.round),
        )
        for τ in (0.0, std)
    )  # fmt: skip
    return Pair(quiet, noised)


def surprises(records: Sequence[Round], pairs: Sequence[Pair], kind: str, rate: float) -> list[float]:
    """Surprise of a step on both factors after each round, by its `kind` of gradients, quiet or noised."""
    return [
        promised_move(r.adapter, getattr(pair, kind), rate).pooled.surprise
        for r, pair in zip(records, pairs, strict=True)
    ]


def cosines(records: Sequence[Round], pairs: Sequence[Pair], kind: str) -> list[Coupling]:
    """The cosines between the gradients of A and B after each round, over all layers, by their `kind`."""
    return [coupling(r.adapter, getattr(pair, kind)).pooled for r, pair in zip(records, pairs, strict=True)]


def surprise_by_rate(
    adapter: Adapter, gradient: Callable[[Adapter, Sequence[str]], Gradients], rates: Sequence[float]
) -> dict[str, list[float]]:
    """Surprise of one step at each rate: on both factors together, and of an alternation's half-steps."""
    both = gradient(adapter, "AB")
    moves = [(promised_move(adapter, both, rate), *half_steps(adapter, gradient, rate)[:2]) for rate in rates]
    columns = zip(("together", "B in turn", "A in turn"), zip(*moves, strict=True), strict=True)
    return {name: [move.pooled.surprise for move in column] for name, column in columns}


def surprise_lens(task: Task, split: Split) -> Lens:
    """Surprise of a step on both factors after each round, with the noise of the run and without."""

    def measure(settings: Settings, r: Round) -> Seen:
        pairs = [step_gradients(task, settings, r, split)]
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
