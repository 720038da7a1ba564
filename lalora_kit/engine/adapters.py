"""Adapters: LoRA's factors and the head as plain named tensors, and their life on disk in PEFT's own format.

A weight is W = W0 + s·B·A with s = α/r, A `(r, n)` random, B `(m, r)` zero, W0 `(m, n)` frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

Key = tuple[str, str]  # ("A" | "B" | "head" | "extra" | another kind, name of the layer or of the head's parameter)
OWN = ("A", "B", "head", "extra")  # kinds of which each client has its own; any other is one for all, and never trains


@dataclass(frozen=True, eq=False)
class Adapter:
    """Everything that trains: `tensors[kind, name]` with kind "A", "B" or "head".

    A single adapter holds A `(r, n)`, B `(m, r)` and the head's parameters; a stack of clients holds the same with
    a leading axis of clients. `scale` is s = α/r. A method may keep other kinds, which are one for all clients: "W" is
    what it has merged into W0 `(m, n)`.
    """

    tensors: Mapping[Key, Tensor]
    scale: float

    def of(self, kind: str) -> dict[str, Tensor]:
        """The tensors of one kind, by name."""
        return {name: value for (k, name), value in self.tensors.items() if k == kind}

    def own(self) -> dict[Key, Tensor]:
        """The tensors of which each client has its own."""
        return {key: value for key, value in self.tensors.items() if key[0] in OWN}

    def keys(self, factors: Iterable[str]) -> list[Key]:
        """Keys of the active factors and of the head, which always trains, in a fixed order."""
        kinds = {*factors, "head"}
        return [key for key in sorted(self.tensors) if key[0] in kinds]

    def with_tensors(self, tensors: Mapping[Key, Tensor]) -> Adapter:
        """A copy in which the given tensors replace the old ones."""
        return replace(self, tensors={**self.tensors, **tensors})

    def with_head(self, head: Mapping[str, Tensor]) -> Adapter:
        """A copy with another head, whose tensors are given by name."""
        return self.with_tensors({("head", name): value for name, value in head.items()})

    def map(self, function: Callable[[Tensor], Tensor]) -> Adapter:
        """A copy with `function` applied to each tensor."""
        return replace(self, tensors={key: function(value) for key, value in self.tensors.items()})

    def size(self, factors: Iterable[str]) -> int:
        """Numbers that a client uploads when it trained `factors`: those and the head."""
        return sum(self.tensors[key].numel() for key in self.keys(factors))

    def products(self) -> dict[str, Tensor]:
        """ΔW = s·B·A of each layer, `(m, n)`."""
        B = self.of("B")
        return {name: self.scale * (B[name] @ a) for name, a in self.of("A").items()}


def create(
    backbone: nn.Module, targets: Sequence[str], head: str, rank: int, scale: float, generator: np.random.Generator
) -> Adapter:
    """Kaiming-uniform A (variance 1/(3n), as in PEFT), zero B, the head as is. Line 1 of the algorithm in lesson 04."""
    tensors: dict[Key, Tensor] = {}
    for name in targets:
        m, n = backbone.get_submodule(name).weight.shape  # type: ignore[union-attr, misc]
        bound = 1 / math.sqrt(n)  # type: ignore[arg-type]
        tensors["A", name] = torch.from_numpy(generator.uniform(-bound, bound, (rank, n))).float()  # type: ignore[arg-type]
        tensors["B", name] = torch.zeros(m, rank, dtype=torch.float32)  # type: ignore[call-overload]
    for name, value in backbone.get_submodule(head).named_parameters():
        tensors["head", name] = value.detach().clone().float()
    return Adapter(tensors, scale)


def stack(adapter: Adapter, clients: int) -> Adapter:
    """One copy of the adapter a client: `(...)` -> `(clients, ...)`."""
    own = adapter.own().items()
    return adapter.with_tensors({key: value.unsqueeze(0).repeat(clients, *[1] * value.ndim) for key, value in own})


def unstack(adapter: Adapter, clients: int) -> list[Adapter]:
    """The clients' adapters, as views into the stack."""
    own = adapter.own().items()
    return [adapter.with_tensors({key: value[i] for key, value in own}) for i in range(clients)]


def average(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """The server's weighted mean of the factors that trained and of the head; others stay bit for bit (FedAvg).

    In float64, in the clients' order: no device or chunking moves it. Line 10 of the algorithm in lesson 04.
    """
    mean = {}
    for key in broadcast.keys(trained):
        total = torch.zeros_like(broadcast.tensors[key], dtype=torch.float64)
        for weight, client in zip(weights, clients, strict=True):
            total += weight * client.tensors[key].double()
        mean[key] = total.to(broadcast.tensors[key].dtype)
    return broadcast.with_tensors(mean)
