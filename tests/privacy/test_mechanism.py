"""The mechanism: sensitivity, the noise's size, shape and independence, Poisson draws.

Each statistical test states its seed and the chance p_f that a right implementation fails it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from lalora_kit import local
from lalora_kit.engine.adapters import Adapter, stack
from lalora_kit.engine.persample import Engine
from lalora_kit.local import private_step
from lalora_kit.methods import METHODS
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger, Streams, clipped_sum, gaussian, poisson_draw
from lalora_kit.tasks import Task
from tests.tiny import FAST, linear_task

SPECIAL = [math.inf, -math.inf, math.nan, 1e38, -3.4e38, 1e-45, 0.0]


def batch_from(kind: str, seed: int, clip: float):
    """Gradients of two tensors for up to six samples, their owners, and the one sample to remove.

    "bits" reads any 32 bits as a float, some special values among them; "near" has norms within rounding of C, where
    a naive clip fails by an ulp. (From a seed, because drawing 2000 batches value by value takes a minute.)
    """
    random = np.random.default_rng(seed)
    samples, width = int(random.integers(1, 7)), int(random.integers(2, 13))
    if kind == "bits":
        values = np.frombuffer(random.bytes(4 * samples * width), dtype=np.float32).reshape(samples, width).copy()
        places = random.random(values.shape) < random.choice([0.0, 0.1, 0.9])
        values[places] = random.choice(SPECIAL, size=int(places.sum()))
    else:
        values = random.standard_normal((samples, width))
        near = clip * (1 + random.choice([-1e-6, -1e-7, 0, 1e-7, 1e-6, 1.0], size=(samples, 1)))
        values = (values / np.linalg.norm(values, axis=1, keepdims=True) * near).astype(np.float32)
    first = width // 2
    gradients = [torch.from_numpy(values[:, :first]).unsqueeze(-1), torch.from_numpy(values[:, first:])]
    owner = torch.from_numpy(random.integers(0, 3, size=samples))
    return gradients, owner, int(random.integers(samples))


# Row 2, p_f = 0. Both phases: with two tensors (a factor and the head), and with one (the head alone).
@settings(max_examples=2000)
@given(
    kind=st.sampled_from(["bits", "near"]),
    seed=st.integers(0, 2**32),
    clip=st.sampled_from([1e-3, 0.1, 1.0, 7.3, 1e6]),
    alone=st.booleans(),
)
def test_one_sample_moves_the_clipped_sum_by_at_most_C(kind, seed, clip, alone):
    gradients, owner, one = batch_from(kind, seed, clip)
    gradients = gradients[1:] if alone else gradients
    keep = torch.arange(len(owner)) != one
    whole, _ = clipped_sum(gradients, owner, 3, clip)
    without, _ = clipped_sum([g[keep] for g in gradients], owner[keep], 3, clip)
    zeroed, _ = clipped_sum(
        [torch.where(keep.view(-1, *[1] * (g.ndim - 1)), g, 0.0) for g in gradients], owner, 3, clip
    )
    assert torch.isfinite(whole).all()
    moved = whole - without
    assert float(moved.norm()) <= clip
    assert not moved[torch.arange(3) != owner[one]].any(), "another client's row moved"
    torch.testing.assert_close(zeroed, without, rtol=0, atol=1e-12 * clip * len(owner))


@pytest.mark.parametrize("clip", [0.5, 10.0, 1e9, math.inf])
def test_clipping_scales_long_gradients_and_leaves_short_ones_alone(clip):
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(40, 3, generator=generator) * torch.logspace(-6, 6, 40)[:, None]
    gradient[7] = 0
    sums, norms = clipped_sum([gradient], torch.arange(40), 40, clip)
    expected = gradient.double().norm(dim=1)
    torch.testing.assert_close(norms, expected, rtol=1e-9, atol=0)
    limit = torch.where(expected > 0, clip / expected, 1.0).clamp(max=1.0)
    torch.testing.assert_close(sums, gradient.double() * limit[:, None], rtol=3e-6, atol=0)


def test_the_norm_is_taken_over_all_tensors_at_once():
    """3-4-5: each tensor alone is within C = 4.5, together they are not."""
    sums, norms = clipped_sum([torch.tensor([[3.0]]), torch.tensor([[4.0]])], torch.tensor([0]), 1, 4.5)
    assert float(norms) == pytest.approx(5.0)
    assert sums[0].tolist() == pytest.approx([2.7, 3.6], rel=2e-6)


def test_samples_add_up_in_their_own_clients_row():
    gradient = torch.tensor([[1.0, 0.0], [0.0, 2.0], [10.0, 0.0]])
    sums, _ = clipped_sum([gradient], torch.tensor([1, 0, 1]), 3, 5.0)
    torch.testing.assert_close(sums, torch.tensor([[0, 2.0], [6.0, 0], [0, 0]]).double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_non_finite_sample_contributes_nothing_and_its_norm_is_nan(bad):
    gradients = [torch.tensor([[bad, 1.0], [1.0, 1.0]]), torch.ones(2, 1)]
    sums, norms = clipped_sum(gradients, torch.tensor([0, 0]), 1, 10.0)
    assert sums[0].tolist() == [1.0, 1.0, 1.0]
    assert math.isnan(norms[0]) and float(norms[1]) == pytest.approx(math.sqrt(3))


def test_low_precision_gradients_are_clipped_in_float32():
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(200, 50, generator=generator).mul(100).bfloat16()
    sums, _ = clipped_sum([gradient], torch.arange(200), 200, 1.0)
    norms = sums.norm(dim=1)
    assert float(norms.max()) <= 1.0 and float(norms.min()) > 1 - 1e-5


def test_an_empty_batch_sums_to_zero():
    sums, norms = clipped_sum([torch.zeros(0, 3), torch.zeros(0, 2, 2)], torch.zeros(0, dtype=torch.long), 2, 1.0)
    assert sums.shape == (2, 7) and not sums.any() and norms.shape == (0,)


# ---- noise, through the step that a run makes -----------------------------------------------------------------


def wide_plan(samples: int, rate: float, sigma: float, seed: int = 0) -> tuple[Task, Plan, Engine, Adapter]:
    """One client whose active vector (B and head) has 100,404 numbers."""
    task = linear_task(samples=samples, inputs=4, width=1000, classes=100)
    settings = replace(FAST, epsilon=math.inf, clients=1, local_steps=1, clip_norm=0.5, seed=seed)
    plan = replace(make_plan(task, METHODS["ffa-lora"], settings, Ledger()), rates=(rate,), sigmas=(sigma,))
    return task, plan, Engine(task, 1.0), stack(plan.start, 1)


def released(samples: int, rate: float, sigma: float, seed: int = 0) -> Tensor:
    """A step's release, times its divisor."""
    task, plan, engine, local_stack = wide_plan(samples, rate, sigma, seed)
    kept: list[Tensor] = []
    active = local_stack.keys({"B"})
    private_step(plan, engine, task.train, local_stack, active, 1, 1, lambda c, t, k, v: kept.append(v))
    return kept[0] * plan.divisor(0)


