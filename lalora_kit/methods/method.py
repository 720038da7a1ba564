"""What a method is: a frozen value made of named functions, so that it prints, compares and pickles.

The loop asks it three things: which factors train at a local step, what happens to a gradient after the noise
(post-processing only, so it costs no privacy), and how the server combines the clients. The head trains at every
step of every method, inside the same clipped vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average

Trains = Callable[[int, int], frozenset[str]]
Smooth = Callable[[Tensor, str], Tensor]
Aggregate = Callable[[Adapter, Sequence[Adapter], Sequence[float], frozenset[str]], Adapter]

NONE: frozenset[str] = frozenset()
A: frozenset[str] = frozenset({"A"})
B: frozenset[str] = frozenset({"B"})
BOTH: frozenset[str] = A | B


def unchanged(gradient: Tensor, factor: str) -> Tensor:
    """No post-processing: the noised gradient as it is."""
    return gradient


@dataclass(frozen=True)
class Method:
    """A federated LoRA method.

    Attributes:
        name: as on the command line and in `METHODS`.
        paper: where it comes from.
        trains: `(round, local_step) -> {"A", "B"} subset`, both counted from 1.
        smooth: `(noised gradient (clients, ...), "A" or "B") -> same shape`; linear, never sees raw data.
        aggregate: `(broadcast, clients, weights, trained) -> Adapter`; must not change its inputs.
        least_local_steps: below this some factor would never train.
        source: for one that came from `file.py:NAME`, its file, name and sha256; else empty. No part of what it is.
    """

    name: str
    paper: str
    trains: Trains
    smooth: Smooth = unchanged
    aggregate: Aggregate = average
    least_local_steps: int = 1
    source: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def trained_in(self, round: int, local_steps: int) -> frozenset[str]:
        """Factors that move in a round: what a client uploads beside the head."""
        return frozenset().union(*(self.trains(round, step) for step in range(1, local_steps + 1)))

    def check(self, local_steps: int) -> None:
        """Raise `ValueError` if a round is too short for the method's schedule."""
        if local_steps < self.least_local_steps:
            raise ValueError(
                f"local_steps={local_steps} is too few for {self.name}: its schedule restarts each round and needs "
                f"{self.least_local_steps} local steps to reach every factor, so one would never train; "
                f"use local_steps={self.least_local_steps} or more"
            )
