"""The identities that the lessons claim, in float64: what each of the paper's steps does to W = W0 + s·B·A.

Others stand with their subject: the filter and Theorem 2's least squares in `test_methods`, averages of factors in
`test_adapters`, noise energies in `test_amplification`, cosines in `test_coupling`, Hessians in `test_sharpness`.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average, create
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.amplification import kept_by
from lalora_kit.lessons.coupling import cross_over_linear, half_steps, promised_move, stepped
from lalora_kit.lessons.gradients import Gradients, mean_gradient, noised_gradient, one_layer
from lalora_kit.lessons.hessian import hessian_product, lanczos
from lalora_kit.lessons.sharpness import rescaled
from lalora_kit.methods import METHODS
from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.gap import aggregation_gap
from lalora_kit.methods.optimisers import projected
from lalora_kit.privacy import Streams
from tests.tiny import task_of

SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.sampled_from([0.3, 1.0, 2.0])
TINY = 1e-14  # damping: Theorem 2 itself has none


def drawn(seed: int, *shapes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def onto(columns: Tensor) -> Tensor:
    """The orthogonal projector onto a column space, through the pseudoinverse."""
    return columns @ torch.linalg.pinv(columns)


def gradients(point: Adapter, G: Tensor, project: bool = False) -> Gradients:
    """∇_A = s·Bᵀ·G and ∇_B = s·G·Aᵀ, or Theorem 2's projected ones."""
    A, B, s = point.tensors["A", "W"], point.tensors["B", "W"], point.scale
    plain = {("A", "W"): s * B.T @ G, ("B", "W"): s * G @ A.T}
    if not project:
        return plain
    others = {"A": B, "B": A}
    return {key: projected(value, key[0], others[key[0]], s, TINY) for key, value in plain.items()}


def well_conditioned(*matrices: Tensor) -> None:
    assume(all(float(torch.linalg.cond(matrix)) < 30 for matrix in matrices))


# ---- Theorem 3: one step, together and alternating -------------------------------------------------------------


@given(seed=SEEDS, scale=SCALES, rate=st.floats(0.01, 1.0))
def test_a_projected_step_together_has_a_term_of_second_order(seed, scale, rate):
    """ΔW = −η·(G·P_A + P_B·G) + (η²/s)·G·Aᵀ(AAᵀ)⁻¹(BᵀB)⁻¹Bᵀ·G."""
    A, B, G = drawn(seed, (3, 9), (7, 3), (7, 9))
    well_conditioned(A, B)
    point = one_layer(A, B, scale)
    steps = gradients(point, G, project=True)
    moved = stepped(point, steps, rate).products()["W"] - point.products()["W"]
    linear = -rate * (G @ onto(A.T) + onto(B) @ G)
    second = rate**2 / scale * G @ torch.linalg.pinv(A) @ torch.linalg.pinv(B) @ G
    torch.testing.assert_close(moved, linear + second, rtol=1e-8, atol=1e-8)
    expected = float(second.norm() / linear.norm())
    assert expected > 1e-6  # the term is there
    assert cross_over_linear(point, steps, rate).pooled == pytest.approx(expected, rel=1e-6)
    assert promised_move(point, steps, rate).pooled.surprise == pytest.approx(expected, rel=1e-5)


@given(seed=SEEDS, scale=SCALES, rate=st.floats(0.01, 1.0))
def test_a_projected_alternation_has_none(seed, scale, rate):
    """ΔW = −η·G·P_A − η·P_B'·G', with G' and B' after the first half-step."""
    A, B, target = drawn(seed, (3, 9), (7, 3), (7, 9))
    well_conditioned(A, B)
    point = one_layer(A, B, scale)

    def gradient(at: Adapter, factors: str) -> Gradients:
        everything = gradients(at, at.products()["W"] - target, project=True)
        return {key: value for key, value in everything.items() if key[0] in factors}

    between = stepped(point, gradient(point, "B"), rate)
    well_conditioned(between.tensors["B", "W"])
    first, second, after = half_steps(point, gradient, rate)
    G, later = (at.products()["W"] - target for at in (point, between))
    expected = -rate * G @ onto(A.T) - rate * onto(between.tensors["B", "W"]) @ later
    torch.testing.assert_close(after.products()["W"] - point.products()["W"], expected, rtol=1e-8, atol=1e-8)
    assert first.pooled.surprise < 1e-8 and second.pooled.surprise < 1e-8


