"""Coupling: cosines against matrices formed in full, and promised against actual moves of W, by hand."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.coupling import coupling, cross_over_linear, half_steps, promised_move, staleness, stepped
from lalora_kit.lessons.gradients import Gradients, mean_gradient, noised_gradient, one_layer
from tests.tiny import linear_task, random_adapter, task_of

SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.sampled_from([0.25, 1.0, 2.0])


def problem(seed: int, m: int = 6, n: int = 8, r: int = 3, scale: float = 1.0) -> tuple[Adapter, torch.Tensor]:
    """Random factors and a random full gradient G."""
    generator = torch.Generator().manual_seed(seed)
    A, B, G = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((r, n), (m, r), (m, n)))
    return one_layer(A, B, scale), G


def clean(adapter: Adapter, G: torch.Tensor) -> Gradients:
    """The chain rule: ∇_A = s·Bᵀ·G and ∇_B = s·G·Aᵀ."""
    A, B = adapter.tensors["A", "W"], adapter.tensors["B", "W"]
    return {("A", "W"): adapter.scale * B.T @ G, ("B", "W"): adapter.scale * G @ A.T}


def noisy(gradients: Gradients, std: float, seed: int) -> Gradients:
    generator = torch.Generator().manual_seed(seed ^ 0x5F3759DF)  # or noise would repeat the factors' own draws
    return {key: x + std * torch.randn(x.shape, generator=generator, dtype=x.dtype) for key, x in gradients.items()}


def cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left * right).sum() / (left.norm() * right.norm()))


def in_full(adapter: Adapter, gradients: Gradients) -> float:
    """c_W with every m×n matrix formed."""
    A, B = adapter.tensors["A", "W"], adapter.tensors["B", "W"]
    return cosine(B @ gradients["A", "W"], gradients["B", "W"] @ A)


@given(seed=SEEDS, scale=SCALES, std=st.sampled_from([0.0, 0.3, 5.0]))
def test_cosines_are_those_of_the_full_matrices(seed, scale, std):
    adapter, G = problem(seed, scale=scale)
    gradients = noisy(clean(adapter, G), std, seed)
    found = coupling(adapter, gradients).pooled
    A, B = adapter.tensors["A", "W"], adapter.tensors["B", "W"]
    assert found.weight == pytest.approx(in_full(adapter, gradients), abs=1e-10)
    assert found.gauge == pytest.approx(cosine(gradients["A", "W"] @ A.T, B.T @ gradients["B", "W"]), abs=1e-10)
    assert math.isnan(found.flat)
    if std == 0:
        assert -1e-12 <= found.weight <= 1 + 1e-12 and found.gauge == pytest.approx(1, abs=1e-12)
    square, G = problem(seed, 6, 6, scale=scale)
    gradients = noisy(clean(square, G), std, seed)
    assert coupling(square, gradients).pooled.flat == pytest.approx(
        cosine(gradients["A", "W"], gradients["B", "W"].T), abs=1e-10
    )


def test_noise_lowers_the_gauge_cosine_and_can_turn_the_weight_cosine_negative():
    """40 seeds, noise far above the gradient: chance that all weight cosines are positive about 2^-40."""
    found = []
    for seed in range(40):
        adapter, G = problem(seed)
        found.append(coupling(adapter, noisy(clean(adapter, G), 50.0, seed)).pooled)
    assert min(x.weight for x in found) < 0 and max(abs(x.gauge) for x in found) < 0.999


@given(seed=SEEDS)
def test_what_each_cosine_owes_to_the_gauge(seed):
    """B→BQ, A→Q⁻¹A: c_W stays for an orthogonal Q, and the gauge cosine's 1 for every invertible one."""
    adapter, G = problem(seed)
    draw = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    orthogonal = torch.linalg.qr(draw).Q

    def turned(Q: torch.Tensor) -> Adapter:
        return one_layer(torch.linalg.solve(Q, adapter.tensors["A", "W"]), adapter.tensors["B", "W"] @ Q)

    plain = coupling(adapter, clean(adapter, G)).pooled
    same = coupling(turned(orthogonal), clean(turned(orthogonal), G)).pooled
    assert same.weight == pytest.approx(plain.weight, abs=1e-9)
    sheared = turned(torch.tensor([[3.0, 1, 0], [0, 1, 2], [0, 0, 0.2]], dtype=torch.float64))
    other = coupling(sheared, clean(sheared, G)).pooled
    assert other.gauge == pytest.approx(1, abs=1e-9)
    assert abs(other.weight - plain.weight) > 1e-9


