"""The paper's claims that can be tested at this scale: a table of what is said to be above what, and by how much.

Nothing is run here; `verdicts` holds the rule. The figures of the paper carry the tags of their sources: [P] the paper
or a detailed note on it, [N] a secondary source. The full text was not at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lalora_kit.methods.controls import PASSED
from lalora_kit.trial.study import DEFAULTS

Line = Mapping[str, Any]  # a run, as `trials` keeps it


@dataclass(frozen=True)
class Unit:
    """How an effect is read from a pair of runs, positive in the claim's direction, and the least that would matter."""

    name: str
    effect: Callable[[Line, Line], float]
    least: float
    probe: bool = False


def points(one: Line, other: Line) -> float:
    """Final accuracy of one above the other's, in percentage points."""
    return 100 * (one["curve"][-1] - other["curve"][-1])


def difference_of(key: str) -> Callable[[Line, Line], float]:
    """A probe of one above the other's; NaN where it is undefined."""
    return lambda one, other: math.nan if None in (one[key], other[key]) else one[key] - other[key]


def lower(key: str) -> Callable[[Line, Line], float]:
    """ln(other / one) of a probe: how much lower it is; NaN where it is undefined or has no logarithm."""
    return lambda one, other: (
        math.log(other[key] / one[key]) if None not in (one[key], other[key]) and min(one[key], other[key]) > 0
        else math.nan
    )  # fmt: skip


POINTS = Unit("points of accuracy", points, 2.0)
COSINE = Unit("c_W", difference_of("coupling"), 0.05, probe=True)
FACTOR = Unit("ln of the ratio, factor space", lower("lambda_factors"), 0.1, probe=True)
WEIGHT = Unit("ln of the ratio, weight space", lower("lambda_weights"), 0.1, probe=True)


@dataclass(frozen=True)
class Claim:
    """A row: `one` is said to be above `other` (in the unit's sense) at ε; `control` moves as little as `one` does.

    paper: the paper's own figure in this unit, if any; `source` says where it is from and how sure that is (P paper or
    a detailed note on it, N secondary source). less: an ε whose effect is taken off, where a *growth* is claimed.
    at: settings that are not the task's usual ones, as pairs.
    """

    key: str
    text: str
    one: str
    other: str
    epsilon: float
    unit: Unit = POINTS
    paper: float | None = None
    source: str = "no figure found"
    control: str | None = None
    less: float | None = None
    at: tuple[tuple[str, Any], ...] = ()

    @property
    def moved(self) -> dict[str, Any]:
        """Settings that are not the task's usual ones."""
        return dict(self.at)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Where it needs runs."""
        return (self.epsilon,) if self.less is None else (self.epsilon, self.less)

    @property
    def at_stake(self) -> float:
        """The effect that is to be excluded: the paper's, or the least that would matter."""
        return self.paper if self.paper is not None and self.paper > 0 else self.unit.least

    @property
    def arms(self) -> tuple[str, str]:
        """The two sides."""
        return self.one, self.other


def over(other: str, epsilon: float, paper: float | None, source: str) -> Claim:
    """LA-LoRA over a rival."""
    text = f"LA-LoRA is more accurate than {other} at ε={epsilon:g}"
    return Claim(f"over-{other}-{epsilon:g}", text, "la-lora", other, epsilon, POINTS, paper, source, f"{other} × 0.5")


#: Where the paper's own comparison is made as well, one setting moved at a time.
MOVED: Mapping[str, tuple[str, Any]] = {
    "rank": ("rank", 16),
    "clients": ("clients", 16),
    "skew": ("dirichlet_beta", 0.1),
}
TOLD = {"rank": "rank 16", "clients": "16 clients", "skew": "labels skewed over the clients (β = 0.1)"}


def moved_claims(epsilons: Sequence[float] = (3, 1)) -> tuple[Claim, ...]:
    """LA-LoRA over each rival at each ε, away from the usual settings; the rival at half its rate beside it."""
    return tuple(
        replace(
            over(other, epsilon, None, "no figure found for this setting"),
            key=f"over-{other}-{epsilon:g}-{name}",
            text=f"LA-LoRA is more accurate than {other} at ε={epsilon:g}, {TOLD[name]}",
            at=(change,),
        )
        for name, change in MOVED.items()
        for epsilon in epsilons
        for other in ("dp-lora", "ffa-lora", "rolora")
    )


