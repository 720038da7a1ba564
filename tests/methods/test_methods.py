"""One contract for all methods, and what each claims for itself; the filter and the projection against algebra."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lalora_kit import federated
from lalora_kit.engine.adapters import Adapter, stack
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS, Method, find_method
from lalora_kit.methods.filter import KERNEL, binomial_smooth, smooth_along
from lalora_kit.methods.optimisers import Optimisers, projected
from tests.tiny import FAST, identical, linear_task, random_adapter, swin_task

ALL = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
TASK = linear_task()
FREE = replace(FAST, epsilon=math.inf, local_steps=4, rounds=2)

#: What trains in (round, step) = (1,1), (1,2), (2,1), (2,2).
SCHEDULES = {
    "la-lora": ("B", "A", "B", "A"),
    "la-lora-nofilter": ("B", "A", "B", "A"),
    "dp-lora": ("AB", "AB", "AB", "AB"),
    "dp-lora-filter": ("AB", "AB", "AB", "AB"),
    "ffa-lora": ("B", "B", "B", "B"),
    "rolora": ("B", "B", "A", "A"),
    "head-only": ("", "", "", ""),
}
FILTERED = {"la-lora", "dp-lora-filter"}


def test_the_table_is_complete():
    assert set(METHODS) == set(SCHEDULES)
    assert all(method.name == name and method.paper for name, method in METHODS.items())


@ALL
def test_schedule(method):
    trained = [method.trains(t, k) for t, k in product((1, 2), (1, 2))]
    assert ["".join(sorted(factors)) for factors in trained] == list(SCHEDULES[method.name])
    assert method.trained_in(1, 2) == method.trains(1, 1) | method.trains(1, 2)
    for t, k in product(range(1, 7), range(1, 7)):  # fixed by (round, step) alone: no state, no data
        assert method.trains(t, k) == method.trains(t, k) <= {"A", "B"}


@ALL
def test_a_method_is_a_plain_value(method):
    assert pickle.loads(pickle.dumps(method)) == method
    assert method.name in repr(method)
    assert replace(method, name="mine") != method


@ALL
@pytest.mark.parametrize("factor", ["A", "B"])
def test_post_processing_is_linear_and_keeps_shape_and_clients_apart(method, factor):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 7) if factor == "A" else (3, 7, 2)
    x, y = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    smoothed = method.smooth(2 * x - 3 * y, factor)
    assert smoothed.shape == shape
    torch.testing.assert_close(smoothed, 2 * method.smooth(x, factor) - 3 * method.smooth(y, factor))
    torch.testing.assert_close(method.smooth(x, factor)[1], method.smooth(x[1], factor))
    assert torch.equal(method.smooth(x, factor), x) == (method.name not in FILTERED)


@ALL
def test_aggregate_changes_only_what_trained_and_none_of_its_inputs(method):
    clients = [random_adapter(TASK, 2, 1.0, seed) for seed in (1, 2, 3)]
    broadcast = random_adapter(TASK, 2, 1.0, 4)
    before = [adapter.map(Tensor.clone) for adapter in (*clients, broadcast)]
    weights, trained = [0.5, 0.3, 0.2], method.trained_in(1, 4)
    mean = method.aggregate(broadcast, clients, weights, trained)
    for (kind, name), value in mean.tensors.items():
        if kind in trained | {"head"}:
            expected = sum(w * c.tensors[kind, name].double() for w, c in zip(weights, clients, strict=True))
            torch.testing.assert_close(value, expected.float())
        else:
            assert torch.equal(value, broadcast.tensors[kind, name])
    assert all(identical(left, right) for left, right in zip((*clients, broadcast), before, strict=True))
    turned = method.aggregate(broadcast, clients[::-1], weights[::-1], trained)
    for key, value in mean.tensors.items():
        torch.testing.assert_close(turned.tensors[key], value)
    [alone] = [method.aggregate(broadcast, clients[:1], [1.0], trained)]
    assert all(torch.equal(alone.tensors[key], clients[0].tensors[key]) for key in alone.keys(trained))


def walked(method: Method, monkeypatch, **changes) -> list[tuple[int, Adapter, Adapter, frozenset]]:
    """(round, factors before a step, after it, what was active) of a run, by watching the optimiser."""
    steps = []
    plain = Optimisers.apply

    def spy(self, gradients, method):
        before = self.local.map(Tensor.clone)
        plain(self, gradients, method)
        steps.append((before, self.local.map(Tensor.clone), frozenset(kind for kind, _ in gradients)))

    monkeypatch.setattr(Optimisers, "apply", spy)
    list(federated_rounds(TASK, method, replace(FREE, **changes)))
    return steps


@ALL
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_inactive_factor_is_bit_identical_after_each_step(method, optimizer, monkeypatch):
    steps = walked(method, monkeypatch, optimizer=optimizer, weight_decay=0.1, learning_rate=0.01)
    assert len(steps) == 8
    for number, (before, after, active) in enumerate(steps):
        t, k = divmod(number, 4)
        assert active == method.trains(t + 1, k + 1) | {"head"}
        for key, value in after.tensors.items():
            if key[0] not in active:
                assert torch.equal(value, before.tensors[key])
            elif not (key[0] == "A" and not before.tensors["B", key[1]].any()):
                assert not torch.equal(value, before.tensors[key])


@ALL
def test_same_seed_same_records_and_an_early_close_leaves_nothing_behind(method):
    whole = list(federated_rounds(TASK, method, FAST))
    walk = federated_rounds(TASK, method, FAST)
    first = next(walk)
    walk.close()
    again = list(federated_rounds(TASK, method, FAST))
    for left, right in zip([*whole, whole[0]], [*again, first], strict=True):
        assert {**left.to_json(), "seconds": 0} == {**right.to_json(), "seconds": 0}
        assert identical(left.adapter, right.adapter)
    assert all(value.grad is None and not value.requires_grad for value in TASK.backbone.parameters())


@ALL
def test_what_stays_as_drawn_and_what_averaging_loses(method):
    plan_start = next(federated_rounds(TASK, METHODS["head-only"], FREE)).adapter
    records = list(federated_rounds(TASK, method, FREE))
    for name in ("ffa-lora", "head-only"):
        if method.name == name:
            for r in records:
                assert all(torch.equal(value, plan_start.tensors["A", key]) for key, value in r.adapter.of("A").items())
    gaps = [r.aggregation_gap for r in records]
    if method.name in ("ffa-lora", "rolora"):
        assert gaps == [0.0, 0.0]
    elif method.name == "head-only":
        assert all(math.isnan(gap) for gap in gaps)  # every product is zero
        assert all(not r.adapter.of("B")["body"].any() for r in records)
    else:
        assert all(0 < gap < 1 for gap in gaps)
    assert not torch.equal(records[0].adapter.of("head")["weight"], TASK.backbone.head.weight)
    factors = {"A": 2 * 6, "B": 5 * 2}
    head = 5 * 3 + 3
    for t, r in enumerate(records, start=1):
        assert r.upload == head + sum(factors[kind] for kind in method.trained_in(t, 4))
        assert set(r.update_norms) == method.trained_in(t, 4) | {"head"}


@ALL
def test_the_order_of_clients_does_not_matter(method, monkeypatch):
    [r, *_] = federated_rounds(TASK, method, FREE)
    plain = federated.make_plan

    def turned(*given):
        plan = plain(*given)
        return replace(plan, schedule=tuple(clients[::-1] for clients in plan.schedule))

    monkeypatch.setattr(federated, "make_plan", turned)
    [other, *_] = federated_rounds(TASK, method, FREE)
    assert other.participants == r.participants[::-1]
    for key, value in r.adapter.tensors.items():
        torch.testing.assert_close(other.adapter.tensors[key], value, rtol=1e-5, atol=1e-7)


@ALL
def test_works_on_swin_with_noise(method):
    [r] = federated_rounds(swin_task(), method, replace(FAST, rounds=1))
    assert all(torch.isfinite(value).all() for value in r.adapter.tensors.values())
    assert 0 < r.epsilon <= 3 and math.isfinite(r.loss)


@pytest.mark.parametrize("name", ["la-lora", "la-lora-nofilter"])
def test_one_local_step_would_never_train_A_and_is_refused(name):
    with pytest.raises(ValueError, match=r"local_steps=1 is too few for la-lora.*would never train.*local_steps=2"):
        federated_rounds(TASK, METHODS[name], replace(FAST, local_steps=1))
    for other in METHODS.keys() - {"la-lora", "la-lora-nofilter"}:
        METHODS[other].check(1)


def test_an_unknown_method_is_refused_with_the_nearest():
    assert find_method("rolora") is METHODS["rolora"]
    with pytest.raises(
        ValueError, match=r"'lalora' is unknown; did you mean .*'la-lora'.*choose one of la-lora, dp-lora"
    ):
        find_method("lalora")
    with pytest.raises(ValueError, match="choose one of"):
        find_method("%%%")


# ---- the filter -----------------------------------------------------------------------------------------------


def matrix(size: int) -> np.ndarray:
    return smooth_along(torch.eye(size, dtype=torch.float64), 0).numpy()


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 48])
def test_the_filter_is_symmetric_doubly_stochastic_with_known_eigenvalues(size):
    F = matrix(size)
    np.testing.assert_allclose(F, F.T, atol=1e-15)
    np.testing.assert_allclose(F.sum(0), 1, atol=1e-15)
    assert (F >= 0).all()
    expected = np.cos(np.pi * np.arange(size) / (2 * size)) ** 4
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(F)), np.sort(expected), atol=1e-12)
    position = np.arange(size) + 0.5  # DCT-II vectors
    for k in range(size):
        wave = np.cos(np.pi * k * position / size)
        np.testing.assert_allclose(F @ wave, expected[k] * wave, atol=1e-12)


@pytest.mark.parametrize("size", [4, 16, 192])
def test_the_filter_leaves_a_quarter_of_white_noise(size):
    assert (matrix(size) ** 2).sum() / size == pytest.approx(70 / 256 + 1 / (2 * size), abs=1e-12)


@settings(max_examples=60)
@given(size=st.integers(2, 40), seed=st.integers(0, 2**32))
def test_the_filter_is_numpys_pad_and_convolve(size, seed):
    values = np.random.default_rng(seed).standard_normal(size)
    expected = np.convolve(np.pad(values, 2, mode="symmetric"), KERNEL, mode="valid")
    np.testing.assert_allclose(smooth_along(torch.from_numpy(values), 0).numpy(), expected, atol=1e-13)


def test_the_filter_runs_along_the_long_axis_and_never_mixes_ranks_or_clients():
    generator = torch.Generator().manual_seed(0)
    for factor, shape in (("A", (2, 3, 11)), ("B", (2, 11, 3))):
        gradient = torch.randn(shape, generator=generator, dtype=torch.float64)
        smoothed = binomial_smooth(gradient, factor)
        rows = gradient if factor == "A" else gradient.mT
        result = smoothed if factor == "A" else smoothed.mT
        for client, rank in product(range(2), range(3)):
            np.testing.assert_allclose(
                result[client, rank].numpy(), matrix(11) @ rows[client, rank].numpy(), atol=1e-13
            )


def test_the_head_is_never_filtered():
    """Two identical runs but for the filter: after one B step the head is the same bit for bit, B is not."""
    steps = replace(FREE, local_steps=2, rounds=1)
    heads, factors = [], []
    for name in ("dp-lora", "dp-lora-filter"):
        start = random_adapter(TASK, 2, 1.0, 0)
        local = stack(start, 2)
        gradients = {key: torch.ones_like(value).cumsum(-1).cumsum(-2) ** 2 for key, value in local.tensors.items()}
        Optimisers(local, steps, 1).apply(gradients, METHODS[name])
        heads.append(local.of("head"))
        factors.append({**local.of("A"), **{f"B {name}": value for name, value in local.of("B").items()}})
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert not any(torch.equal(factors[0][name], factors[1][name]) for name in factors[0])


# ---- Theorem 2 ------------------------------------------------------------------------------------------------


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 9), (2, 9), (7, 2)))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_projected_gradient_solves_the_least_squares_problem(scale):
    G, A, B = problem(0)
    for_b = projected(scale * G @ A.T, "B", A, scale, 1e-13)
    for_a = projected(scale * B.T @ G, "A", B, scale, 1e-13)
    best_b = torch.linalg.lstsq(scale * A.T, G.T).solution.T  # argmin ‖sXA − G‖
    best_a = torch.linalg.lstsq(scale * B, G).solution  # argmin ‖sBY − G‖
    torch.testing.assert_close(for_b, best_b, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(for_a, best_a, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(scale * for_b @ A, G @ torch.linalg.pinv(A) @ A, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(scale * B @ for_a, B @ torch.linalg.pinv(B) @ G, rtol=1e-9, atol=1e-10)


def test_the_projected_move_does_not_depend_on_the_gauge():
    """B→BQ, A→Q⁻¹A is the same model, and moves W alike; the plain gradient does not."""
    G, A, B = problem(1)
    Q = torch.tensor([[2.0, 1.0], [0.0, 0.5]], dtype=torch.float64)
    A2, B2 = torch.linalg.solve(Q, A), B @ Q
    moves = [projected(G @ a.T, "B", a, 1.0, 1e-13) @ a for a in (A, A2)]
    torch.testing.assert_close(*moves, rtol=1e-9, atol=1e-10)
    moves = [b @ projected(b.T @ G, "A", b, 1.0, 1e-13) for b in (B, B2)]
    torch.testing.assert_close(*moves, rtol=1e-9, atol=1e-10)
    assert not torch.allclose(G @ A.T @ A, G @ A2.T @ A2)


def test_damping_and_stacks_of_clients():
    G, A, B = problem(2)
    assert torch.isfinite(projected(torch.zeros(2, 9).double(), "A", torch.zeros(7, 2).double(), 1.0, 1e-3)).all()
    damped = projected(B.T @ G, "A", B, 1.0, 0.1)
    torch.testing.assert_close(damped, torch.linalg.inv(B.T @ B + 0.1 * torch.eye(2)) @ B.T @ G)
    other = problem(3)
    both = projected(torch.stack([G @ A.T, other[0] @ other[1].T]), "B", torch.stack([A, other[1]]), 1.0, 0.1)
    torch.testing.assert_close(both[1], projected(other[0] @ other[1].T, "B", other[1], 1.0, 0.1))


def test_the_option_changes_factors_and_never_the_head():
    settings_ = replace(FREE, rounds=1, local_steps=1, learning_rate=0.01)
    [plain] = federated_rounds(TASK, METHODS["dp-lora"], settings_)
    [shaped] = federated_rounds(TASK, METHODS["dp-lora"], replace(settings_, precondition=1e-2))
    assert all(torch.equal(shaped.adapter.of("head")[n], v) for n, v in plain.adapter.of("head").items())
    assert not torch.equal(shaped.adapter.of("B")["body"], plain.adapter.of("B")["body"])