# Row 3: std of 102,100 values, relative standard error .0022, so 1.5 % is 6.8 of them: p_f = 1e-11. Seed 0.
def test_noise_of_a_step_without_gradients_has_std_sigma_C_over_b():
    task, plan, engine, local_stack = wide_plan(samples=30, rate=1e-12, sigma=1.3)
    step = private_step(plan, engine, task.train, local_stack, local_stack.keys({"B"}), 1, 1)
    values = torch.cat([gradient.flatten() for gradient in step.gradients.values()]).double()
    assert len(values) > 100_000
    expected = 1.3 * 0.5 / (1e-12 * 30)
    assert float(values.std()) == pytest.approx(expected, rel=0.015)
    assert float(values.mean()) == pytest.approx(0, abs=6 * expected / math.sqrt(len(values)))


# Row 6: three stds, 1.5 % each: p_f = 3e-11. Seed 0.
@pytest.mark.parametrize(("samples", "rate"), [(30, 1e-12), (1, 1.0), (30, 1.0)], ids=["none", "one", "thirty"])
def test_noise_is_the_same_whatever_the_batch_holds(samples, rate):
    noise = released(samples, rate, sigma=1.3) - released(samples, rate, sigma=0.0)
    assert float(noise.std()) == pytest.approx(1.3 * 0.5, rel=0.015)
    signal = released(samples, rate, sigma=0.0)
    assert bool(signal.any()) == (rate == 1.0)


# Row 4: P[D > .019] at 20,000 is 1e-6 (Kolmogorov). Seed 4.
def test_noise_is_gaussian():
    noise = gaussian(20_000, 0.7, Streams.from_seed(4).generator("noise", 1, 2, 3))
    assert noise.dtype == torch.float64
    assert stats.kstest(noise.numpy(), stats.norm(0, 0.7).cdf).statistic < 0.019


# Row 5: 190 pairs, each ρ about N(0, 1/5000), beyond six standard deviations: p_f = 4e-7. Seed 5.
def test_noise_is_independent_across_clients_rounds_steps_and_tensors():
    streams = Streams.from_seed(5)
    places = [(c, t, k) for c in (0, 1, 2) for t in (1, 2) for k in (1, 2)][:10]
    rows = [gaussian(10_000, 1.0, streams.generator("noise", *place)) for place in places]
    vectors = torch.stack([half for row in rows for half in row.split(5000)])  # two tensors of one flat draw
    assert vectors.shape == (20, 5000)
    correlation = torch.corrcoef(vectors).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 6 / math.sqrt(5000)


def test_streams_are_keyed_by_everything_and_by_nothing_else():
    streams = Streams.from_seed(0)
    places = {
        (p, c, t, k) for p in ("noise", "sampling", "init") for c in (0, 1, 11) for t in (1, 11) for k in (1, 111)
    }
    drawn = {place: tuple(streams.generator(*place).random(3)) for place in places}
    assert len(set(drawn.values())) == len(places)
    again = {place: tuple(Streams.from_seed(0).generator(*place).random(3)) for place in sorted(places, reverse=True)}
    assert again == drawn
    assert tuple(Streams.from_seed(1).generator("noise", 0, 1, 1).random(3)) not in drawn.values()


