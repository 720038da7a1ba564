"""The gallery on trial: what is run, in which order, and by which rule it is judged; written before its first run.

    lalora compare --gallery --task mnist

- *Sides.* Every method of the paper's table and of the gallery, at the task's usual settings; as baselines `head-only`,
  `linear` (and `linear-hog`, where the task has pictures), and `untrained`, which is one number.
- *ε.* 3, 1, 8, and no noise at all.
- *Rates.* The task's one grid (`designs`), chosen on its seeds that choose (on mnist 10, 11, 12) by mean final
  accuracy, for each method and ε. The head's rate is one for all methods at an ε: the best for head-only there, where
  the design says so. A linear model has its own best of the same grid.
- *Seeds.* 0 to 4 are reported; they chose nothing.
- *Order.* ε = 3 first, then 1, 8, ∞; at each the baselines, the paper's methods, the gallery; of each of these first
  the runs that choose, then those that are reported. So a file that is cut short is whole as far as it goes.
- *Rule.* Two differences a method and ε, paired by seed, in points of accuracy: to LA-LoRA, and to the baseline that is
  strongest on the seeds that choose. All of all ε are one family, counted before a run is made, so that their intervals
  hold together at 95 % (`effects`). Ahead or behind is what has its whole interval on that side; else it is level:
  these seeds cannot tell. Of methods that are level none is ranked.
- *Numbers.* What a client sends and receives a round, the head's among them, stands beside every accuracy (`traffic`).
  Where each client has a model of its own (FedSA), accuracy is the mean of theirs on the one test set.

Runs that ship for the same task are taken over where task, settings and versions agree (`runs.take_kept`). A method
that sends more is not worse for it, and no sum of accuracy and numbers is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lalora_kit.methods import GALLERY, METHODS
from lalora_kit.runs.yardsticks import HEAD_ONLY
from lalora_kit.trial.designs import Design, design_of

EPSILONS = (3.0, 1.0, 8.0, math.inf)
SEEDS = (0, 1, 2, 3, 4)
REFERENCE = "la-lora"


@dataclass(frozen=True)
class Trial:
    """What is on trial.

    Attributes:
        design: task, grids and seeds.
        paper, gallery: methods by name; the first group is run first.
        epsilons: in the order in which they are run.
    """

    design: Design
    paper: tuple[str, ...]
    gallery: tuple[str, ...]
    epsilons: tuple[float, ...] = EPSILONS

    @property
    def names(self) -> tuple[str, ...]:
        """All methods that train an adapter."""
        return (*self.paper, *self.gallery)

    @property
    def groups(self) -> Sequence[tuple[str, ...]]:
        """In the order in which they are run."""
        return [group for group in (self.paper, self.gallery) if group]


def gallery_trial(task: str) -> Trial:
    """The trial on a task.

    >>> trial = gallery_trial("mnist")
    >>> trial.design.rates, trial.design.tuning_seeds, trial.design.seeds
    ((1.0, 2.0, 4.0, 8.0, 16.0), (10, 11, 12), (0, 1, 2, 3, 4))
    """
    paper = tuple(name for name in METHODS if name != HEAD_ONLY)
    return Trial(replace(design_of(task), seeds=SEEDS), paper, tuple(GALLERY))
