"""Noise amplification: each closed form against simulation, algebra by hand, and the optimiser that really steps."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lalora_kit.lessons.amplification import (
    NoiseEnergy,
    Steps,
    crossover,
    expected_noise,
    fresh_layer,
    noisy_steps,
    sampled_noise,
)
from lalora_kit.lessons.gradients import one_layer
from lalora_kit.methods import METHODS
from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.optimisers import Optimisers
from tests.tiny import FAST, random_adapter, stacked, swin_task

M, N, R, S = 9, 7, 3, 0.5


def layer(seed: int = 0, scale: float = S):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(R, N, generator=generator, dtype=torch.float64)
    return one_layer(A, torch.randn(M, R, generator=generator, dtype=torch.float64), scale)


def matches(sampled, expected: NoiseEnergy, sigmas: float = 5.0) -> None:
    """Each measured mean within five standard errors: chance of failure about 6e-7 each, and the seeds are fixed."""
    for measured, error, formula in zip(astuple(sampled.mean), astuple(sampled.error), astuple(expected), strict=True):
        assert abs(measured - formula) <= sigmas * error, (measured, formula, error)
        assert error <= 0.1 * formula  # else the test could not fail


@given(tau=st.floats(1e-3, 3.0), scale=st.floats(0.1, 4.0), seed=st.integers(0, 99))
def test_one_step_is_the_formula_of_the_page(tau, scale, seed):
    adapter = layer(seed, scale)
    A, B = adapter.of("A")["W"], adapter.of("B")["W"]
    noise = expected_noise(adapter, tau)
    assert noise.from_A == pytest.approx(scale**2 * tau**2 * N * float(B.norm()) ** 2)
    assert noise.from_B == pytest.approx(scale**2 * tau**2 * M * float(A.norm()) ** 2)
    assert noise.cross == pytest.approx(scale**2 * tau**4 * M * N * R)
    assert noise.full == pytest.approx(tau**2 * M * N)
    assert noise.total == pytest.approx(noise.from_A + noise.from_B + noise.cross)
    assert noise.sizes.cross == pytest.approx(math.sqrt(noise.cross))


@pytest.mark.parametrize("tau", [0.05, 0.5, 2.0])
def test_simulation_agrees_with_one_step(tau):
    """Seed 1, 600 draws."""
    adapter = layer()
    matches(sampled_noise(adapter, tau, draws=600, generator=np.random.default_rng(1)), expected_noise(adapter, tau))


@pytest.mark.parametrize("name", ["la-lora", "la-lora-nofilter", "dp-lora", "dp-lora-filter"])
@pytest.mark.parametrize(("clients", "average"), [(1, "factors"), (3, "factors"), (3, "products")])
def test_simulation_agrees_for_schedules_and_averages(name, clients, average):
    """Seed 2, 200 draws of 4 steps of each client."""
    given_ = {"steps": noisy_steps(METHODS[name], 1, 4), "clients": clients, "average": average}
    adapter = layer()
    sampled = sampled_noise(adapter, 0.4, draws=200, generator=np.random.default_rng(2), **given_)
    matches(sampled, expected_noise(adapter, 0.4, **given_))


def test_the_optimiser_that_steps_on_pure_noise_moves_W_by_the_formula():
    """The package's own optimisers over four la-lora steps; seed 3, 400 clients as draws."""
    method, tau, rate, clients = METHODS["la-lora"], 0.2, 0.5, 400
    start, generator = layer(), np.random.default_rng(3)
    local = stacked([start.map(torch.Tensor.clone) for _ in range(clients)])
    optimisers = Optimisers(local, replace(FAST, learning_rate=rate), 1)
    for k in range(1, 5):
        shapes = {key: local.tensors[key].shape for key in local.keys(method.trains(1, k))}
        noise = {key: torch.from_numpy(generator.normal(0, tau, shape)) for key, shape in shapes.items()}
        optimisers.apply(noise, method)
    moved = S * (local.of("B")["W"] @ local.of("A")["W"]) - start.products()["W"]
    energies = moved.square().sum((1, 2))
    expected = expected_noise(start, rate * tau, steps=noisy_steps(method, 1, 4)).total
    assert abs(float(energies.mean()) - expected) <= 5 * float(energies.std()) / math.sqrt(clients)
    assert float(energies.std()) / math.sqrt(clients) <= 0.05 * expected


def test_steps_are_counted_from_the_schedule():
    counts = {name: (s.A, s.B, s.full) for name in METHODS for s in [noisy_steps(METHODS[name], 1, 4)]}
    assert counts["dp-lora"] == counts["dp-lora-filter"] == (4, 4, 4)
    assert counts["la-lora"] == counts["la-lora-nofilter"] == (2, 2, 4)
    assert counts["ffa-lora"] == counts["rolora"] == (0, 4, 4) and counts["head-only"] == (0, 0, 4)
    assert [getattr(noisy_steps(METHODS["rolora"], 3, 4), kind) for kind in "AB"] == [4, 8]
    mine = replace(METHODS["ffa-lora"], name="mine", trains=lambda t, k: frozenset("A" if k > 3 else "AB"))
    assert noisy_steps(mine, 2, 5) == Steps(10, 6, 10)