@given(seed=SEEDS, std=st.floats(0.01, 10.0))
def test_noise_on_one_factor_moves_W_linearly_and_on_both_it_does_not(seed, std):
    A, B, N_a, N_b = drawn(seed, (3, 9), (7, 3), (3, 9), (7, 3))
    point = one_layer(A, B, 0.5)

    def moved(noise: Gradients) -> Tensor:
        return stepped(point, noise, -std).products()["W"] - point.products()["W"]

    one, other, both = {("A", "W"): N_a}, {("B", "W"): N_b}, {("A", "W"): N_a, ("B", "W"): N_b}
    size = std * float(moved(one).norm() + moved(other).norm() + 1)
    for noise in (one, other):
        twice = {key: 2 * value for key, value in noise.items()}
        assert float((moved(twice) - 2 * moved(noise)).norm()) < 1e-12 * size
    cross = moved(both) - moved(one) - moved(other)
    torch.testing.assert_close(cross, 0.5 * std**2 * N_b @ N_a, rtol=1e-9, atol=1e-9 * size)
    assert float(cross.norm()) > 1e-6 * size


# ---- Theorem 4, on its substitute with an isometry: L = ½‖B·A − W*‖² --------------------------------------------


def residuals(seed: int, m: int, n: int, r: int, rate: float, iterations: int) -> list[float]:
    """‖s·B·A − W*‖² before and after each half-step of the projected alternation from B = 0; rank W* ≤ r."""
    A, left, right = drawn(seed, (r, n), (m, r), (r, n))
    target = left @ right
    point, found = one_layer(A, torch.zeros(m, r, dtype=torch.float64)), []
    for step in range(1, 2 * iterations + 1):
        found.append(float((point.products()["W"] - target).square().sum()))
        [factor] = METHODS["la-lora"].trains(1, step)
        everything = gradients(point, point.products()["W"] - target, project=True)
        point = stepped(point, {(factor, "W"): everything[factor, "W"]}, rate)
    return [*found, float((point.products()["W"] - target).square().sum())]


@settings(max_examples=100)
@given(seed=SEEDS, rate=st.floats(0.05, 0.95))
def test_a_whole_iteration_contracts_by_one_minus_the_rate_squared_at_least(seed, rate):
    found = residuals(seed, 7, 9, 3, rate, iterations=3)
    assert found[0] > 0.01
    for before, after in zip(found[:-2:2], found[2::2], strict=True):
        assert after <= (1 - rate) ** 2 * before * (1 + 1e-6)


@settings(max_examples=30)
@given(seed=SEEDS, rate=st.floats(0.05, 0.9))
def test_at_full_rank_every_half_step_contracts_by_exactly_that(seed, rate):
    A, left, right = drawn(seed, (4, 4), (4, 4), (4, 4))
    well_conditioned(A, left, right)
    found = residuals(seed, 4, 4, 4, rate, iterations=1)
    for before, after in pairwise(found):
        assert after == pytest.approx((1 - rate) ** 2 * before, rel=1e-5)


# ---- averaging --------------------------------------------------------------------------------------------------


@given(seed=SEEDS, shares=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=5))
def test_what_averaging_factors_loses_is_the_covariance_of_the_factors(seed, shares):
    """Σwᵢ·Bᵢ·Aᵢ − B̄·Ā = Σwᵢ·(Bᵢ − B̄)·(Aᵢ − Ā), and `aggregation_gap` is its relative norm."""
    weights = [share / sum(shares) for share in shares]
    pairs = [drawn(seed + i, (3, 9), (7, 3)) for i in range(len(weights))]
    clients = [one_layer(A, B) for A, B in pairs]
    mean = average(clients[0], clients, weights, frozenset("AB"))
    exact = sum(w * B @ A for w, (A, B) in zip(weights, pairs, strict=True))
    lost = exact - mean.products()["W"]
    mean_a, mean_b = mean.tensors["A", "W"], mean.tensors["B", "W"]
    covariance = sum(w * (B - mean_b) @ (A - mean_a) for w, (A, B) in zip(weights, pairs, strict=True))
    torch.testing.assert_close(lost, covariance, rtol=1e-9, atol=1e-11)
    assert aggregation_gap(clients, weights) == pytest.approx(float(lost.norm() / exact.norm()), rel=1e-6)


