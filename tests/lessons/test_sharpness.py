"""Sharpness against exact eigenvalues, the engine's own gradients, and what may not depend on the gauge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.gradients import mean_gradient, prepared
from lalora_kit.lessons.hessian import hessian_product, lanczos
from lalora_kit.lessons.sharpness import (
    FACTORS,
    FACTORS_AND_HEAD,
    WEIGHTS,
    leaves_of,
    part_of_loss,
    plane_through,
    rescaled,
    sharpness,
)
from lalora_kit.tasks import Split
from tests.tiny import linear_task, random_adapter, task_of

S = 0.7
TASK = linear_task(samples=30)
SPLIT = TASK.train
ENGINE = Engine(TASK, S, dtype=torch.float64, max_samples=11)
ADAPTER = random_adapter(TASK, 2, S, 0).map(torch.Tensor.double)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def plain_loss(tensors: dict) -> torch.Tensor:
    """The oracle: mean cross-entropy of the plain backbone with ΔW merged by hand, without the engine."""
    weights = {name: value.double() for name, value in TASK.backbone.state_dict().items()}
    delta = tensors["W", "body"] if ("W", "body") in tensors else S * tensors["B", "body"] @ tensors["A", "body"]
    weights["body.weight"] = weights["body.weight"] + delta
    weights |= {f"head.{name}": value for (kind, name), value in tensors.items() if kind == "head"}
    return F.cross_entropy(functional_call(TASK.backbone, weights, SPLIT.inputs["x"].double()), SPLIT.labels)


def exact_hessian(space: tuple[str, ...], adapter: Adapter = ADAPTER) -> torch.Tensor:
    """The full matrix, by plain autograd on the oracle's loss."""
    tensors = dict(adapter.tensors)
    if space == WEIGHTS:
        tensors = {("W", "body"): adapter.products()["body"], **tensors}
    keys = [key for key in sorted(tensors) if key[0] in space]
    sizes = [tensors[key].numel() for key in keys]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = zip(keys, flat.split(sizes), strict=True)
        return plain_loss({**tensors, **{key: part.reshape(tensors[key].shape) for key, part in parts}})

    return torch.autograd.functional.hessian(loss, torch.cat([tensors[key].flatten() for key in keys]))


@pytest.mark.parametrize("space", [FACTORS, FACTORS_AND_HEAD, WEIGHTS, ("B",)])
def test_lambda_max_is_that_of_the_full_hessian(space):
    exact = torch.linalg.eigvalsh(exact_hessian(space))
    found = sharpness(ENGINE, ADAPTER, SPLIT, space=space, generator=rng(), tolerance=1e-9)
    assert found.converged and found.error <= 1e-9 * found.largest
    assert found.largest == pytest.approx(float(exact[-1]), rel=1e-9)
    assert float(exact[-1]) > 0.01 and (space == WEIGHTS or float(exact[0]) < -1e-4)  # a real saddle, not a zero
    loose = sharpness(ENGINE, ADAPTER, SPLIT, space=space, generator=rng(1))
    assert loose.largest == pytest.approx(float(exact[-1]), rel=2e-3) and loose.products <= found.products


def test_chunks_do_not_change_it():
    whole = Engine(TASK, S, dtype=torch.float64)
    left, right = (sharpness(engine, ADAPTER, SPLIT, generator=rng()).largest for engine in (ENGINE, whole))
    assert left == pytest.approx(right, rel=1e-10)


@settings(max_examples=8)
@given(c=st.floats(0.2, 5.0))
def test_the_gauge_moves_factor_sharpness_and_not_that_of_the_weights(c):
    other = rescaled(ADAPTER, c)
    assert other.products()["body"].numpy() == pytest.approx(ADAPTER.products()["body"].numpy())
    weights = [sharpness(ENGINE, a, SPLIT, space=WEIGHTS, generator=rng()).largest for a in (ADAPTER, other)]
    assert weights[0] == pytest.approx(weights[1], rel=1e-8)
    factors = sharpness(ENGINE, other, SPLIT, generator=rng(), tolerance=1e-9).largest
    exact = float(torch.linalg.eigvalsh(exact_hessian(FACTORS, other))[-1])
    assert factors == pytest.approx(exact, rel=1e-8)


