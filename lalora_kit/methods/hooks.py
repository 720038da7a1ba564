"""Hooks: what a method may say beyond the three questions, each with a default that does nothing.

What a hook sees has left the mechanism, or is public: adapters that noised gradients have moved, the frozen backbone,
round and step, public randomness. `chart` alone decides how a gradient is looked at before it is clipped, and so it is
a linear map that the adapter fixes. No hook is given a sample, a label, or a gradient without noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.settings import Settings

Begins = Callable[[Adapter, nn.Module, np.random.Generator], Adapter]
Opens = Callable[[Adapter, int, np.random.Generator], Adapter]
Between = Callable[[Adapter, Sequence[int], int, int], None]
Exchanges = Callable[[int], frozenset[int]]
Perturbs = Callable[[Adapter, Adapter, Settings, int, int, np.random.Generator], Adapter]
Sends = Callable[[Adapter, frozenset[str]], int]
Reads = Callable[[Mapping[Key, Tensor]], Mapping[Key, Tensor]]
Crosses = Callable[[Adapter, Adapter], Adapter]
Traffic = Callable[[Adapter, int], tuple[float, float]]


def as_drawn(adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
    """The first adapter as it was drawn."""
    return adapter


def as_sent(server: Adapter, round: int, generator: np.random.Generator) -> Adapter:
    """A round starts from the server's adapter as it is."""
    return server


def as_it_is(local: Adapter, clients: Sequence[int], round: int, step: int) -> None:
    """Nothing happens between steps."""


def only_at_the_end(local_steps: int) -> frozenset[int]:
    """One exchange a round, after its last step."""
    return frozenset({local_steps})


def as_they_are(
    local: Adapter, start: Adapter, settings: Settings, round: int, step: int, generator: np.random.Generator
) -> Adapter:
    """Gradients are taken at the clients' own weights."""
    return local


def all_that_trained(adapter: Adapter, trained: frozenset[str]) -> int:
    """The factors that trained, and the head."""
    return adapter.size(trained)


def as_they_stand(tensors: Mapping[Key, Tensor]) -> Mapping[Key, Tensor]:
    """Layers compute with the tensors that train."""
    return tensors


def begun_anew(fresh: Adapter, before: Adapter) -> Adapter:
    """A task keeps nothing of the one before."""
    return fresh


def counted(adapter: Adapter, numbers: Callable[[int, int, int], float]) -> float:
    """`numbers(m, n, r)` summed over the layers of an adapter as it is drawn, and the head's."""
    B = adapter.of("B")
    return adapter.size(()) + sum(numbers(len(B[name]), A.shape[1], len(A)) for name, A in adapter.of("A").items())


def pooled(parts: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Means over several exchanges, each part with its number of steps; of one part, that part as it is."""
    if len(parts) == 1:
        return dict(parts[0][0])
    means = {}
    for name in {name: None for values, _ in parts for name in values}:
        known = [(values[name], steps) for values, steps in parts if not math.isnan(values.get(name, math.nan))]
        total = sum(steps for _, steps in known)
        means[name] = sum(value * steps for value, steps in known) / total if total else math.nan
    return means


@dataclass(frozen=True, eq=False)
class Chart:
    """Coordinates of the active tensors, in which a step's gradients are clipped, added up and noised.

    Each sample's gradient g becomes h = L·g·R, a tensor at a time, with matrices that the owner's factors fix; of h the
    norm is held to C, and σC is the noise on each of its numbers; what comes out is read as L′·h·R′. Whatever the
    matrices are, one sample moves a sum of h by at most C, so that ε is what it is without a chart; reading back is
    post-processing. None stands for a matrix of one.

    Attributes:
        left, right: a key's L `(clients, p, m)` and R `(clients, n, q)`.
        back_left, back_right: L′ `(clients, m, p)` and R′ `(clients, q, n)`.
        mend: `(what was read back, by key)` -> the same, where tensors have to be put together; None leaves them.
    """

    left: dict[Key, Tensor | None]
    right: dict[Key, Tensor | None]
    back_left: dict[Key, Tensor | None]
    back_right: dict[Key, Tensor | None]
    mend: Callable[[dict[Key, Tensor]], dict[Key, Tensor]] | None = None

    def to(self, active: Sequence[Key], gradients: Sequence[Tensor], owner: Tensor) -> list[Tensor]:
        """Gradients `(samples, m, n)` in coordinates `(samples, p, q)`; `owner` `(samples,)` places each sample."""
        return [self._between(g, self.left.get(key), self.right.get(key), owner)
                for key, g in zip(active, gradients, strict=True)]  # fmt: skip

    def back(self, found: dict[Key, Tensor]) -> dict[Key, Tensor]:
        """What was noised `(clients, p, q)`, as gradients `(clients, m, n)`, by key."""
        read = {key: self._between(h, self.back_left.get(key), self.back_right.get(key)) for key, h in found.items()}
        return read if self.mend is None else self.mend(read)

    def shape(self, key: Key, local: Adapter) -> tuple[int, ...]:
        """The shape `(p, q)` of a client's tensor in coordinates; one that has no matrices keeps its own."""
        shape, left, right = list(local.tensors[key].shape[1:]), self.left.get(key), self.right.get(key)
        if left is not None:
            shape[0] = left.shape[1]
        if right is not None:
            shape[1] = right.shape[2]
        return tuple(shape)

    @staticmethod
    def _between(value: Tensor, left: Tensor | None, right: Tensor | None, owner: Tensor | None = None) -> Tensor:
        for side, matrix in (("left", left), ("right", right)):
            if matrix is not None:
                mine = matrix if owner is None else matrix.index_select(0, owner)
                mine = mine.to(value.dtype)
                value = torch.bmm(mine, value) if side == "left" else torch.bmm(value, mine)
        return value


ChartOf = Callable[[Adapter, Sequence[Key]], Chart]


@dataclass(frozen=True)
class About:
    """A method in words, for its row of a table.

    Attributes:
        does: what it does, in a line.
        trains: what a client trains, beside the head.
        sends: numbers that a client uploads and downloads for a layer, beside the head.
        exact: what the server's average of products is: exact, or what is lost.
        sums: whether a server that sees only sums over clients could run it.
        privacy: what it costs in noise.
        changed: what was changed against the paper or its code, and why.
    """

    does: str = ""
    trains: str = ""
    sends: str = ""
    exact: str = ""
    sums: str = ""
    privacy: str = ""
    changed: str = "nothing"


#: Hooks and the default of each; a method's identity holds those that differ.
HOOKS: dict[str, object] = {
    "begins": as_drawn,
    "opens": as_sent,
    "between": as_it_is,
    "exchanges": only_at_the_end,
    "chart": None,
    "perturbs": as_they_are,
    "sends": all_that_trained,
    "stays": (),
    "reads": as_they_stand,
    "crosses": begun_anew,
    "optimizers": ("sgd", "adamw"),
}
