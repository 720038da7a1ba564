"""Clipping without copies against its oracles: one sample at a time, and `clipped_sum` of a copy for each sample."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lalora_kit import local
from lalora_kit.base import layers
from lalora_kit.base.layers import Adapted, Merged, mergeable
from lalora_kit.base.rows import Gradient, Layout
from lalora_kit.engine import memory
from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.memory import bytes_per_sample, copies_cost
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.privacy import byclient, clipped_sum
from lalora_kit.privacy.byclient import clipped, clipped_by_client
from lalora_kit.tasks import Split, Task
from tests.engine.test_persample import FACTORS, oracle
from tests.engine.test_persample import adapters as adapters_of
from tests.engine.test_persample import task as small
from tests.privacy.test_mechanism import SPECIAL
from tests.tiny import ARCHITECTURES, FAST, distance, linear_task, random_adapter, stacked, task_of

CPU, SCALE, CLIENTS, SAMPLES = torch.device("cpu"), 0.7, 3, 5


class Together(Layout):
    """The layout of other devices, where one product serves all clients."""

    def __init__(self, owner: Tensor, groups: int, device: torch.device) -> None:
        super().__init__(owner, groups, device)
        self.sizes = None


@pytest.fixture(params=["in turn", "merged", "together"])
def layout(request, monkeypatch):
    monkeypatch.setattr(byclient, "Layout", Together if request.param == "together" else Layout)
    monkeypatch.setattr(layers, "ROWS", 0 if request.param == "merged" else math.inf)
    return request.param


@cache
def engine(architecture: str, dtype: torch.dtype = torch.float64, precision: str = "fp32") -> Engine:
    return Engine(small(architecture), SCALE, dtype=dtype, precision=precision)


def by_client(machine: Engine, stack: Adapter, kind: str, batch: Split, owner: Tensor, clip: float, chunk=None):
    """Sums over the chunks, and the norms as they come."""
    machine.max_samples = chunk
    width = stack.size(FACTORS[kind]) // CLIENTS
    sums, norms = torch.zeros(CLIENTS, width, dtype=torch.float64), []
    active = stack.keys(FACTORS[kind])
    for part, lengths in clipped_by_client(machine, stack, active, batch.inputs, batch.labels, owner, clip):
        sums += part
        norms.extend(lengths.tolist())
    return sums, norms


def double(batch: Split) -> Split:
    return Split({n: v.double() if v.is_floating_point() else v for n, v in batch.inputs.items()}, batch.labels)


def check_against_the_loop(architecture: str, kind: str, mix: list[tuple[int, int]], chunk: int | None) -> None:
    """Sums and norms are those of one backward pass a sample, in float64."""
    stack = stacked(list(adapters_of(architecture))).map(Tensor.double)
    batch = double(small(architecture).train.select(torch.tensor([index for _, index in mix], dtype=torch.long)))
    owner = torch.tensor([client for client, _ in mix], dtype=torch.long)
    rows = [
        torch.cat([oracle(architecture, client, index)[key].flatten() for key in stack.keys(FACTORS[kind])])
        for client, index in mix
    ]
    clip = sorted(float(row.norm()) for row in rows)[len(rows) // 2] if rows else 1.0  # some are clipped, some not
    sums, norms = by_client(engine(architecture), stack, kind, batch, owner, clip, chunk)
    expected = torch.zeros_like(sums)
    for (client, _), row in zip(mix, rows, strict=True):
        expected[client] += row * min(1.0, clip * (1 - 1e-6) / float(row.norm()))
    assert float((sums - expected).norm()) <= 1e-10 * float(expected.norm())
    np.testing.assert_allclose(sorted(norms), sorted(float(row.norm()) for row in rows), rtol=1e-10)


@pytest.mark.parametrize("kind", sorted(FACTORS))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sums_and_norms_equal_a_loop_over_single_samples(architecture, kind, layout):
    everyone = [(client, index) for index in range(SAMPLES) for client in range(CLIENTS)]
    check_against_the_loop(architecture, kind, everyone, None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=10)
@given(
    mix=st.lists(st.tuples(st.integers(0, CLIENTS - 1), st.integers(0, SAMPLES - 1)), max_size=9),
    chunk=st.sampled_from([None, 1, 2, 5]),
    kind=st.sampled_from(sorted(FACTORS)),
    rows=st.sampled_from([0, math.inf]),
)
def test_any_ragged_mix_of_clients_in_any_order_and_chunk(architecture, mix, chunk, kind, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "ROWS", rows)
        check_against_the_loop(architecture, kind, mix, chunk)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sums_are_those_of_a_copy_for_each_sample_but_for_rounding(architecture, precision, layout):
    stack = stacked(list(adapters_of(architecture)))
    batch, owner = small(architecture).train.select(torch.arange(7)), torch.tensor([2, 0, 1, 1, 2, 0, 2])
    machine = engine(architecture, torch.float32, precision)
    sums, norms = by_client(machine, stack, "both", batch, owner, 0.5)
    [(part, gradients)] = machine.gradients(stack, stack.keys("AB"), batch.inputs, batch.labels, owner)
    expected, lengths = clipped_sum(gradients, part, CLIENTS, 0.5)
    worst = {"fp32": 1e-5, "bf16": 0.05}[precision]  # bf16 keeps three digits
    assert float((sums - expected).norm()) <= worst * float(expected.norm())
    np.testing.assert_allclose(sorted(norms), sorted(lengths.tolist()), rtol=worst)


def test_the_comparison_can_fail():
    stack = stacked(list(adapters_of("swin"))).map(Tensor.double)
    batch, owner = double(small("swin").train.select(torch.arange(3))), torch.tensor([0, 1, 1])
    wrong = Engine(small("swin"), SCALE * 1.01, dtype=torch.float64)
    right, slipped = (by_client(e, stack, "B", batch, owner, math.inf)[0] for e in (engine("swin"), wrong))
    assert float((right - slipped).norm()) > 1e-3 * float(right.norm())


def test_no_gradient_mode_and_no_tensor_of_the_caller_is_touched():
    stack = stacked(list(adapters_of("vit"))).map(Tensor.double)
    batch = double(small("vit").train.select(torch.arange(2)))
    with torch.no_grad():
        walk = clipped_by_client(
            engine("vit"), stack, stack.keys("AB"), batch.inputs, batch.labels, torch.tensor([1, 0]), 1.0
        )
        next(walk)
        assert not torch.is_grad_enabled()
        walk.close()
    assert not any(value.requires_grad for value in stack.tensors.values())


class Repeated(nn.Module):
    """A layer that is called twice, and changes made in place to what layers give."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu_(self.body(torch.relu_(self.body(x)))).clone())


