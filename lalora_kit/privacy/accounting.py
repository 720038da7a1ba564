"""Accounting: from noise multiplier σ to ε and back, for Poisson-subsampled Gaussian releases.

Every ε comes from Opacus' accountants: PRV (Gopi et al., arXiv 2106.02848, its upper bound) and RDP. Both bound
ε from above, so the smaller of the two is valid. The GDP accountant is not used: it is an approximation that
can report too little. One row of a composition is `(sample_rate, noise_multiplier, steps)`.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np

Composition = tuple[tuple[float, float, int], ...]

# Whole orders take milliseconds even at q = 1/2, where Opacus' fractional series is slow; the long tail keeps
# the bound useful at large noise (the stock orders end at 63, whose floor at δ = 1e-5 is ε = 0.10).
ORDERS = (*range(2, 33), 36, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256)
# Where ε is large the best order lies below 2 (σ=.2, q=.00256, 5000 steps: 255 with these, 65,333 without).
FINE_ORDERS = tuple(1 + tenth / 10 for tenth in range(1, 100))
RESOLUTION = 1e-3  # relative width at which the search for σ stops
TOLERANCE = 2e-3  # the calibrated run may stay this far (relative) below its target ε


def merged(rows: Iterable[tuple[float, float, int]]) -> Composition:
    """Add up the steps of equal `(sample_rate, noise_multiplier)` rows: the accountants' time grows with rows."""
    steps: dict[tuple[float, float], int] = {}
    for sample_rate, sigma, count in rows:
        steps[sample_rate, sigma] = steps.get((sample_rate, sigma), 0) + count
    return tuple((q, sigma, count) for (q, sigma), count in sorted(steps.items()) if count)


@functools.lru_cache(maxsize=4096)
def step_rdp(sample_rate: float, sigma: float, orders: tuple[float, ...]) -> np.ndarray:
    """RDP of one release at each order; that of many is a multiple of it, so a search asks for few of these."""
    from opacus.accountants.analysis.rdp import compute_rdp

    found = np.array(compute_rdp(q=sample_rate, noise_multiplier=sigma, steps=1, orders=list(orders)))
    found.setflags(write=False)
    return found


def rdp_epsilon(composition: Composition, delta: float, orders: tuple[float, ...] = ORDERS) -> float:
    """ε by Rényi accounting over the given orders: fast, and always at or above the tight value."""
    total = sum(steps * step_rdp(q, sigma, orders) for q, sigma, steps in composition)
    a = np.array(orders, dtype=float)
    spent = total + np.log1p(-1 / a) - (math.log(delta) + np.log(a)) / (a - 1)
    # An order at which the series failed bounds nothing (and max(0, nan) would be 0).
    return max(0.0, float(np.where(np.isnan(spent), np.inf, spent).min()))


def prv_epsilon(composition: Composition, delta: float) -> float:
    """ε by numerical composition of privacy loss variables: an upper bound within 0.01 of the estimate."""
    from opacus.accountants import PRVAccountant

    keep_rdp()
    accountant = PRVAccountant()
    accountant.history = [(sigma, q, steps) for q, sigma, steps in composition]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the")  # of its inner RDP, used for a grid size only
        spent = float(accountant.get_epsilon(delta))
    if math.isnan(spent):
        raise ValueError("PRV has no value here")  # never max(0, nan), which is 0
    return max(0.0, spent)


@functools.cache
def keep_rdp() -> None:
    """Let Opacus keep the RDP of one release at one order, from which PRV makes its grid, and anew for each ε asked."""
    from opacus.accountants.analysis import rdp

    if hasattr(rdp, "_compute_rdp"):  # a pure function of three numbers: kept, it gives the same bits
        rdp._compute_rdp = functools.lru_cache(maxsize=1 << 16)(rdp._compute_rdp)


def prv_is_slow(composition: Composition) -> bool:
    """Whether PRV would take many seconds or fail (little noise, many steps); RDP over fine orders is close there."""
    return any(sigma < 0.4 or (q >= 0.1 and sigma <= 1 and steps >= 1000) for q, sigma, steps in composition)


