"""Privacy: calibrating the noise, drawing and clipping and noising, and recording what was released.

Read `mechanism` first: it draws, clips each sample, adds noise. Then `budgets` (one clip, or head and adapter apart),
`accounting` (ε from noise and back), `ledger` and `release` (what was released), `identity` (is a resumed run a
replay?), `soundcheck` (which tasks may train at all). Imports base, settings, tasks, engine, records, methods.
"""

from lalora_kit.privacy.accounting import composed_epsilon, merged, noise_multiplier, safe_noise_multiplier
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
    "poisson_draw",
    "safe_noise_multiplier",
    "summed_by_unit",
]