@pytest.mark.parametrize("kind", sorted(FACTORS))
def test_a_layer_that_is_called_twice_adds_up(kind, layout):
    torch.manual_seed(0)
    made = linear_task()
    made = Task("made", Repeated(), ("body",), "head", made.train, made.test, made.classes)
    stack = stacked([random_adapter(made, 2, SCALE, seed) for seed in range(CLIENTS)]).map(Tensor.double)
    batch, owner = double(made.train.select(torch.arange(6))), torch.tensor([0, 2, 1, 1, 2, 0])
    machine = Engine(made, SCALE, dtype=torch.float64)
    [(part, gradients)] = machine.gradients(stack, stack.keys(FACTORS[kind]), batch.inputs, batch.labels, owner)
    expected, _ = clipped_sum(gradients, part, CLIENTS, 0.3)
    torch.testing.assert_close(by_client(machine, stack, kind, batch, owner, 0.3)[0], expected, rtol=1e-10, atol=1e-14)


def test_a_frozen_layer_with_hooks_is_undone_by_torch(layout):
    """What a hook does to a layer, no formula of the kit's knows."""
    torch.manual_seed(0)
    made, seen = linear_task(), []
    backbone = Repeated()
    backbone.body.register_forward_hook(lambda layer, given, y: seen.append(1) or y * given[0].sin())
    made = Task("made", backbone, ("body",), "head", made.train, made.test, made.classes)
    stack = stacked([random_adapter(made, 2, SCALE, seed) for seed in range(CLIENTS)]).map(Tensor.double)
    batch, owner = double(made.train.select(torch.arange(6))), torch.tensor([0, 2, 1, 1, 2, 0])
    machine = Engine(made, SCALE, dtype=torch.float64)
    [(part, gradients)] = machine.gradients(stack, stack.keys("AB"), batch.inputs, batch.labels, owner)
    expected, _ = clipped_sum(gradients, part, CLIENTS, 0.3)
    found = by_client(machine, stack, "both", batch, owner, 0.3)[0]
    assert len(seen) == 4, "twice a pass"
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("samples", "merges"), [(10, False), (30, True)])
def test_a_layer_is_merged_from_twice_as_many_rows_a_client_as_it_is_wide(samples, merges, monkeypatch):
    """Layers of 6 and 5, three clients: 30 rows, so with fewer samples the narrow way is taken."""
    made = linear_task(samples=samples)
    stack = stacked([random_adapter(made, 2, SCALE, seed) for seed in range(CLIENTS)])
    ways = []
    for way in (Merged, Adapted):
        monkeypatch.setattr(way, "apply", lambda *given, way=way, apply=way.apply: ways.append(way) or apply(*given))
    owner = torch.arange(samples) % CLIENTS
    by_client(Engine(made, SCALE), stack, "both", made.train.select(torch.arange(samples)), owner, 0.3)
    assert ways and set(ways) == {Merged if merges else Adapted}


