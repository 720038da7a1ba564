"""Noise amplification: noise on two factors multiplies, and the product grows with its square.

LA-LoRA's second root cause (arXiv 2602.19926): (B + N_B)·(A + N_A) = B·A + B·N_A + N_B·A + N_B·N_A.
Closed forms of the expected squared Frobenius norms ("energies") of the three disturbances of W = W0 + s·B·A, and
beside each a Monte Carlo estimate by the same arguments. The noise's own walk only: gradients are left out.

A model trained in full would get noise on its m·n weights at once, of energy τ²·m·n a step. LoRA is quieter than
that up to a crossing τ*, and louder past it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.lessons.gradients import one_layer
from lalora_kit.methods import Method
from lalora_kit.methods.method import Smooth, unchanged
from lalora_kit.privacy import gaussian

AVERAGES = ("factors", "products")


@dataclass(frozen=True)
class Steps:
    """How often noise was added: to A, to B, and to the full model that is the measure; `smooth` is applied after it.

    The default is one step that trains both. `noisy_steps` counts those of a method.
    """

    A: int = 1
    B: int = 1
    full: int = 1
    smooth: Smooth = unchanged


ONE_STEP = Steps()


@dataclass(frozen=True)
class NoiseEnergy:
    """Squared Frobenius norms of what noise does to W; `sizes` are their roots, the norms themselves.

    from_A: of s·B·N_A. from_B: of s·N_B·A. cross: of s·N_B·N_A, the only one that grows with the fourth power of τ.
    total: of all three together; their cross-covariances vanish, so the expected energies add up.
    full: of the noise on a model trained in full, without LoRA.
    """

    from_A: float
    from_B: float
    cross: float
    total: float
    full: float

    @property
    def sizes(self) -> NoiseEnergy:
        """The roots: Frobenius norms in place of their squares."""
        return NoiseEnergy(*map(math.sqrt, astuple(self)))


@dataclass(frozen=True)
class SampledNoise:
    """Monte Carlo: mean energies over the draws, and the standard error of each mean."""

    mean: NoiseEnergy
    error: NoiseEnergy


def noisy_steps(method: Method, rounds: int, local_steps: int) -> Steps:
    """Noisy steps that each factor gets from `rounds` rounds of `local_steps`, as the method's schedule has it.

    LA-LoRA halves both counts of DP-LoRA, so its N_B·N_A has a quarter of the energy, not none; FFA-LoRA leaves A
    alone, so it has none at all; RoLoRA has none within a round, but some over rounds.
    """
    trained = [method.trains(t, k) for t in range(1, rounds + 1) for k in range(1, local_steps + 1)]
    return Steps(sum("A" in x for x in trained), sum("B" in x for x in trained), len(trained), method.smooth)


def expected_noise(
    adapter: Adapter, noise_std: float, *, steps: Steps = ONE_STEP, clients: int = 1, average: str = "factors"
) -> NoiseEnergy:
    """Closed-form energies, summed over the adapter's layers.

    Args:
        adapter: the factors that the noise is added to, fresh or trained; the head is not looked at.
        noise_std: τ, what one step's noise moves one entry by: η·C·σ / L for rate η and expected batch L.
        steps: how many independent steps; the energies of N_A and of N_B grow with their counts.
        clients: N clients whose results are averaged with equal weights.
        average: "factors" (FedAvg: cross energy / N²) or "products" (exact aggregation of one round: only / N).

    Raises:
        ValueError: if `average` is neither, or there is no client.
    """
    check_average(clients, average)
    layers = []
    for A, B in pairs(adapter):
        (m, r), n = B.shape, A.shape[1]
        # Variance of an entry of one client's N_A and N_B; averages divide what follows by N.
        variance_a = noise_std**2 * steps.A * kept_by(steps.smooth, "A", n)
        variance_b = noise_std**2 * steps.B * kept_by(steps.smooth, "B", m)
        from_a = adapter.scale**2 * variance_a * n * square_sum(B) / clients
        from_b = adapter.scale**2 * variance_b * m * square_sum(A) / clients
        divisor = clients**2 if average == "factors" else clients
        cross = adapter.scale**2 * variance_a * variance_b * m * n * r / divisor
        full = noise_std**2 * steps.full * m * n / clients
        layers.append((from_a, from_b, cross, from_a + from_b + cross, full))
    return NoiseEnergy(*map(sum, zip(*layers, strict=True)))


def sampled_noise(
    adapter: Adapter,
    noise_std: float,
    *,
    draws: int,
    generator: np.random.Generator,
    steps: Steps = ONE_STEP,
    clients: int = 1,
    average: str = "factors",
) -> SampledNoise:
    """What `expected_noise` gives, from `draws` simulations: noise drawn step by step and client by client.

    Every energy is measured on the matrices; `total` on s·(mean of the products, or product of the means) − s·B·A.
    The standard error is NaN for a single draw.
    """
    check_average(clients, average)

    def simulate(A: Tensor, B: Tensor) -> np.ndarray:
        def noise(shape: Sequence[int], count: int, smooth: Smooth, factor: str) -> Tensor:
            walks = [walk(shape, noise_std, count, smooth, factor, generator) for _ in range(clients)]
            return torch.stack(walks)  # (clients, *shape)

        N_a, N_b = noise(A.shape, steps.A, steps.smooth, "A"), noise(B.shape, steps.B, steps.smooth, "B")
        if average == "factors":
            N_a, N_b = N_a.mean(0, keepdim=True), N_b.mean(0, keepdim=True)
        parts = (B @ N_a, N_b @ A, N_b @ N_a, (B + N_b) @ (A + N_a) - B @ A)  # (clients or 1, m, n) each
        full = noise((len(B), A.shape[1]), steps.full, unchanged, "W").mean(0)
        return np.array([*(adapter.scale**2 * square_sum(part.mean(0)) for part in parts), square_sum(full)])

    table = np.stack([sum(simulate(A, B) for A, B in pairs(adapter)) for _ in range(draws)])  # (draws, 5)
    error = table.std(axis=0, ddof=1) / math.sqrt(draws) if draws > 1 else np.full(5, math.nan)
    return SampledNoise(NoiseEnergy(*table.mean(axis=0).tolist()), NoiseEnergy(*error.tolist()))


def walk(
    shape: Sequence[int], std: float, steps: int, smooth: Smooth, factor: str, generator: np.random.Generator
) -> Tensor:
    """Sum of `steps` draws of noise of the given shape, each post-processed as a method's step would do it."""
    total = torch.zeros(*shape, dtype=torch.float64)
    for _ in range(steps):
        total += smooth(gaussian(total.numel(), std, generator).reshape(*shape), factor)
    return total