def test_a_large_gauge_multiplies_the_factor_sharpness():
    plain, scaled = (sharpness(ENGINE, a, SPLIT, generator=rng()).largest for a in (ADAPTER, rescaled(ADAPTER, 5.0)))
    assert scaled > 5 * plain


@pytest.mark.parametrize("architecture", ["swin", "roberta"])
def test_hessian_vector_products_are_differences_of_the_engines_gradients(architecture):
    """Through attention: (∇L(θ + hv) − ∇L(θ − hv)) / 2h by the per-sample engine, in float64."""
    task = task_of(architecture, samples=4)
    engine = Engine(task, S, dtype=torch.float64)
    adapter = random_adapter(task, 2, S, 0).map(torch.Tensor.double)
    keys = [key for key in sorted(adapter.tensors) if key[0] != "head"]
    vector = torch.from_numpy(rng().standard_normal(sum(adapter.tensors[key].numel() for key in keys)))
    pieces = dict(zip(keys, vector.split([adapter.tensors[key].numel() for key in keys]), strict=True))

    def slope(step: float) -> torch.Tensor:
        moved = {key: adapter.tensors[key] + step * pieces[key].reshape(adapter.tensors[key].shape) for key in keys}
        gradient = mean_gradient(engine, adapter.with_tensors(moved), task.train)
        return torch.cat([gradient[key].flatten() for key in keys])

    expected = (slope(1e-5) - slope(-1e-5)) / 2e-5
    point, data = prepared(engine, adapter, task.train)
    active, leaves = leaves_of(point, FACTORS)
    product = hessian_product([part_of_loss(engine, point, active, data, torch.arange(len(data)))], leaves)(vector)
    assert float((product - expected).norm() / expected.norm()) < 1e-6 and float(expected.norm()) > 1e-3


@settings(max_examples=20)
@given(size=st.integers(1, 12), seed=st.integers(0, 2**32 - 1), shift=st.floats(-3, 3))
def test_lanczos_finds_the_extremes_of_a_small_matrix(size, seed, shift):
    square = rng(seed).standard_normal((size, size))
    matrix = torch.from_numpy(square + square.T + shift * np.eye(size))
    exact = torch.linalg.eigvalsh(matrix)
    found = lanczos(lambda v: matrix @ v, size, rng(seed), tolerance=0.0)
    assert found.converged and found.products <= size
    assert [found.smallest, found.largest] == pytest.approx([float(exact[0]), float(exact[-1])], abs=1e-8)


def test_lanczos_says_when_it_has_not_converged_and_knows_a_zero_matrix():
    matrix = torch.diag(torch.linspace(0, 1, 300, dtype=torch.float64))
    early = lanczos(lambda v: matrix @ v, 300, rng(), most_products=4, tolerance=1e-9)
    assert not early.converged and math.isnan(early.largest) and math.isnan(early.smallest)
    assert "λ_max and λ_min did not converge" in str(early) and "more than 4 products" in early.said
    for size in (5, 40):
        nothing = lanczos(lambda v: 0 * v, size, rng())
        assert (nothing.largest, nothing.smallest, nothing.said) == (0, 0, "")
        broken = lanczos(lambda v: v / 0, size, rng())
        assert math.isnan(broken.largest) and not broken.converged and "not finite" in str(broken)


def typed(split: Split) -> Split:
    return Split({"x": split.inputs["x"].double()}, split.labels)