def test_only_a_layer_as_torch_wrote_it_is_merged_and_only_in_full_precision():
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sin()

    x, A, hooked = torch.randn(3, 4), torch.randn(2, 4), nn.Linear(4, 5)
    hooked.register_forward_hook(lambda layer, given, y: y)
    assert mergeable(x, nn.Linear(4, 5), A)
    assert not any(mergeable(x, frozen, A) for frozen in (Own(4, 5), hooked))
    assert not any(mergeable(y, nn.Linear(4, 5), B) for y, B in [(x.double(), A), (x, A.double())])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not mergeable(x, nn.Linear(4, 5), A), "W0 in bf16 has three digits, and a small B·A none in it"


# ---- sensitivity ----------------------------------------------------------------------------------------------


def wild(random: np.random.Generator, *shape: int) -> Tensor:
    """Any 32 bits as numbers, or numbers of one size between 1e-30 and 1e30, some values special."""
    values = np.frombuffer(random.bytes(4 * math.prod(shape)), dtype=np.float32).reshape(shape).copy()
    if random.random() < 0.6:
        values = (random.standard_normal(shape) * 10.0 ** random.integers(-30, 31)).astype(np.float32)
    places = random.random(shape) < random.choice([0.0, 0.0, 0.2])
    values[places] = random.choice(SPECIAL, size=int(places.sum()))
    return torch.from_numpy(values)


