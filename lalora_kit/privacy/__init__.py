"""Privacy: calibrating the noise, drawing and clipping and noising, and recording what was released.

The guarantee rests on `accounting` (ε from noise and back, through Opacus), `mechanism` (draw, clip, noise), `ledger`
(what was released), `identity` (what is a replay) and `soundcheck` (what is let in). Imports `base`, `tasks`, `engine`
and `methods`. Read `mechanism` first: the only code that touches a sample's gradient before the noise.
"""

from lalora_kit.privacy.accounting import (
    composed_epsilon,
    merged,
    noise_multiplier,
    odds,
    safe_noise_multiplier,
)
from lalora_kit.privacy.ledger import BudgetExceeded, Ledger, Release
from lalora_kit.privacy.mechanism import Streams, clipped_sum, gaussian, poisson_draw, summed_by_unit

__all__ = [
    "BudgetExceeded",
    "Ledger",
    "Release",
    "Streams",
    "clipped_sum",
    "composed_epsilon",
    "gaussian",
    "merged",
    "noise_multiplier",
    "odds",
    "poisson_draw",
    "safe_noise_multiplier",
    "summed_by_unit",
]