SWIN_T, SWIN_B = "Swin-T, CIFAR-100, ε=3 [P]", "Swin-B, CIFAR-100, ε=1 [P]"
ABLATION = "Swin-B, Tiny-ImageNet, ε=3 [P]"
NO_TABLE = "no row for ε=2 found"
SMALLER = f"la-lora-nofilter × {PASSED}"
CLAIMS: tuple[Claim, ...] = (
    over("dp-lora", 3, 60.07 - 45.40, SWIN_T),
    over("dp-lora", 2, None, NO_TABLE),
    over("dp-lora", 1, 74.56 - 55.98, SWIN_B),
    over("ffa-lora", 3, 60.07 - 52.09, SWIN_T),
    over("ffa-lora", 2, None, NO_TABLE),
    over("ffa-lora", 1, 74.56 - 61.94, SWIN_B),
    over("rolora", 3, 60.07 - 55.19, SWIN_T),
    over("rolora", 2, None, NO_TABLE),
    over("rolora", 1, 74.56 - 67.88, SWIN_B),
    Claim(
        "alternation", "alternating alone helps", "la-lora-nofilter", "dp-lora", 3, POINTS,
        53.07 - 30.64, ABLATION, "dp-lora × 0.5",
    ),
    Claim(
        "filter", "the filter adds to alternation", "la-lora", "la-lora-nofilter", 3, POINTS,
        61.97 - 53.07, ABLATION, SMALLER,
    ),
    Claim(
        "filter-alone", "the filter alone helps", "dp-lora-filter", "dp-lora", 3, POINTS,
        49.85 - 30.64, ABLATION, "dp-lora × 0.5",
    ),
    Claim("filter-order", "the filter needs the channels' own order", "la-lora", "la-lora-permuted", 3),
    Claim("filter-step", f"the filter does more than a step × {PASSED}", "la-lora", SMALLER, 3),
    Claim("granularity", "alternating by step beats alternating by round", "la-lora-nofilter", "rolora", 3),
    Claim(
        "gap", "LA-LoRA's lead over DP-LoRA grows as ε falls from 3 to 1", "la-lora", "dp-lora", 1, POINTS,
        (74.56 - 55.98) - (75.29 - 56.52), "Swin-B, CIFAR-100, ε=1 less ε=3 [P, N]", less=3,
    ),
    Claim(
        "coupling", "alternation raises the cosine of the two gradients", "la-lora-nofilter", "dp-lora", 1, COSINE,
        None, "Figure 2, not readable; the cosine is not defined there",
    ),
    Claim(
        "sharpness-factors", "λ_max is lower, in the space of the factors", "la-lora", "dp-lora", 1, FACTOR,
        math.log(101.62 / 64.77), "Swin-B, CIFAR-100, ε=1 [P]; its space is not stated", "dp-lora × 0.5",
    ),
    Claim(
        "sharpness-weights", "λ_max is lower, in the space of W", "la-lora", "dp-lora", 1, WEIGHT,
        math.log(101.62 / 64.77), "Swin-B, CIFAR-100, ε=1 [P]; its space is not stated", "dp-lora × 0.5",
    ),
)  # fmt: skip


def claims_on(task: str) -> tuple[Claim, ...]:
    """The rows of a task's trial: `mnist`, which has the samples for it, is asked away from the usual settings too."""
    return (*CLAIMS, *moved_claims()) if task.startswith("mnist") else CLAIMS


@dataclass(frozen=True)
class Exact:
    """A statement that is true or not, whatever the seed: what was computed, and what follows."""

    key: str
    text: str
    source: str
    found: str
    holds: bool

    @property
    def verdict(self) -> str:
        """Exact statements alone can be contradicted."""
        return "holds" if self.holds else "contradicted"


def exact_claims(local_steps: int = DEFAULTS.local_steps) -> list[Exact]:
    """What is said of N_B·N_A, from the closed forms of lesson 02 on a fresh 64 × 64 layer of rank 4."""
    import numpy as np

    from lalora_kit.lessons.amplification import Steps, expected_noise, fresh_layer, noisy_steps
    from lalora_kit.methods import METHODS

    layer, source = fresh_layer(64, 64, 4, np.random.default_rng(0)), "the paper's second cause [P]"
    halves = [expected_noise(layer, 0.1, steps=steps).cross for steps in (Steps(A=0, B=1), Steps(A=1, B=0))]
    apart, both = (
        expected_noise(layer, 0.1, steps=noisy_steps(METHODS[name], 1, local_steps)).cross
        for name in ("la-lora-nofilter", "dp-lora")
    )
    ratio = both / apart if apart else math.inf
    return [
        Exact("cross-step", "no N_B·N_A appears in a step", source, f"energy {max(halves):g}", max(halves) == 0),
        Exact(
            "cross-never", f"no N_B·N_A appears in a round of {local_steps} steps either", source,
            f"energy {apart:.3g}, not 0", apart == 0,
        ),
        Exact(
            "cross-less",
            f"{local_steps} alternating steps have 4 times less of it than {local_steps} steps on both factors", source,
            f"{ratio:.4g} times less", math.isclose(ratio, 4),
        ),
    ]  # fmt: skip