def test_alternation_leaves_a_quarter_of_the_cross_term_and_freezing_none():
    def cross(name: str, rounds: int = 1) -> float:
        return expected_noise(layer(), 0.3, steps=noisy_steps(METHODS[name], rounds, 4)).cross

    assert cross("dp-lora") / cross("la-lora-nofilter") == pytest.approx(4)
    assert cross("ffa-lora") == cross("ffa-lora", 6) == cross("head-only") == cross("rolora") == 0
    assert cross("rolora", 2) > 0
    one = expected_noise(layer(), 0.3).cross
    assert cross("dp-lora") == pytest.approx(16 * one)  # K² for a random walk of K steps


def test_averaging_products_carries_n_times_the_cross_noise_of_averaging_factors():
    one = expected_noise(layer(), 0.3)
    factors, products = (expected_noise(layer(), 0.3, clients=8, average=by) for by in ("factors", "products"))
    assert products.cross / factors.cross == pytest.approx(8) and one.cross / products.cross == pytest.approx(8)
    for field in ("from_A", "from_B", "full"):
        assert getattr(factors, field) == getattr(products, field) == pytest.approx(getattr(one, field) / 8)


def test_the_filter_keeps_a_quarter_of_each_factors_noise():
    plain, smooth = (expected_noise(layer(), 0.3, steps=Steps(smooth=s)) for s in (Steps().smooth, binomial_smooth))
    kept_a, kept_b = (70 / 256 + 1 / (2 * size) for size in (N, M))
    assert smooth.from_A == pytest.approx(kept_a * plain.from_A) and smooth.from_B == pytest.approx(
        kept_b * plain.from_B
    )
    assert smooth.cross == pytest.approx(kept_a * kept_b * plain.cross) and smooth.full == plain.full


@settings(max_examples=50)
@given(scale=st.floats(0.05, 3.0), seed=st.integers(0, 99), name=st.sampled_from(sorted(METHODS)))
def test_lora_is_as_loud_as_the_full_model_at_the_crossing(scale, seed, name):
    adapter, steps = layer(seed, scale), noisy_steps(METHODS[name], 2, 4)
    tau = crossover(adapter, steps=steps)
    quiet, loud = (expected_noise(adapter, x, steps=steps) for x in (1e-6, 1e6))
    if math.isnan(tau):
        assert not (quiet.total < quiet.full and loud.total > loud.full)
        return
    at = expected_noise(adapter, tau, steps=steps)
    assert at.total == pytest.approx(at.full, rel=1e-9)
    below, above = (expected_noise(adapter, x * tau, steps=steps) for x in (0.9, 1.1))
    assert below.total < below.full and above.total > above.full


def test_the_crossing_of_a_fresh_layer_lies_near_one_half_at_rank_4_and_falls_with_the_rank():
    generator = np.random.default_rng(0)
    taus = [crossover(fresh_layer(64, 768, rank, generator)) for rank in (4, 16, 64)]
    assert taus[0] == pytest.approx(0.5, abs=0.01)  # 1/(s·√r), less the little that A brings
    assert taus == pytest.approx([1 / math.sqrt(rank) for rank in (4, 16, 64)], rel=0.05)
    adapter = layer(0, 0.2)
    A, B = adapter.of("A")["W"], adapter.of("B")["W"]
    by_hand = (1 - 0.04 * (float(A.norm()) ** 2 / N + float(B.norm()) ** 2 / M)) / (0.04 * R)
    assert crossover(adapter) == pytest.approx(math.sqrt(by_hand))
    assert math.isnan(crossover(layer(0, 50.0)))  # louder from the start
    assert math.isnan(crossover(adapter, steps=noisy_steps(METHODS["ffa-lora"], 1, 4)))  # never louder


def test_quadratic_over_linear_noise_of_a_fresh_layer():
    """3·n·τ²: uniform A, 16·768 entries, so ‖A‖² is within 4 % at 5 standard errors; seed 0."""
    noise = expected_noise(fresh_layer(96, 768, 16, np.random.default_rng(0)), 0.02)
    assert noise.from_A == 0
    assert noise.cross / noise.from_B == pytest.approx(3 * 768 * 0.02**2, rel=0.04)


def test_layers_of_an_adapter_add_up():
    adapter = random_adapter(swin_task(), 2, 0.7, 0)
    whole = expected_noise(adapter, 0.1)
    layers = [expected_noise(one_layer(A, adapter.of("B")[name], 0.7), 0.1) for name, A in adapter.of("A").items()]
    assert len(layers) > 4
    assert astuple(whole) == pytest.approx([sum(values) for values in zip(*map(astuple, layers), strict=True)])
    matches(sampled_noise(adapter, 0.1, draws=25, generator=np.random.default_rng(4)), whole)
    alone = sampled_noise(layer(), 0.1, draws=1, generator=np.random.default_rng(4))
    assert all(map(math.isnan, astuple(alone.error))) and alone.mean.total > 0


def test_a_wrong_average_is_refused():
    with pytest.raises(ValueError, match=r"average='median' is unknown.*factors, products"):
        expected_noise(layer(), 0.1, average="median")
    with pytest.raises(ValueError, match=r"clients=0 .* use clients=1 or more"):
        sampled_noise(layer(), 0.1, draws=2, generator=np.random.default_rng(0), clients=0)
