"""Forecast: what a run over sites of given sizes would spend, and how loud its noise would be, before any data exist.

Only sizes and settings go in, so a consortium can decide on ε, δ and the batch before anybody opens a file. At a site
of n samples, sampling rate q and noise multiplier σ, a step releases the clipped sum plus noise, divided by q·n:

    noise on each number     σC / (q·n)
    norm of the noise        about σC·√d / (q·n), for d numbers that train in the step
    norm of the signal       at most C, and only if every sample is clipped and all point the same way
    signal-to-noise          at most q·n / (σ·√d); C cancels
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from lalora_kit.base.checks import counting, require
from lalora_kit.base.files import finite_or_null
from lalora_kit.engine.adapters import create
from lalora_kit.methods import Method
from lalora_kit.privacy import Streams, composed_epsilon
from lalora_kit.privacy.calibration import calibrate
from lalora_kit.settings import Settings
from lalora_kit.tasks import SAMPLE


@dataclass(frozen=True)
class Site:
    """One site's share of the plan.

    Attributes:
        samples: n, or persons where a person is the unit of privacy.
        sample_rate, expected_batch: q, and q·n.
        noise_multiplier: σ; NaN where no rate is possible.
        noise_std: standard deviation of the noise on each number of a step, σC/(q·n).
        signal_to_noise: the most that a step can have, q·n/(σ·√d).
        epsilon: what the site would have spent at the end, at the settings' δ.
        remedies: what is wrong with so small or so large a site, and what to do; empty if nothing is.
    """

    samples: int
    sample_rate: float
    expected_batch: float
    noise_multiplier: float
    noise_std: float
    signal_to_noise: float
    epsilon: float
    remedies: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """All sites, and what the server's mean over them could have: `signal_to_noise` after averaging one step.

    `parameters` is d, the most numbers that train in one step; `steps` are the private steps of a site. `refused`
    tells whether `lalora train` would refuse to begin.
    """

    sites: tuple[Site, ...]
    parameters: int
    steps: int
    signal_to_noise: float
    refused: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is infinite or not defined becomes null."""
        return finite_or_null(asdict(self))


def forecast(sizes: Sequence[int], settings: Settings, parameters: int, unit: str = SAMPLE) -> Forecast:
    """The plan for sites of these sizes, every one of which joins every round.

    Args:
        sizes: samples of each site (persons, where a person is the unit of privacy).
        settings: ε, δ, C, rounds, local steps and the sampling; `clients` must be the number of sites.
        parameters: d, numbers that train in one step; see `trained_numbers`.
        unit: what a size counts, for the remedies.

    Raises:
        ValueError: if a size is no whole number from 1, or there are none.

    >>> plan = forecast([320, 30], Settings(clients=2, epsilon=math.inf), parameters=100)
    >>> [site.expected_batch for site in plan.sites]
    [32.0, 3.0]
    """
    require("sizes", list(sizes), len(sizes) > 0, "there must be at least one site", "give 320,150,60")
    for size in sizes:
        counting("sizes", size)
    counting("parameters", parameters)
    require("clients", settings.clients, settings.clients == len(sizes), "each size is one client", f"use {len(sizes)}")
    rates = [rate_of(settings, size) for size in sizes]
    known = [rate for rate in rates if rate <= 1]
    sigmas = iter(calibrate(settings, known, [range(len(known))] * settings.rounds, [()] * len(known)))
    sites = tuple(
        site(settings, size, rate, next(sigmas) if rate <= 1 else math.nan, parameters, unit)
        for size, rate in zip(sizes, rates, strict=True)
    )
    return Forecast(
        sites,
        parameters,
        settings.rounds * settings.local_steps,
        averaged(sites, parameters),
        refused=any(rate > 1 for rate in rates) or (settings.private and settings.delta > 1 / max(sizes)),
    )


def rate_of(settings: Settings, size: int) -> float:
    """q: the settings' own, or batch_size/n, which may come out above 1."""
    if settings.batch_size is not None:
        return settings.batch_size / size
    assert settings.sample_rate is not None
    return settings.sample_rate


def site(settings: Settings, size: int, rate: float, sigma: float, parameters: int, unit: str) -> Site:
    """One site at noise multiplier `sigma`."""
    batch, steps = rate * size, settings.rounds * settings.local_steps
    return Site(
        samples=size,
        sample_rate=rate,
        expected_batch=batch,
        noise_multiplier=sigma,
        noise_std=sigma * settings.clip_norm / batch,
        signal_to_noise=math.inf if sigma == 0 else batch / (sigma * math.sqrt(parameters)),
        epsilon=math.nan if math.isnan(sigma) else composed_epsilon(((rate, sigma, steps),), settings.delta),
        remedies=remedies(settings, size, rate, unit),
    )


def remedies(settings: Settings, size: int, rate: float, unit: str) -> tuple[str, ...]:
    """What `lalora train` would refuse or warn of at a site of `size`, each with what to do."""
    said = []
    if rate > 1:
        said.append(
            f"batch_size={settings.batch_size:g} is more than its {size} {unit}s, and train refuses it: use at most "
            f"{size}, set sample_rate instead, or join it with another site"
        )
    elif rate * size < 1:
        said.append(f"a step expects {rate * size:.2g} {unit}s, so most are noise alone: use a rate of {1 / size:.2g}")
    if settings.private and settings.delta > 1 / size:
        said.append(
            f"delta={settings.delta:g} is more than 1/{size}, so leaking a whole {unit} would be within the promise, "
            f"and train refuses it: use delta below {1 / size:.1e}, a tenth of that for a strong promise"
        )
    elif settings.private and settings.delta > 0.1 / size:
        said.append(f"delta={settings.delta:g} is above a tenth of 1/{size}, a weak promise: use {0.1 / size:.1e}")
    return tuple(said)


def averaged(sites: Sequence[Site], parameters: int) -> float:
    """The most that the mean of one step over all sites, weighted by size, can have: independent noises shrink."""
    total = sum(site.samples for site in sites)
    noise = math.sqrt(sum((site.samples / total * site.noise_multiplier / site.expected_batch) ** 2 for site in sites))
    return math.inf if noise == 0 else 1 / (noise * math.sqrt(parameters))


def trained_numbers(backbone: nn.Module, targets: Sequence[str], head: str, rank: int, method: Method) -> int:
    """d: the most numbers that `method` trains in one step, its factors and the head, of two rounds of two steps."""
    generator = Streams.from_seed(0).generator("init")
    fresh = method.opens(create(backbone, targets, head, rank, 1.0, generator), 1, generator)
    return max(method.sends(fresh, method.trains(t, k)) for t in (1, 2) for k in (1, 2))