@pytest.mark.parametrize("name", ["ffa-lora", "rolora"])
@pytest.mark.parametrize("round", [1, 2])
def test_averaging_is_exact_where_a_round_trains_one_factor(name, round):
    start = one_layer(*drawn(0, (3, 9), (7, 3)))
    trained, weights = METHODS[name].trained_in(round, 4), [0.2, 0.3, 0.5]
    assert len(trained) == 1
    clients = []
    for seed in (1, 2, 3):
        A, B = drawn(seed, (3, 9), (7, 3))
        drift = {("A", "W"): A, ("B", "W"): B}
        clients.append(start.with_tensors({key: value for key, value in drift.items() if key[0] in trained}))
    mean = METHODS[name].aggregate(start, clients, weights, trained).products()["W"]
    exact = sum(w * c.products()["W"] for w, c in zip(weights, clients, strict=True))
    torch.testing.assert_close(mean, exact, rtol=1e-12, atol=1e-12)


# ---- what the filter buys ---------------------------------------------------------------------------------------


def test_the_filter_buys_nothing_for_a_white_signal_and_three_and_a_half_for_a_smooth_one():
    """Gain of signal over noise, in power; the noise is white. A fixed permutation of the long axis undoes it."""
    size = 64
    filtered = binomial_smooth(torch.eye(size, dtype=torch.float64), "A")  # its matrix
    noise = kept_by(binomial_smooth, "A", size)
    assert noise == pytest.approx(70 / 256 + 1 / (2 * size), abs=1e-12)

    def gain(signals: Tensor) -> float:  # (count, size)
        return float((signals @ filtered).square().sum() / signals.square().sum()) / noise

    white = torch.linalg.qr(drawn(0, (size, size))[0]).Q  # every direction once
    constant = torch.ones(1, size, dtype=torch.float64)
    wave = torch.cos(torch.linspace(0, 2 * math.pi, size, dtype=torch.float64))[None]
    shuffled = wave[:, torch.randperm(size, generator=torch.Generator().manual_seed(0))]
    assert gain(white) == pytest.approx(1, abs=1e-9)
    assert gain(constant) == pytest.approx(1 / noise) and pytest.approx(3.657, abs=1e-3) == 1 / (70 / 256)
    assert gain(wave) > 3.3 and 0.5 < gain(shuffled) < 1.6


# ---- sharpness --------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(seed=SEEDS, scale=SCALES, c=st.sampled_from([0.2, 1.0, 5.0]))
def test_the_hessian_at_an_exact_fit_has_a_closed_form_that_the_gauge_changes(seed, scale, c):
    """L = ½‖s·B·A − W*‖² at s·B·A = W*: λ_max = s²·(‖A‖₂² + ‖B‖₂²), so B→cB, A→A/c moves it; in ΔW it is 1."""
    start = one_layer(*drawn(seed, (2, 6), (5, 2)), scale)
    target, point = start.products()["W"], rescaled(start, c)
    torch.testing.assert_close(point.products()["W"], target)
    A, B = point.tensors["A", "W"], point.tensors["B", "W"]

    def factors(leaves):
        return (scale * leaves[1] @ leaves[0] - target).square().sum() / 2

    def weights(leaves):
        return (leaves[0] - target).square().sum() / 2

    found = lanczos(hessian_product([factors], [A, B]), 22, np.random.default_rng(seed), tolerance=1e-10).largest
    spectral = [float(torch.linalg.matrix_norm(x, 2)) ** 2 for x in (A, B)]
    assert found == pytest.approx(scale**2 * sum(spectral), rel=1e-8)
    flat = lanczos(hessian_product([weights], [point.products()["W"]]), 30, np.random.default_rng(seed))
    assert flat.largest == pytest.approx(1) and flat.products <= 50


# ---- B goes first -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["swin", "roberta"])
def test_while_B_is_zero_the_gradient_of_A_is_zero_and_an_A_step_would_be_pure_noise(architecture):
    task = task_of(architecture, samples=6)
    engine = Engine(task, 0.7)
    fresh = create(task.backbone, task.targets, task.head, 2, 0.7, Streams.from_seed(0).generator("init"))
    clean = mean_gradient(engine, fresh, task.train)
    assert all(not value.any() for (kind, _), value in clean.items() if kind == "A")
    assert all(value.any() for (kind, _), value in clean.items() if kind == "B")
    private = noised_gradient(
        engine, fresh, task.train, clip_norm=1.0, noise_std=0.1, generator=np.random.default_rng(0)
    )
    assert all(value.any() for (kind, _), value in private.items() if kind == "A")
    assert METHODS["la-lora"].trains(1, 1) == {"B"}
    first = promised_move(fresh, {key: value for key, value in private.items() if key[0] == "A"}, 0.5).pooled
    assert first.actual == 0 and math.isnan(first.surprise)  # paid for, and W does not move