def test_the_plane_holds_its_three_points_and_their_losses():
    one, other = (random_adapter(TASK, 2, S, seed).map(torch.Tensor.double) for seed in (1, 2))
    plane = plane_through(ADAPTER, one, other)
    gram = plane.axes @ plane.axes.T
    assert gram.numpy() == pytest.approx(np.eye(2), abs=1e-12)
    assert plane.place(ADAPTER) == pytest.approx((0, 0), abs=1e-12)
    assert plane.place(one) == pytest.approx(tuple(plane.ends[0].tolist())) and plane.place(one)[1] == pytest.approx(0)
    for adapter in (ADAPTER, one, other):
        assert plane.beside(adapter) == pytest.approx(0, abs=1e-12)
        loss = ENGINE.evaluate(plane.at(*plane.place(adapter)), typed(SPLIT))[1]
        assert loss == pytest.approx(float(plain_loss(dict(adapter.tensors))), rel=1e-5)
    apart = random_adapter(TASK, 2, S, 3).map(torch.Tensor.double)
    assert 0 < plane.beside(apart) < 1


def test_distances_on_the_plane_are_those_of_the_weights():
    one, other = (random_adapter(TASK, 2, S, seed).map(torch.Tensor.double) for seed in (1, 2))
    plane = plane_through(ADAPTER, one, other)

    def weights(adapter: Adapter) -> torch.Tensor:
        parts = [S * adapter.tensors["B", "body"] @ adapter.tensors["A", "body"]]
        return torch.cat([x.flatten() for x in (*parts, *adapter.of("head").values())])

    between = float((weights(one) - weights(other)).norm())
    assert float((plane.ends[0] - plane.ends[1]).norm()) == pytest.approx(between)


def test_the_map_is_the_loss_at_each_point_and_rescaling_factors_does_not_move_it():
    one, other = (random_adapter(TASK, 2, S, seed).map(torch.Tensor.double) for seed in (1, 2))
    plane, xs, ys = plane_through(ADAPTER, one, other), [0.0, 0.5], [-0.5, 0.0, 1.0]
    losses = plane.losses(ENGINE, typed(SPLIT), xs, ys)
    assert losses.shape == (2, 3)
    tensors = {("W", "body"): torch.zeros(0), **{("head", name): v for name, v in ADAPTER.of("head").items()}}
    vector = plane.origin + 0.5 * plane.axes[0] + 1.0 * plane.axes[1]
    body = ADAPTER.products()["body"]
    tensors["W", "body"], rest = vector[: body.numel()].reshape(body.shape), vector[body.numel() :]
    for name, value in ADAPTER.of("head").items():
        tensors["head", name], rest = rest[: value.numel()].reshape(value.shape), rest[value.numel() :]
    assert float(losses[1, 2]) == pytest.approx(float(plain_loss(tensors)), rel=1e-5)
    again = plane_through(rescaled(ADAPTER, 4.0), rescaled(one, 0.5), other).losses(ENGINE, typed(SPLIT), xs, ys)
    assert again.numpy() == pytest.approx(losses.numpy(), rel=1e-6)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"space=\('W', 'A'\) is unknown.*use some of A, B, head, or W alone"):
        sharpness(ENGINE, ADAPTER, SPLIT, space=("W", "A"), generator=rng())
    with pytest.raises(ValueError, match="split is empty"):
        sharpness(ENGINE, ADAPTER, SPLIT.select(torch.tensor([], dtype=torch.long)), generator=rng())
    with pytest.raises(ValueError, match=r"scale=0\.3 of the adapter is not the engine's \[0\.7\]"):
        sharpness(ENGINE, Adapter(ADAPTER.tensors, 0.3), SPLIT, generator=rng())
    with pytest.raises(ValueError, match="lie on one line, which is no plane"):
        plane_through(ADAPTER, rescaled(ADAPTER, 2.0), ADAPTER)
    one = random_adapter(TASK, 2, S, 1).map(torch.Tensor.double)
    with pytest.raises(ValueError, match="take ends of different runs"):
        plane_through(ADAPTER, one, one)
    for factor in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="other than 0"):
            rescaled(ADAPTER, factor)
