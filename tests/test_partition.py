"""The partition: every sample to exactly one client, nobody empty, and errors that say what to change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lalora_kit.partition import partition
from lalora_kit.privacy import Streams


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
