"""Partition: who holds which sample, at random, by label skew or by natural owner.

Every sample goes to exactly one client, and no client is left empty.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lalora_kit.base.fingerprint import as_bytes
from lalora_kit.tasks import Split, Task

MAX_REDRAWS = 100

Shards = tuple[np.ndarray, ...]


def partition(
    labels: Sequence[int] | np.ndarray,
    clients: int,
    beta: float | None,
    generator: np.random.Generator,
    *,
    owners: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> Shards:
    """Split samples over clients: at random (`beta=None`), with Dirichlet(beta) label skew, by owner or by unit.

    Args:
        labels: `(samples,)` integer labels.
        clients: number of clients.
        beta: concentration; small values give each client few classes (Hsu et al., arXiv 1909.06335).
        generator: the source of randomness.
        owners: `(samples,)` whose each sample is; where given, each client is made of whole owners.
        units: `(samples,)` the person behind each sample; where given, no person sits with two clients.

    Returns:
        One sorted index array a client; together they hold every sample once.

    Raises:
        ValueError: if there are more clients than samples, if 100 Dirichlet draws all left a client empty, if there are
            more clients than owners or units, or if beta is given beside them.

    >>> shards = partition([0, 1, 0, 1, 0, 1], 2, None, np.random.default_rng(0))
    >>> [len(shard) for shard in shards], sorted(np.concatenate(shards).tolist())
    ([3, 3], [0, 1, 2, 3, 4, 5])
    """
    labels = np.asarray(labels)
    if clients > len(labels):
        raise ValueError(
            f"clients={clients} is more than the {len(labels)} training samples; each client needs at least one; "
            f"use at most {len(labels)} clients"
        )
    if owners is not None:
        return by_owner(np.asarray(owners), clients, beta, generator)
    if units is not None:
        return by_owner(np.asarray(units), clients, beta, generator, "units")
    if beta is None:
        return tuple(np.sort(part) for part in np.array_split(generator.permutation(len(labels)), clients))
    for _ in range(MAX_REDRAWS):
        shards = dirichlet(labels, clients, beta, generator)
        if min(map(len, shards)) > 0:
            return shards
    raise ValueError(
        f"dirichlet_beta={beta} left a client without samples in {MAX_REDRAWS} draws over {clients} clients and "
        f"{len(labels)} samples; every client must hold at least one; use a larger beta or fewer clients"
    )


def by_owner(
    owners: np.ndarray, clients: int, beta: float | None, generator: np.random.Generator, what: str = "owners"
) -> Shards:
    """Deal whole owners at random, as many to each client as to another; sizes and labels fall as they may."""
    names = np.unique(owners)
    if beta is not None:
        raise ValueError(
            f"dirichlet_beta={beta} is set, but this task's clients are made of the samples' {what}; it is one or the "
            "other; leave dirichlet_beta out"
        )
    if clients > len(names):
        raise ValueError(
            f"clients={clients} is more than the {len(names)} {what} of the training samples; each client needs at "
            f"least one; use at most {len(names)} clients"
        )
    hands = np.array_split(generator.permutation(names), clients)
    return tuple(np.flatnonzero(np.isin(owners, hand)) for hand in hands)


def dirichlet(labels: np.ndarray, clients: int, beta: float, generator: np.random.Generator) -> Shards:
    """One draw: each class is cut into `clients` pieces whose shares follow Dirichlet(beta)."""
    held: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(clients, beta))
        cuts = np.floor(np.cumsum(shares)[:-1] * len(members) + 0.5).astype(int)
        for parts, piece in zip(held, np.split(members, cuts), strict=True):
            parts.append(piece)
    return tuple(np.sort(np.concatenate(parts)) for parts in held)


def units_of(task: Task, shard: np.ndarray) -> np.ndarray:
    """Each sample's unit of privacy, numbered within the shard; the sample itself where the task names none."""
    if task.train.units is None:
        return np.arange(len(shard))
    return np.unique(task.train.units.numpy()[shard], return_inverse=True)[1]


def size_of(units: np.ndarray) -> int:
    """How many different units there are, numbered from 0."""
    return int(units.max()) + 1


def holdings(split: Split, shards: Shards, key: bytes) -> list[str]:
    """What each client holds, by content: equal where it is the same samples in the same units, in any order.

    `key` is mixed in, so that nobody can try a guess at a sample against what is told here.
    """
    values = {**split.inputs, "labels": split.labels}
    head = hashlib.blake2b(repr([(n, values[n].shape[1:], values[n].dtype) for n in sorted(values)]).encode(), key=key)
    columns = [as_bytes(values[name]).reshape(len(split), -1) for name in sorted(values)]
    held = []
    for shard in shards:
        units: dict[int, list[bytes]] = defaultdict(list)
        for row in shard.tolist():
            sample = head.copy()
            for column in columns:
                sample.update(column[row].data)
            units[row if split.units is None else int(split.units[row])].append(sample.digest())
        persons = sorted(hashlib.blake2b(b"".join(sorted(unit))).digest() for unit in units.values())
        held.append(hashlib.blake2b(b"".join(persons)).hexdigest())
    return held