def crossover(adapter: Adapter, *, steps: Steps = ONE_STEP, clients: int = 1) -> float:
    """τ* above which LoRA disturbs W more than noise on the full model would; factors are averaged.

    For one step of one layer, τ*² = (1 − s²·(‖A‖²/n + ‖B‖²/m)) / (s²·r). NaN where the two never cross: one factor
    gets no noise, so that nothing grows faster than the full model's, or LoRA is the louder one from the start.
    """
    unit = expected_noise(adapter, 1.0, steps=steps, clients=clients)  # linear terms grow as τ², the cross term as τ⁴
    room = unit.full - unit.from_A - unit.from_B
    return math.sqrt(room / unit.cross) if room > 0 and unit.cross > 0 else math.nan


def fresh_layer(m: int, n: int, rank: int, generator: np.random.Generator, scale: float = 1.0) -> Adapter:
    """One m×n layer as LoRA begins: A uniform within ±1/√n (variance 1/(3n), as PEFT draws it), B zero."""
    A = torch.from_numpy(generator.uniform(-1, 1, (rank, n))) / math.sqrt(n)
    return one_layer(A, torch.zeros(m, rank, dtype=torch.float64), scale)


def pairs(adapter: Adapter) -> list[tuple[Tensor, Tensor]]:
    """A `(r, n)` and B `(m, r)` of each layer, in float64 on the CPU."""
    B = adapter.of("B")
    return [(A.double().cpu(), B[name].double().cpu()) for name, A in adapter.of("A").items()]


def kept_by(smooth: Smooth, factor: str, size: int) -> float:
    """Share of white noise's energy that linear post-processing along an axis of `size` lets through: ‖F‖² / size."""
    if smooth is unchanged:
        return 1.0
    return square_sum(smooth(torch.eye(size, dtype=torch.float64), factor)) / size


def square_sum(values: Tensor) -> float:
    """‖·‖_F²."""
    return float(values.square().sum())


def check_average(clients: int, average: str) -> None:
    """Refuse an unknown average, or no client."""
    if average not in AVERAGES:
        raise ValueError(f"average={average!r} is unknown; clients average either; use one of {', '.join(AVERAGES)}")
    if clients < 1:
        raise ValueError(f"clients={clients} is no federation: an average needs one client; use clients=1 or more")
