"""The partition: every sample to exactly one client, nobody empty, and errors that say what to change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.tasks.partition import partition
from tests.tiny import FAST, linear_task


def generator(seed: int = 0) -> np.random.Generator:
    return Streams.from_seed(seed).generator("partition")


@given(
    samples=st.integers(1, 200),
    clients=st.integers(1, 64),
    classes=st.integers(1, 10),
    beta=st.none() | st.floats(0.01, 100),
    seed=st.integers(0, 2**32),
)
def test_every_sample_goes_to_exactly_one_client_and_nobody_is_empty(samples, clients, classes, beta, seed):
    assume(clients <= samples)
    labels = np.random.default_rng(seed).integers(0, classes, samples)
    try:
        shards = partition(labels, clients, beta, generator(seed))
    except ValueError as error:
        assert beta is not None and "left a client without samples in 100 draws" in str(error)
        return
    assert len(shards) == clients
    assert sorted(np.concatenate(shards).tolist()) == list(range(samples))
    assert min(map(len, shards)) >= 1
    assert all((np.diff(shard) > 0).all() for shard in shards)


@pytest.mark.parametrize("clients", [1, 3, 8, 64])
def test_a_random_split_is_even(clients):
    sizes = [len(shard) for shard in partition(np.zeros(100, int), clients, None, generator())]
    assert max(sizes) - min(sizes) <= 1


def skew(beta: float | None) -> float:
    """Mean over clients of the share of a client's commonest class."""
    labels = np.repeat(np.arange(10), 100)
    shards = partition(labels, 8, beta, generator(3))
    return float(np.mean([np.bincount(labels[shard]).max() / len(shard) for shard in shards]))


def test_a_smaller_beta_is_more_skewed():
    assert skew(0.1) > skew(1.0) > skew(100.0)
    assert skew(1e5) == pytest.approx(0.1, abs=0.02)
    assert skew(None) < 0.25


def test_the_same_generator_gives_the_same_split_and_another_another():
    labels = np.repeat(np.arange(5), 20)
    for beta in (None, 0.5):
        one, two = partition(labels, 4, beta, generator(1)), partition(labels, 4, beta, generator(1))
        assert all(np.array_equal(left, right) for left, right in zip(one, two, strict=True))
        other = partition(labels, 4, beta, generator(2))
        assert not all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_more_clients_than_samples_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"clients=6 is more than the 5 training samples.*at most 5 clients"):
        partition([0] * 5, 6, None, generator())


def test_a_skew_that_leaves_someone_empty_is_refused_after_100_draws():
    with pytest.raises(ValueError, match=r"dirichlet_beta=0\.01 left a client without.*larger beta or fewer clients"):
        partition([0] * 20, 10, 0.01, generator())


def test_a_draw_that_left_someone_empty_is_drawn_again():
    labels = np.repeat(np.arange(4), 8)
    found = {len(partition(labels, 6, 0.3, generator(seed))) for seed in range(20)}
    assert found == {6}


@given(owners=st.lists(st.integers(0, 30), min_size=1, max_size=200), data=st.data(), seed=st.integers(0, 2**32))
def test_an_owner_is_never_split_over_clients(owners, data, seed):
    clients = data.draw(st.integers(1, len(set(owners))))
    shards = partition([0] * len(owners), clients, None, generator(seed), owners=np.array(owners))
    assert len(shards) == clients and min(map(len, shards)) >= 1
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(owners)))
    held = [set(np.array(owners)[shard]) for shard in shards]
    assert sum(map(len, held)) == len(set(owners))  # each owner in one hand
    assert max(map(len, held)) - min(map(len, held)) <= 1


def test_owners_are_refused_beside_a_skew_and_where_there_are_too_few():
    with pytest.raises(ValueError, match=r"dirichlet_beta=0\.5 is set, but.*owners.*leave dirichlet_beta out"):
        partition([0] * 6, 2, 0.5, generator(), owners=np.arange(6))
    with pytest.raises(ValueError, match=r"clients=3 is more than the 2 owners.*at most 2 clients"):
        partition([0] * 6, 3, None, generator(), owners=np.arange(6) % 2)


def test_a_run_deals_whole_owners_and_its_identity_carries_the_notes_of_its_data():
    plain = linear_task()
    whose = torch.arange(len(plain.train)) % 5
    owned = replace(
        plain,
        train=replace(plain.train, owners=whose),
        test=replace(plain.test, owners=torch.arange(len(plain.test)) % 5),
        owners=tuple("abcde"),
        notes={"edition": "7"},
    )
    plan = make_plan(owned, METHODS["la-lora"], FAST, Ledger())
    held = [set(whose[torch.from_numpy(shard)].tolist()) for shard in plan.shards]
    assert sum(map(len, held)) == 5
    assert plan.identity["notes.edition"] == "7"
    assert plan.identity["data"] == make_plan(plain, METHODS["la-lora"], FAST, Ledger()).identity["data"]
    kept = owned.train.select(torch.tensor([3, 9]))
    assert kept.owners.tolist() == [3, 4]


def test_owners_without_names_or_out_of_their_range_are_refused():
    plain = linear_task()
    train, test = (replace(split, owners=torch.arange(len(split)) % 3) for split in (plain.train, plain.test))
    with pytest.raises(ValueError, match=r"owners run from 0 to 2 but 2 are named.*name every owner"):
        replace(plain, train=train, test=test, owners=("a", "b"))
    with pytest.raises(ValueError, match=r"owners are none and 3 owners are named.*give both or neither"):
        replace(plain, owners=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"0 owners are named"):
        replace(plain, train=train)
