"""Calibration: how often each client samples, who joins which round, and how much noise the target ε asks for."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from lalora_kit.base.steps import step
from lalora_kit.privacy import composed_epsilon, noise_multiplier
from lalora_kit.privacy.accounting import Composition
from lalora_kit.privacy.ledger import check_room
from lalora_kit.settings import Settings


def sampling_rates(settings: Settings, sizes: Sequence[int], unit: str = "sample") -> tuple[float, ...]:
    """q of each client: one `sample_rate` for all, or batch_size / n_i. Also checks δ against the sizes."""
    largest = max(sizes)
    if settings.private and settings.delta > 1 / largest:
        raise ValueError(
            f"delta={settings.delta} is larger than one over a client's {largest} {unit}s, so leaking a whole {unit} "
            f"would be within the promise; use delta below {1 / largest:.1e}"
        )
    if settings.private and settings.delta > 0.1 / largest:
        warnings.warn(
            f"delta={settings.delta} is above a tenth of 1/{largest}: a weak promise for a client of {largest} {unit}s",
            stacklevel=2,
        )
    if settings.batch_size is None:
        assert settings.sample_rate is not None
        return (float(settings.sample_rate),) * len(sizes)
    small = [client for client, size in enumerate(sizes) if size < settings.batch_size]
    if small:
        shown = ", ".join(f"client {client} has {sizes[client]}" for client in small[:5])
        raise ValueError(
            f"batch_size={settings.batch_size} is more than some clients hold ({shown}); a client cannot expect more "
            f"than all its {unit}s; use batch_size of at most {min(sizes)}, or set sample_rate instead"
        )
    return tuple(settings.batch_size / size for size in sizes)


def draw_schedule(settings: Settings, generator: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    """Participants of each round: ⌈participation · clients⌉ without replacement, in client order."""
    count = settings.participants
    return tuple(
        tuple(sorted(int(c) for c in generator.choice(settings.clients, size=count, replace=False)))
        for _ in range(settings.rounds)
    )


@step("finding the noise that ε asks for")
def calibrate(
    settings: Settings, rates: Sequence[float], schedule: Sequence[Sequence[int]], priors: Sequence[Composition]
) -> tuple[float, ...]:
    """σ of each client, tight. No credit is taken for client sampling: the server sees who joined."""
    joined = Counter(client for clients in schedule for client in clients)
    steps = max(joined.values(), default=0) * settings.local_steps
    if not settings.private or not steps:
        return (0.0,) * len(rates)
    spent = max(composed_epsilon(prior, settings.delta) for prior in priors)
    check_room(settings, spent)
    return tuple(
        noise_multiplier(settings.epsilon, settings.delta, rate, steps, prior)
        for rate, prior in zip(rates, priors, strict=True)
    )
