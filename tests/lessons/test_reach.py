"""Reach and noise: coordinates against written-out projections, energies against simulation, gauges against code."""

import math

import numpy as np
import pytest
import torch

from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.gallery.reach import (
    WAYS,
    Weight,
    at_random,
    coordinates,
    gauge_of,
    lifted,
    noise_energy,
    numbers,
    onto,
    reach_of,
    turned,
    weights_at,
)
from lalora_kit.lessons.gradients import mean_gradient
from lalora_kit.methods.algebra import orthonormal, rows_apart
from tests.tiny import linear_task, random_adapter

M, N, R, S = 7, 9, 2, 5


def weight(seed=0):
    rng = np.random.default_rng(seed)
    G, A, B = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((S, M, N), (R, N), (M, R)))
    Q = orthonormal((N, R), rng).mT
    return Weight(G, A, B, Q, orthonormal((M, R), rng), orthonormal((N, R), rng))


def projections(w):
    """P_A and P_B by the inverse of the Gram matrices."""
    return w.A.mT @ torch.linalg.inv(w.A @ w.A.mT) @ w.A, w.B @ torch.linalg.inv(w.B.mT @ w.B) @ w.B.mT


def test_each_way_follows_the_projection_that_its_formula_says():
    w, G = weight(), weight().G[0]
    P_A, P_B = projections(w)
    wanted = {
        "full": G, "tangent": P_B @ G + G @ P_A - P_B @ G @ P_A, "FFA": G @ w.Q.mT @ w.Q,
        "Fed-SB": w.U @ w.U.mT @ G @ w.V @ w.V.mT,
    }  # fmt: skip
    wanted["LoRA"] = wanted["tangent"]
    for way in WAYS:
        torch.testing.assert_close(onto(w, way, G), wanted[way])
        torch.testing.assert_close(onto(w, way, onto(w, way, G)), wanted[way])  # a projection


@pytest.mark.parametrize("way", WAYS)
def test_the_energy_of_the_noise_is_that_of_simulations(way):
    w, rng, found = weight(), np.random.default_rng(1), []
    shapes = [part.shape[1:] for part in coordinates(w, way)]
    Q_A = rows_apart(w.A)[1]
    for _ in range(1500):
        noise = [torch.from_numpy(rng.standard_normal(shape)) for shape in shapes]
        if way == "tangent":
            noise[1] = noise[1] - noise[1] @ Q_A.mT @ Q_A  # its second part has r(n − r) numbers
        found.append(float(lifted(w, way, noise).square().sum()))
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - noise_energy(w, way)) < 5 * error  # a false alarm in about two million runs
    dimensions = torch.linalg.matrix_rank(torch.stack([onto(w, way, g).flatten() for g in torch.eye(M * N).double()
                                                       .unflatten(1, (M, N))]))  # fmt: skip
    assert dimensions == numbers(w, "tangent" if way == "LoRA" else way)


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match=r"way='all' is unknown; a step is seen through one of full, LoRA"):
        coordinates(weight(), "all")


def test_without_a_clip_the_move_along_the_gradient_is_the_square_of_the_reach():
    ws = [weight(0), weight(1)]
    size = math.sqrt(sum(float(w.G.mean(0).square().sum()) for w in ws))
    for way in ("full", "tangent", "FFA", "Fed-SB"):
        found = reach_of(ws, way, 1e6)
        assert found.clipped == 0 and found.along * 1e6 == pytest.approx(found.reach**2 * size)
        assert found.signal_to_noise(0.5) == pytest.approx(found.along / (0.5 * math.sqrt(found.numbers)))
        assert found.signal_to_noise(0.0) == math.inf


def test_clipped_by_a_loop():
    ws, C = [weight(0), weight(1)], 2.0
    total = [torch.zeros(M, N).double() for _ in ws]
    for i in range(S):
        parts = [[g.mT for g in ()] or [w.G[i] @ w.A.mT, w.B.mT @ w.G[i]] for w in ws]
        norm = math.sqrt(sum(float(h.square().sum()) for part in parts for h in part))
        for place, (w, (of_B, of_A)) in enumerate(zip(ws, parts, strict=True)):
            total[place] += min(1.0, C / norm) * (of_B @ w.A + w.B @ of_A) / S
    means = [w.G.mean(0) for w in ws]
    along = sum(float((t * g).sum()) for t, g in zip(total, means, strict=True))
    along /= C * math.sqrt(sum(float(g.square().sum()) for g in means))
    assert reach_of(ws, "LoRA", C).along == pytest.approx(along)


def test_one_function_in_two_gauges_has_two_flat_norms_and_one_in_the_tangent_space():
    w, c = weight(), 5.0
    other = Weight(w.G, w.A / c, c * w.B, w.Q, w.U, w.V)
    torch.testing.assert_close(other.B @ other.A, w.B @ w.A)
    one, two = gauge_of([w]), gauge_of([other])
    torch.testing.assert_close(one.flat(c), two.flat(1.0))
    torch.testing.assert_close(one.tangent, two.tangent)
    assert not torch.allclose(one.flat(1.0), two.flat(1.0))


def test_gradients_are_those_of_the_engine_that_trains():
    """Chain rule: what the engine has of A is s·Bᵀ·G, and of B s·G·Aᵀ; the scale is in B here."""
    task = linear_task()
    adapter = random_adapter(task, 2, 0.5, seed=0)
    [w] = weights_at(task, adapter, adapter, task.train)
    engine = Engine(task, adapter.scale, max_samples=32)
    found, [name] = mean_gradient(engine, adapter, task.train), adapter.of("A")
    G = w.G.mean(0)
    torch.testing.assert_close(w.B.mT @ G, found["A", name], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(0.5 * G @ w.A.mT, found["B", name], atol=1e-6, rtol=1e-4)
    base = task.backbone.get_submodule(name).weight.detach().double()
    torch.testing.assert_close(w.U @ (w.U.mT @ base @ w.V) @ w.V.mT, w.U @ w.U.mT @ base)


def test_random_directions_reach_their_share_of_the_numbers():
    """The mean of ‖P(G)‖² over random directions is ‖G‖²·d/D, which is what makes them a control."""
    w, G = weight(), weight().G.mean(0)
    for way, count in (("Fed-SB", R * R), ("tangent", R * (M + N - R))):
        found = [
            float(onto(at_random([w], np.random.default_rng(seed))[0], way, G).square().sum()) for seed in range(400)
        ]
        error = np.std(found, ddof=1) / math.sqrt(len(found))
        assert abs(np.mean(found) - float(G.square().sum()) * count / (M * N)) < 5 * error


def test_the_angle_between_row_spaces():
    one = torch.eye(3)[:2]
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert turned(one, turn @ one) == pytest.approx(0, abs=1e-9)
    other = torch.tensor([[1.0, 0.0, 0.0], [0.0, math.cos(0.3), math.sin(0.3)]])
    assert turned(one, other) == pytest.approx(math.degrees(0.3), rel=1e-5)