def test_undefined_is_nan_and_never_zero():
    adapter, G = problem(0)
    start = adapter.with_tensors({("B", "W"): torch.zeros(6, 3, dtype=torch.float64)})
    found = coupling(start, clean(start, G)).pooled
    assert math.isnan(found.weight) and math.isnan(found.gauge)
    nothing = {key: torch.zeros_like(value) for key, value in clean(adapter, G).items()}
    assert math.isnan(cross_over_linear(adapter, nothing, 0.1).pooled)
    assert math.isnan(promised_move(adapter, nothing, 0.1).pooled.surprise)
    only_a = {("A", "W"): clean(start, G)["A", "W"]}  # the A-first step of a fresh adapter moves nothing
    assert astuple(promised_move(start, only_a, 0.1).pooled)[:2] == (0, 0)
    assert math.isnan(promised_move(start, only_a, 0.1).pooled.surprise)


@given(seed=SEEDS)
def test_a_move_that_cancels_to_rounding_has_no_direction(seed):
    """B·∇_A = 0 by algebra, with neither factor zero: in floats about half of such Gram products come out above 0."""
    B_side, a_side, A, grad_b, mix = np.random.default_rng(seed).standard_normal((5, 6))
    B, grad_a = np.outer(B_side, mix[:2]), np.outer([mix[1], -mix[0]], a_side)
    point = one_layer(torch.from_numpy(np.outer(mix[2:4], A)), torch.from_numpy(B))
    gradients = {("A", "W"): torch.from_numpy(grad_a), ("B", "W"): torch.from_numpy(np.outer(grad_b, mix[4:]))}
    assert math.isnan(coupling(point, gradients).pooled.weight)


def test_layers_are_pooled_as_one_long_vector():
    layers = {name: problem(seed, *shape) for seed, (name, shape) in enumerate((("x", (6, 8)), ("y", (5, 7))))}
    whole = Adapter({(k, name): a.tensors[k, "W"] for name, (a, _) in layers.items() for k in "AB"}, 1.0)
    gradients = {(k, name): clean(a, G)[k, "W"] for name, (a, G) in layers.items() for k in "AB"}
    gradients = noisy(gradients, 1.0, 0)
    found = coupling(whole, gradients)
    by_a, by_b = [], []
    for name in layers:
        A, B = whole.tensors["A", name], whole.tensors["B", name]
        by_a.append((B @ gradients["A", name]).flatten())
        by_b.append((gradients["B", name] @ A).flatten())
        assert found.layers[name].weight == pytest.approx(cosine(by_a[-1], by_b[-1]), abs=1e-10)
    assert found.pooled.weight == pytest.approx(cosine(torch.cat(by_a), torch.cat(by_b)), abs=1e-10)
    moves = promised_move(whole, gradients, 0.1)
    assert moves.pooled.actual == pytest.approx(math.hypot(*(move.actual for move in moves.layers.values())))
    assert cross_over_linear(whole, gradients, 0.1).pooled == pytest.approx(moves.pooled.surprise)


@given(seed=SEEDS, scale=SCALES, rate=st.floats(1e-3, 1.0), std=st.sampled_from([0.0, 1.0]))
def test_together_surprise_climbs_with_the_rate_and_alone_it_stays_at_zero(seed, scale, rate, std):
    adapter, G = problem(seed, scale=scale)
    gradients = noisy(clean(adapter, G), std, seed)
    one, two = (promised_move(adapter, gradients, x).pooled for x in (rate, 2 * rate))
    assert two.surprise == pytest.approx(2 * one.surprise, rel=1e-6) and one.surprise > 1e-4 * rate
    assert one.surprise == pytest.approx(cross_over_linear(adapter, gradients, rate).pooled, rel=1e-6)
    after = stepped(adapter, gradients, rate)
    moved = after.products()["W"] - adapter.products()["W"]
    assert one.actual == pytest.approx(float(moved.norm()))
    for kind in "AB":
        alone = promised_move(adapter, {(kind, "W"): gradients[kind, "W"]}, rate).pooled
        assert alone.surprise < 1e-9 and alone.promised == pytest.approx(alone.actual)


def test_half_steps_ask_for_a_new_gradient_after_B_has_moved():
    adapter, target = problem(1, scale=0.5)
    asked = []

    def gradient(point: Adapter, factors: str) -> Gradients:
        asked.append((factors, point))
        everything = clean(point, point.products()["W"] - target)  # of ½‖s·B·A − target‖²
        return {key: value for key, value in everything.items() if key[0] in factors}

    first, second, after = half_steps(adapter, gradient, 0.1)
    assert [factors for factors, _ in asked] == ["B", "A"]
    assert torch.equal(asked[1][1].tensors["A", "W"], adapter.tensors["A", "W"])
    assert not torch.equal(asked[1][1].tensors["B", "W"], adapter.tensors["B", "W"])
    assert torch.equal(after.tensors["B", "W"], asked[1][1].tensors["B", "W"])
    assert max(first.pooled.surprise, second.pooled.surprise) < 1e-12 < first.pooled.actual
    together = promised_move(adapter, gradient(adapter, "AB"), 0.1).pooled
    assert together.surprise > 1e-3
    stale = staleness(adapter, gradient(adapter, "B"), asked[1][1], gradient(asked[1][1], "A")).pooled
    assert stale.gauge < 1 - 1e-4