def test_without_a_seed_the_secret_is_fresh_and_hidden():
    one, two = Streams.from_seed(None), Streams.from_seed(None)
    assert len(one.secret) == 32 and one.secret != two.secret
    assert one.secret.hex() not in repr(one) and repr(one.secret) not in repr(one)


# Row 7: each rate's standard error is √(q(1−q)/(n·2000)), beyond six: p_f = 2e-9. The variance of 2000 batch sizes
# has a relative standard error of .032, so 25 % is beyond seven: p_f = 1e-13. Seed 7.
@pytest.mark.parametrize(("samples", "rate"), [(60, 0.3), (200, 0.05), (50, 0.9)])
def test_draws_are_poisson(samples, rate):
    streams = Streams.from_seed(7)
    draws = [poisson_draw(samples, rate, streams.generator("sampling", 0, t, 1)) for t in range(2000)]
    sizes = np.array([len(draw) for draw in draws])
    error = math.sqrt(rate * (1 - rate) / (samples * 2000))
    assert abs(sizes.mean() / samples - rate) < 6 * error
    assert sizes.var() == pytest.approx(samples * rate * (1 - rate), rel=0.25)
    counts = np.bincount(torch.cat(draws).numpy(), minlength=samples) / 2000  # each sample as often as the next
    assert np.abs(counts - rate).max() < 6 * math.sqrt(rate * (1 - rate) / 2000)
    assert all(len(torch.unique(draw)) == len(draw) for draw in draws)


def test_rate_one_draws_everybody_and_a_tiny_rate_nobody():
    generator = Streams.from_seed(0).generator("sampling")
    assert poisson_draw(9, 1.0, generator).tolist() == list(range(9))
    assert poisson_draw(9, 1e-15, generator).tolist() == []


# Row 8, exact: an empty draw is noised like any other (its ledger line is tested with the ledger).
def test_an_empty_draw_is_released_as_pure_noise():
    task, plan, engine, local_stack = wide_plan(samples=30, rate=1e-12, sigma=2.0)
    seen: list[Tensor] = []
    private_step(
        plan, engine, task.train, local_stack, local_stack.keys({"B"}), 1, 1, lambda c, t, k, v: seen.append(v)
    )
    expected = gaussian(len(seen[0]), 2.0 * 0.5, plan.streams.generator("noise", 0, 1, 1)) / plan.divisor(0)
    assert torch.equal(seen[0], expected)


# Row 9: chunks and order at 1e-6, relative to the norm of the sum.
@pytest.mark.parametrize("chunk", [1, 3, 7, None])
def test_chunks_and_order_do_not_move_the_clipped_sums(chunk):
    task = linear_task()
    plan = make_plan(task, METHODS["dp-lora"], replace(FAST, epsilon=math.inf, sample_rate=0.6), Ledger())
    local_stack = stack(plan.start, 4)
    active = local_stack.keys({"A", "B"})

    def releases(plan: Plan, engine: Engine) -> dict[int, Tensor]:
        seen: dict[int, Tensor] = {}
        private_step(plan, engine, task.train, local_stack, active, 1, 1, lambda c, t, k, v: seen.__setitem__(c, v))
        return seen

    whole = releases(plan, Engine(task, 1.0))
    turned = replace(plan, schedule=tuple(clients[::-1] for clients in plan.schedule))
    other = releases(turned, Engine(task, 1.0, max_samples=chunk))
    assert list(other) == list(whole)[::-1]
    for client, value in whole.items():
        assert float((other[client] - value).norm() / value.norm()) < 1e-6


# Rows 17 and 19: each private sample goes once through the engine a step, and the draw is Poisson's: there is no
# shuffled or fixed-size batch to choose, no per-tensor clip, and no second pass.
def test_a_step_reads_the_data_once_and_only_the_drawn_rows(monkeypatch):
    task = linear_task()
    plan = make_plan(task, METHODS["dp-lora"], replace(FAST, epsilon=math.inf), Ledger())
    engine, local_stack = Engine(task, 1.0, max_samples=4), stack(plan.start, 4)
    read: list[Tensor] = []
    plain = Engine.scores
    monkeypatch.setattr(
        Engine, "scores", lambda self, tensors, batch: read.append(batch["x"]) or plain(self, tensors, batch)
    )
    drawn: list[Tensor] = []
    draw = local.poisson_draw
    monkeypatch.setattr(local, "poisson_draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    private_step(plan, engine, task.train, local_stack, local_stack.keys({"A", "B"}), 1, 1)
    rows = torch.cat([torch.from_numpy(plan.shards[c])[drawn[c]] for c in range(4)])
    assert torch.equal(torch.cat(read), task.train.inputs["x"][rows])
    assert len(torch.unique(rows)) == len(rows)