@functools.lru_cache(maxsize=4096)
def composed_epsilon(composition: Composition, delta: float, tight: bool = True) -> float:
    """ε at `delta` of all releases in `composition`, the smaller of PRV's and RDP's upper bounds.

    Args:
        composition: rows `(sample_rate, noise_multiplier, steps)`; see `merged`.
        delta: the δ of (ε, δ).
        tight: False gives RDP's value alone, in milliseconds.

    No release costs 0; a release without noise costs infinity.
    """
    if not composition:
        return 0.0
    if any(sigma == 0 for _, sigma, _ in composition):
        return math.inf
    spent = rdp_epsilon(composition, delta)
    if not tight:
        return spent
    if prv_is_slow(composition):
        return min(spent, rdp_epsilon(composition, delta, FINE_ORDERS))
    try:
        return min(spent, prv_epsilon(composition, delta))
    except (RuntimeError, ValueError, ZeroDivisionError, OverflowError):
        return spent  # PRV's domain can fail at extreme noise; RDP's bound stands on its own


def check_plan(epsilon: float, delta: float, sample_rate: float, steps: int) -> None:
    """Refuse what the accountants would loop on for ever or answer with nonsense."""
    valid = epsilon > 0 and 0 < delta < 1 and 0 < sample_rate <= 1 and steps >= 1 and int(steps) == steps
    if not valid:
        raise ValueError(
            f"epsilon={epsilon}, delta={delta}, sample_rate={sample_rate}, steps={steps} has no noise multiplier: "
            "epsilon must be above 0, delta in (0, 1), sample_rate in (0, 1], steps a whole number from 1"
        )


@functools.lru_cache(maxsize=4096)
def safe_noise_multiplier(
    epsilon: float, delta: float, sample_rate: float, steps: int, prior: Composition = ()
) -> float:
    """A σ that surely meets the target, within milliseconds: RDP's, at most 13 % above the tight one as tried.

    `prior` is what was released before, on the same samples. Where RDP sees no room beside it, each trial is
    accounted tightly instead, which takes seconds.
    """
    check_plan(epsilon, delta, sample_rate, steps)
    if math.isinf(epsilon):
        return 0.0

    def cost(sigma: float, tight: bool) -> float:
        return composed_epsilon(merged([*prior, (sample_rate, sigma, steps)]), delta, tight)

    for tight in (False, True) if prior else (False,):
        sigma = least_noise(functools.partial(cost, tight=tight), epsilon)
        if sigma is not None:
            return sigma
    raise ValueError(
        f"epsilon={epsilon} is not reachable at delta={delta} with {steps} steps on top of "
        f"{composed_epsilon(prior, delta):.3f} spent before; no noise is enough; raise epsilon or delta"
    )


def least_noise(cost: Callable[[float], float], epsilon: float) -> float | None:
    """The least σ (to 0.1 %) with `cost(σ) <= epsilon`, by doubling and bisection; None if no noise is enough."""
    low, high = 1e-2, 1.0
    while cost(high) > epsilon:
        low, high = high, 2 * high
        if high > 1e6:
            return None
    while high - low > RESOLUTION * high:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if cost(middle) <= epsilon else (middle, high)
    return high


@functools.lru_cache(maxsize=4096)
def noise_multiplier(epsilon: float, delta: float, sample_rate: float, steps: int, prior: Composition = ()) -> float:
    """The smallest σ (to about 0.2 % in ε) whose `steps` releases at `sample_rate`, on top of `prior`, cost `epsilon`.

    A secant search in (log σ, log ε) from the safe value downwards; only values that were seen to meet the
    target are ever returned. Infinite ε gives 0: no noise.

    >>> round(noise_multiplier(epsilon=3.0, delta=1e-5, sample_rate=0.1, steps=40), 2)
    1.28
    """
    best = safe_noise_multiplier(epsilon, delta, sample_rate, steps, prior)
    if best == 0.0:
        return best

    def spent(sigma: float) -> float:
        return composed_epsilon(merged([*prior, (sample_rate, sigma, steps)]), delta)

    points = [(math.log(best), math.log(max(spent(best), 1e-12)))]
    goal = math.log(epsilon * (1 - TOLERANCE / 2))
    guess = points[0][0] + (points[0][1] - goal) / 1.2  # ε falls about as σ^-1.2 hereabouts
    for _ in range(8):
        value = math.log(max(spent(math.exp(guess)), 1e-12))
        points.append((guess, value))
        if value <= math.log(epsilon):
            best = min(best, math.exp(guess))
            if value >= math.log(epsilon * (1 - TOLERANCE)):
                break
        (x0, y0), (x1, y1) = points[-2:]
        if abs(y1 - y0) < 1e-9:
            break
        guess = x1 + (goal - y1) * (x1 - x0) / (y1 - y0)
    return best
