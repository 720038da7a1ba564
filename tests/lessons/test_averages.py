"""Who averages what: closed forms against simulation and the servers' own code; exactness where it is claimed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lalora_kit.lessons.amplification import expected_noise, fresh_layer
from lalora_kit.lessons.gallery import averages
from lalora_kit.lessons.gallery.averages import (
    Off,
    Seen,
    apart,
    best_of_rank,
    exact_mean,
    expected_off,
    gap_at,
    layers_of,
    round_noise,
    sampled_off,
    served,
    watched,
)
from lalora_kit.lessons.gradients import one_layer
from lalora_kit.methods import EVERY
from lalora_kit.methods.gap import aggregation_gap
from lalora_kit.privacy import Ledger
from lalora_kit.settings import Settings
from tests.tiny import FAST, linear_task

N, M, WIDTH, RANK = 6, 9, 7, 3


def uploads(count=N, unequal=False, seed=0):
    """Clients that differ in both factors; ranks r, r/2, r/4 in turn where they are unequal."""
    rng, found = np.random.default_rng(seed), []
    for client in range(count):
        A, B = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((RANK, WIDTH), (M, RANK)))
        own = max(1, RANK >> client % 3) if unequal else RANK
        A[own:], B[:, own:] = 0, 0
        found.append(one_layer(A, B))
    return found


def simulated(clients, tau, way, draws):
    """Mean squared distance to the exact mean over its own, with noise drawn anew each time: a loop over clients."""
    rng = np.random.default_rng(1)
    factors = [(c.tensors["A", "W"], c.tensors["B", "W"]) for c in clients]
    exact = sum(B @ A for A, B in factors) / len(factors)
    found = []
    for _ in range(draws):
        noised = []
        for A, B in factors:
            own = (A != 0).any(1)
            noised.append((
                A + tau * torch.from_numpy(rng.standard_normal(A.shape)) * own[:, None],
                B + tau * torch.from_numpy(rng.standard_normal(B.shape)) * own,
            ))  # fmt: skip
        if way == "factors":
            made = sum(B for _, B in noised) / len(noised) @ (sum(A for A, _ in noised) / len(noised))
        else:
            made = sum(B @ A for A, B in noised) / len(noised)
        found.append(float((made - exact).square().sum() / exact.square().sum()))
    return np.mean(found), np.std(found, ddof=1) / math.sqrt(draws)


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("way", ["factors", "products"])
def test_the_closed_form_is_the_mean_of_simulations(way, unequal):
    clients = uploads(unequal=unequal)
    off = expected_off(layers_of(clients, np.random.default_rng(2)), 0.4, way)
    mean, error = simulated(clients, 0.4, way, 600)
    assert abs(off.size**2 - mean) < 5 * error  # a false alarm in about two million runs


def test_clients_that_are_alike_are_those_of_the_lesson_on_noise():
    """Another derivation: `amplification` has one adapter for all clients, and no room for their differences."""
    one = fresh_layer(M, WIDTH, RANK, np.random.default_rng(0))
    one = one_layer(one.tensors["A", "W"], torch.ones(M, RANK).double())
    exact = float((one.tensors["B", "W"] @ one.tensors["A", "W"]).square().sum())
    layers = layers_of([one] * N, np.random.default_rng(1))
    for way in ("factors", "products"):
        energy, off = expected_noise(one, 0.2, clients=N, average=way), expected_off(layers, 0.2, way)
        assert off.lost == pytest.approx(0, abs=1e-20)
        assert off.cross == pytest.approx(energy.cross / exact)
        assert off.linear == pytest.approx((energy.from_A + energy.from_B) / exact)


def test_what_factors_lose_is_the_aggregation_gap():
    clients = uploads()
    off = expected_off(layers_of(clients, np.random.default_rng(0)), 0.0, "factors")
    assert off.size == pytest.approx(aggregation_gap(clients, [1 / N] * N), rel=1e-8)
    assert expected_off(layers_of(clients, np.random.default_rng(0)), 0.0, "products") == Off(0, 0, 0, off.exact)


def test_noise_times_noise_falls_with_the_square_of_the_clients_or_with_their_number():
    few, many = (layers_of([*uploads()][:1] * n, np.random.default_rng(0)) for n in (2, 8))
    for way, power in (("factors", 2), ("products", 1)):
        assert expected_off(few, 1.0, way).cross == pytest.approx(4**power * expected_off(many, 1.0, way).cross)


def test_a_cut_is_the_best_of_its_rank():
    product = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 6, 9)))
    U, S, Vh = torch.linalg.svd(product, full_matrices=False)
    wanted = U[..., :2] * S[..., None, :2] @ Vh[..., :2, :]
    torch.testing.assert_close(best_of_rank(product, 2), wanted)
    torch.testing.assert_close(best_of_rank(product.mT, 2), wanted.mT)


def test_the_measured_distance_is_that_of_the_servers_own_code():
    """The layers' draw of noise, put on the uploads and handed to each method's `aggregate`."""
    clients = uploads()
    layers, tau = layers_of(clients, np.random.default_rng(4)), 0.3
    [layer] = layers
    noised = [one_layer(layer.A[i] + tau * layer.N_A[i], layer.B[i] + tau * layer.N_B[i]) for i in range(N)]
    exact = sum(c.tensors["B", "W"] @ c.tensors["A", "W"] for c in clients) / N
    sent = one_layer(torch.zeros(RANK, WIDTH).double(), torch.zeros(M, RANK).double())
    for way, name in (("factors", "dp-lora"), ("SVD", "flexlora")):
        made = EVERY[name].aggregate(sent, noised, [1 / N] * N, frozenset("AB"))
        result = made.tensors["B", "W"] @ made.tensors["A", "W"]
        assert sampled_off(layers, tau, way)[0] == pytest.approx(apart({"W": result}, {"W": exact}))
    off, cosine = sampled_off(layers, 0.0, "products")
    assert gap_at(layers, tau) == pytest.approx(aggregation_gap(noised, [1 / N] * N), rel=1e-8)
    assert off < 1e-12 and cosine == pytest.approx(1)


def test_clients_are_cut_off_a_list():
    whole, half = (layers_of(uploads(count), np.random.default_rng(0)) for count in (N, N // 2))
    assert expected_off([x.first(N // 2) for x in whole], 0.5, "factors") == expected_off(half, 0.5, "factors")


def test_the_svd_has_no_closed_form():
    with pytest.raises(ValueError, match=r"way='SVD' has no closed form; it is one of factors, products"):
        expected_off(layers_of(uploads(), np.random.default_rng(0)), 0.1, "SVD")


SETTINGS = replace(FAST, clients=3)


def test_a_run_that_is_watched_is_the_run_itself():
    from lalora_kit import federated_rounds

    task, method = linear_task(), EVERY["dp-lora"]
    found = list(watched(task, method, SETTINGS, Ledger()))
    plain = list(federated_rounds(task, method, SETTINGS))
    assert [seen.record.loss for seen in found] == [r.loss for r in plain]
    assert all(len(seen.uploads) == 3 and sum(seen.weights) == pytest.approx(1) for seen in found)
    gap = aggregation_gap(found[-1].uploads, found[-1].weights)
    assert gap == pytest.approx(plain[-1].aggregation_gap)


def test_every_exact_server_makes_the_mean_of_products_and_factors_do_not():
    task = linear_task()
    *_, seen = watched(task, EVERY["dp-lora"], SETTINGS, Ledger())
    exact = exact_mean(seen)
    for name in ("fedex", "flora"):
        assert apart(served(EVERY[name], task, seen), exact) < 1e-6  # what float32 leaves
    assert apart(served(EVERY["dp-lora"], task, seen), exact) == pytest.approx(seen.record.aggregation_gap, rel=1e-4)
    assert isinstance(seen, Seen)


def test_noise_of_a_round_by_hand(monkeypatch):
    monkeypatch.setattr(averages, "safe_noise_multiplier", lambda *_: 2.0)
    settings = Settings(epsilon=3.0, clip_norm=0.5, learning_rate=4.0, sample_rate=0.1, local_steps=4)
    assert round_noise(settings, 100) == pytest.approx(2 * 4 * 0.5 * 2 / 10)
    assert round_noise(replace(settings, sample_rate=None, batch_size=10), 100) == round_noise(settings, 100)