@settings(max_examples=500)
@given(
    seed=st.integers(0, 2**32), clip=st.sampled_from([1e-3, 1.0, 7.3, 1e6]), kind=st.sampled_from([Layout, Together])
)
def test_one_sample_moves_the_sum_by_at_most_C_whatever_its_sides_hold(seed, clip, kind):
    random = np.random.default_rng(seed)
    samples, a, b, d = random.integers(1, 7, size=4)
    owner = torch.from_numpy(np.sort(random.integers(0, 3, size=samples)))
    gradients = [
        Gradient(wild(random, samples, d)),
        Gradient(wild(random, samples, a), wild(random, samples, b)),
    ]
    one = int(random.integers(samples))
    keep = torch.arange(samples) != one
    fewer = [Gradient(g.left[keep], None if g.right is None else g.right[keep]) for g in gradients]
    whole, norms = clipped(gradients, kind(owner, 3, CPU), clip)
    without, _ = clipped(fewer, kind(owner[keep], 3, CPU), clip)
    assert torch.isfinite(whole).all()
    assert float((whole - without).norm()) <= clip
    assert not (whole - without)[torch.arange(3) != owner[one]].any(), "another client's row moved"
    outer = gradients[1].left.double().unsqueeze(2) * gradients[1].right.double().unsqueeze(1)
    expected, lengths = clipped_sum([gradients[0].left, outer], owner, 3, clip)
    torch.testing.assert_close(whole, expected, rtol=1e-12, atol=1e-12 * clip)
    torch.testing.assert_close(norms, lengths, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("big", [1e30, 1e-30, 3e38, 1e-45])
def test_sides_of_any_size_are_clipped_in_float64(big):
    sums, norms = clipped(
        [Gradient(torch.full((1, 2), big), torch.full((1, 3), big))], Layout(torch.tensor([0]), 1, CPU), 1e-100
    )
    size = float(torch.tensor(big)) ** 2 * math.sqrt(6)
    assert float(norms) == pytest.approx(size, rel=1e-12)
    assert float(sums.norm()) == pytest.approx(min(size, 1e-100), rel=2e-6) and float(sums.norm()) <= 1e-100


@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
@pytest.mark.parametrize("architecture", ["swin", "vit"])
def test_a_bad_sample_leaves_the_others_as_they_were(architecture, bad, layout):
    """Its picture is not finite, or overflows on the way: its clients' other samples are summed as if alone."""
    stack = stacked(list(adapters_of(architecture)))
    batch, owner = small(architecture).train.select(torch.arange(6)), torch.tensor([0, 1, 1, 0, 2, 1])
    batch.inputs["x"][2] = bad
    machine, others = engine(architecture, torch.float32), torch.tensor([0, 1, 3, 4, 5])
    sums, norms = by_client(machine, stack, "both", batch, owner, 0.5)
    alone, _ = by_client(machine, stack, "both", batch.select(others), owner[others], 0.5)
    moved = (sums - alone).norm(dim=1)
    assert torch.isfinite(sums).all() and float(moved.max()) <= 1e-5
    assert sum(map(math.isnan, norms)) == 1


# ---- in a run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["linear", "swin", "roberta"])
def test_a_run_is_the_same_either_way_but_for_rounding(architecture, monkeypatch):
    made = task_of(architecture)
    run = replace(FAST, learning_rate=0.05, head_learning_rate=0.05)
    monkeypatch.setattr(local, "copies_cost", lambda *given: False)
    copies = list(federated_rounds(made, METHODS["dp-lora"], run))
    calls = []
    monkeypatch.setattr(local, "copies_cost", lambda *given: True)
    monkeypatch.setattr(local, "clipped_sum", lambda *given: pytest.fail("a copy was made for each sample"))
    monkeypatch.setattr(byclient, "clipped", lambda *given: calls.append(1) or clipped(*given))
    without = list(federated_rounds(made, METHODS["dp-lora"], run))
    assert calls and distance(without[-1].adapter, copies[-1].adapter) < 1e-4
    assert without[-1].epsilon == copies[-1].epsilon


def test_the_rule_goes_by_rank_and_size_and_memory_knows_it(monkeypatch):
    made = linear_task(inputs=40, width=40)
    low, high = (random_adapter(made, rank, 1.0, seed=0) for rank in (16, 17))
    wide = linear_task(inputs=9000, width=9000, samples=2)
    assert [copies_cost(low), copies_cost(high), copies_cost(random_adapter(wide, 16, 1.0, 0))] == [False, True, True]
    assert [copies_cost(low, drawn) for drawn in (0, 15.9, 16, 400)] == [False, False, True, True]
    assert not copies_cost(low, 400, "cuda")
    with_copies = bytes_per_sample(made, low)
    monkeypatch.setattr(memory, "copies_cost", lambda *given: True)
    assert with_copies - bytes_per_sample(made, low) == 4 * sum(value.numel() for value in low.tensors.values())