@given(seed=SEEDS)
def test_staleness_takes_each_gradient_at_its_own_point(seed):
    (before, G), (after, G2) = problem(seed), problem(seed + 1)
    grad_b, grad_a = clean(before, G)["B", "W"], clean(after, G2)["A", "W"]
    found = staleness(before, {("B", "W"): grad_b}, after, {("A", "W"): grad_a}).layers["W"]
    (A, B), (A2, B2) = ((x.tensors["A", "W"], x.tensors["B", "W"]) for x in (before, after))
    assert found.weight == pytest.approx(cosine(B2 @ grad_a, grad_b @ A), abs=1e-10)
    assert found.gauge == pytest.approx(cosine(grad_a @ A2.T, B.T @ grad_b), abs=1e-10)
    same = staleness(before, clean(before, G), before, clean(before, G))
    assert same.pooled.gauge == pytest.approx(1, abs=1e-12)


# ---- gradients of a task --------------------------------------------------------------------------------------

TASK = linear_task(samples=20)
ENGINE = Engine(TASK, 0.7, dtype=torch.float64, max_samples=7)
ADAPTER = random_adapter(TASK, 2, 0.7, 0).map(torch.Tensor.double)


def oracle() -> dict:
    """One backward of the mean loss through the engine's forward with shared factors."""
    leaves = {key: value.clone().requires_grad_() for key, value in ADAPTER.tensors.items()}
    loss = F.cross_entropy(ENGINE.scores(leaves, {"x": TASK.train.inputs["x"].double()}), TASK.train.labels)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def test_the_mean_gradient_is_that_of_the_mean_loss():
    expected = oracle()
    for factors in ("A", "B", "AB", ("head",)):
        found = mean_gradient(ENGINE, ADAPTER, TASK.train, factors)
        assert {kind for kind, _ in found} == set(factors)
        for key, value in found.items():
            torch.testing.assert_close(value, expected[key], rtol=1e-10, atol=1e-12)
    single = Engine(TASK, 0.7)  # float32 agrees, and returns float64
    for key, value in mean_gradient(single, ADAPTER, TASK.train).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-6)


def test_noised_gradients_are_clipped_means_plus_noise_of_the_stated_size():
    """Noise pooled over 200 draws of 40 entries: std within 5 %, 9 standard errors; seed 0."""
    expected = oracle()
    generator = np.random.default_rng(0)
    free = noised_gradient(ENGINE, ADAPTER, TASK.train, clip_norm=1e6, noise_std=0.0, generator=generator)
    assert {kind for kind, _ in free} == {"A", "B", "head"}
    for key, value in free.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-7)
    tight = noised_gradient(ENGINE, ADAPTER, TASK.train, clip_norm=0.01, noise_std=0.0, generator=generator)
    size = torch.cat([value.flatten() for value in tight.values()]).norm()
    assert 0.001 < float(size) <= 0.01
    draws = [
        noised_gradient(ENGINE, ADAPTER, TASK.train, clip_norm=1e6, noise_std=0.3, generator=generator)
        for _ in range(200)
    ]
    noise = torch.cat([(draw[key] - free[key]).flatten() for draw in draws for key in free if key[0] != "head"])
    assert float(noise.std()) == pytest.approx(0.3, rel=0.05) and abs(float(noise.mean())) < 0.02


def test_on_a_transformer_clean_gradients_of_one_point_pass_the_gauge_check_in_every_layer():
    task = task_of("swin", samples=6)
    engine = Engine(task, 0.7, dtype=torch.float64, max_samples=4)
    adapter = random_adapter(task, 2, 0.7, 1).map(torch.Tensor.double)
    found = coupling(adapter, mean_gradient(engine, adapter, task.train))
    assert len(found.layers) == 8
    assert all(x.gauge == pytest.approx(1, abs=1e-9) and 0 <= x.weight <= 1 for x in found.layers.values())
    assert not math.isnan(found.layers["layers.0.blocks.0.attn.proj"].flat)
    assert math.isnan(found.layers["layers.0.blocks.0.attn.qkv"].flat) and math.isnan(found.pooled.flat)


def test_no_samples_is_refused():
    with pytest.raises(ValueError, match=r"split is empty.*select at least one sample"):
        mean_gradient(ENGINE, ADAPTER, TASK.train.select(torch.tensor([], dtype=torch.long)))
