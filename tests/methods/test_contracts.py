"""One contract for every method: what its average keeps, what it may see, and that it runs, resumes and is charged."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, create, stack, unstack
from lalora_kit.methods import EVERY, Method
from lalora_kit.methods.algebra import moved
from tests.tiny import distance, identical, linear_task

ALL = pytest.mark.parametrize("method", EVERY.values(), ids=EVERY)
TASK = linear_task()
WEIGHTS = [0.5, 0.3, 0.2]
#: Whose average of products is exact; of the others, how much it may lose here at most.
EXACT = {
    *("ffa-lora", "rolora", "head-only", "ffa-lora-qr", "fedsvd", "flora", "flora-unequal", "fedex", "rac-lora"),
    *("fed-sb", "fedask", "deer", "galore-mean", "dense-mean"),
}
NOT_EXACT = {
    "la-lora", "la-lora-nofilter", "dp-lora", "dp-lora-filter", "la-lora-gauge", "flexlora", "flexlora-unequal",
    "lora-fair",
}  # fmt: skip
APART = {"fedsa"}  # no model for all


def begun(method: Method, seed: int, rank: int = 2, scale: float = 0.7) -> Adapter:
    """What the method's server sends in a round, in float64, with factors that have moved where they could have."""
    generator = np.random.default_rng(seed)
    drawn = create(TASK.backbone, TASK.targets, TASK.head, rank, scale, generator)
    first = method.begins(drawn, TASK, generator).map(Tensor.double)
    return method.opens(first, 1, generator)


def trains_until(method: Method, exchange: int = 0) -> tuple[frozenset[str], int]:
    """What trains before the first (0) or last (-1) exchange of a round of four steps, and its last step."""
    ends = [0, *sorted(method.exchanges(4))]
    first, last = (ends[0], ends[1]) if exchange == 0 else (ends[-2], ends[-1])
    return frozenset().union(*(method.trains(1, k) for k in range(first + 1, last + 1))), last


def trained_from(method: Method, sent: Adapter, seed: int, clients: int = 3, exchange: int = 0) -> list[Adapter]:
    """What clients could send back: what trains has moved at random, within what the method's chart lets through."""
    local, generator = stack(sent, clients), torch.Generator().manual_seed(seed)
    trained, last = trains_until(method, exchange)
    active = local.keys(trained)
    change = {key: torch.randn(local.tensors[key].shape, generator=generator, dtype=torch.float64) for key in active}
    if method.chart is not None:
        chart = method.chart(local, active)
        flat = chart.to(active, list(change.values()), torch.arange(clients))
        change = chart.back(dict(zip(active, flat, strict=True)))
    local = local.with_tensors({key: local.tensors[key] + value for key, value in change.items()})
    method.between(local, range(clients), 1, last + 1)
    return unstack(local, clients)


def mean_of_products(clients: list[Adapter], weights: list[float]) -> dict[str, Tensor]:
    products = [moved(client) for client in clients]
    return {name: sum(w * p[name] for w, p in zip(weights, products, strict=True)) for name in products[0]}


def lost(mean: Adapter, clients: list[Adapter], weights: list[float]) -> float:
    exact = mean_of_products(clients, weights)
    return max(float((moved(mean)[name] - value).norm() / value.norm().clamp_min(1e-300))
               for name, value in exact.items())  # fmt: skip


def test_the_lists_are_complete():
    assert {*EXACT, *NOT_EXACT, *APART} == EVERY.keys()
    assert len(EXACT) + len(NOT_EXACT) + len(APART) == len(EVERY)
    assert all(method.name == name and method.paper for name, method in EVERY.items())


@ALL
def test_a_method_is_a_plain_value(method):
    assert pickle.loads(pickle.dumps(method)) == method
    assert method.name in repr(method) and replace(method, name="mine") != method


@ALL
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_of_products_is_exact_where_it_is_claimed_and_lost_where_not(method, seed):
    sent = begun(method, seed)
    clients = trained_from(method, sent, seed)
    trained, _ = trains_until(method)
    before = [client.map(Tensor.clone) for client in (*clients, sent)]
    mean = method.aggregate(sent, clients, WEIGHTS, trained)
    assert all(identical(left, right) for left, right in zip((*clients, sent), before, strict=True))
    for name, value in mean.of("head").items():
        expected = sum(w * c.tensors["head", name] for w, c in zip(WEIGHTS, clients, strict=True))
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    gap = 0.0 if method.name == "head-only" else lost(mean, clients, WEIGHTS)
    if method.name == "galore-mean":  # its dense step keeps what lies in the projection; see below
        return
    assert gap <= 1e-12 if method.name in EXACT else 1e-3 < gap or method.name in APART
    turned = method.aggregate(sent, clients[::-1], WEIGHTS[::-1], trained)
    for name, value in moved(mean).items():
        torch.testing.assert_close(moved(turned)[name], value, rtol=1e-12, atol=1e-12)


@ALL
def test_one_client_alone_keeps_its_weight(method):
    sent = begun(method, 3)
    if method.name == "galore-mean":  # a dense step keeps what lies in the projection
        sent = method.aggregate(sent, trained_from(method, sent, 3, clients=1), [1.0], method.trains(1, 1))
    [client] = trained_from(method, sent, 3, clients=1, exchange=-1 if method.name == "galore-mean" else 0)
    mean = method.aggregate(sent, [client], [1.0], trains_until(method)[0])
    for name, value in moved(client).items():
        torch.testing.assert_close(moved(mean)[name], value, rtol=1e-12, atol=1e-12)
