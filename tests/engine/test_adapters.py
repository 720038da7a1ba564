"""Adapters: their algebra, and that plain PEFT on a plain backbone reads what is saved, with the same predictions."""

from __future__ import annotations

import copy
import json
import math

import peft
import pytest
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average, create, stack, unstack
from lalora_kit.engine.persample import Engine
from lalora_kit.methods.gap import aggregation_gap
from lalora_kit.privacy import Streams
from lalora_kit.runs import adapterfile
from lalora_kit.tasks import logits
from tests.tiny import ARCHITECTURES, identical, linear_task, random_adapter, swin_task, task_of

TASK = linear_task()


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_peft_reads_a_saved_adapter_and_predicts_the_same(architecture, scale, tmp_path):
    task = task_of(architecture)
    adapter = random_adapter(task, 3, scale, seed=1)
    before = {name: value.clone() for name, value in task.backbone.state_dict().items()}
    adapterfile.save(adapter, tmp_path, task)
    assert all(torch.equal(value, before[name]) for name, value in task.backbone.state_dict().items())

    plain = copy.deepcopy(task.backbone)
    with torch.no_grad():  # the head, too, comes from the file
        for value in plain.get_submodule(task.head).parameters():
            value.zero_()
    loaded = peft.PeftModel.from_pretrained(plain, str(tmp_path)).eval()
    with torch.no_grad():
        theirs = logits(loaded, task.test.inputs)
    ours = Engine(task, scale).predict(adapter, task.test.inputs)
    assert float((theirs - ours).abs().max()) <= 1e-5 * max(1.0, float(ours.abs().max()))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["r"] == 3 and config["lora_alpha"] == pytest.approx(3 * scale)
    assert {path.name for path in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    # A different adapter does not predict the same: the comparison can fail.
    other = Engine(task, scale).predict(random_adapter(task, 3, scale, seed=2), task.test.inputs)
    assert float((theirs - other).abs().max()) > 1e-3


def test_a_fresh_adapter_is_the_backbone_itself():
    task = swin_task()
    fresh = create(task.backbone, task.targets, task.head, 2, 1.0, Streams.from_seed(0).generator("init"))
    with torch.no_grad():
        plain = logits(task.backbone, task.test.inputs)
    torch.testing.assert_close(Engine(task, 1.0).predict(fresh, task.test.inputs), plain)
    assert all(not value.any() for value in fresh.of("B").values())
    assert {key for kind, key in fresh.tensors if kind == "head"} == {"weight", "bias"}


def test_a_fresh_A_has_entries_of_variance_one_over_three_n():
    """By PEFT's own draw, kaiming_uniform_(a=√5): uniform within 1/√n. Seed 0; 40,000 values, 2 %: p_f < 1e-8."""
    task = linear_task(inputs=400, width=120)
    fresh = create(task.backbone, task.targets, task.head, 100, 1.0, Streams.from_seed(0).generator("init"))
    A = fresh.of("A")["body"]
    assert float(A.abs().max()) <= 1 / math.sqrt(400)
    assert float(A.var()) == pytest.approx(1 / (3 * 400), rel=0.02)


def test_keys_come_in_one_order_and_the_head_always_trains():
    adapter = random_adapter(swin_task(), 2, 1.0, 0)
    assert {kind for kind, _ in adapter.keys(set())} == {"head"}
    assert {kind for kind, _ in adapter.keys({"B"})} == {"B", "head"}
    shuffled = Adapter(dict(reversed(adapter.tensors.items())), 1.0)
    assert shuffled.keys({"A", "B"}) == adapter.keys({"A", "B"}) == sorted(adapter.tensors)
    assert adapter.size({"A", "B"}) == sum(value.numel() for value in adapter.tensors.values())
    assert adapter.size({"A"}) + adapter.size({"B"}) - adapter.size(set()) == adapter.size({"A", "B"})


def test_stack_and_unstack_are_inverse_and_share_nothing_with_the_original():
    adapter = random_adapter(TASK, 2, 1.0, 0)
    stacked = stack(adapter, 3)
    assert all(identical(each, adapter) for each in unstack(stacked, 3))
    next(iter(stacked.tensors.values())).zero_()
    assert all(value.any() for value in adapter.tensors.values())


def test_products_are_s_times_B_times_A():
    adapter = random_adapter(TASK, 2, 0.25, 0)
    torch.testing.assert_close(adapter.products()["body"], 0.25 * adapter.of("B")["body"] @ adapter.of("A")["body"])


def test_the_mean_is_weighted_and_exact_in_float64():
    one, two = (Adapter({("B", "x"): torch.full((2, 1), value)}, 1.0) for value in (1.0, 2.0**-23))
    mean = average(one, [one, two, two], [0.5, 0.25, 0.25], frozenset("B"))
    assert torch.equal(mean.of("B")["x"], torch.full((2, 1), 0.5 + 2.0**-24))


def gap_by_hand(clients: list[Adapter], weights: list[float]) -> float:
    """By forming every m×n product."""
    lost = total = 0.0
    for name in clients[0].of("A"):
        A = [c.of("A")[name].double() for c in clients]
        B = [c.of("B")[name].double() for c in clients]
        exact = sum(w * b @ a for w, a, b in zip(weights, A, B, strict=True))
        means = sum(w * b for w, b in zip(weights, B, strict=True)) @ sum(
            w * a for w, a in zip(weights, A, strict=True)
        )
        lost, total = lost + float((exact - means).square().sum()), total + float(exact.square().sum())
    return math.sqrt(lost / total)


def test_the_aggregation_gap_is_what_averaging_factors_loses():
    task, weights = swin_task(), [0.5, 0.3, 0.2]
    clients = [random_adapter(task, 3, 0.7, seed) for seed in range(3)]
    assert aggregation_gap(clients, weights) == pytest.approx(gap_by_hand(clients, weights), rel=1e-9)
    assert aggregation_gap(clients[:1], [1.0]) == 0.0


@pytest.mark.parametrize("shared", ["A", "B"])
def test_the_gap_is_exactly_zero_where_one_factor_is_shared(shared):
    first = random_adapter(TASK, 3, 1.0, 0)
    clients = [
        random_adapter(TASK, 3, 1.0, seed).with_tensors({(shared, name): v for name, v in first.of(shared).items()})
        for seed in range(5)
    ]
    assert aggregation_gap(clients, [0.1, 0.2, 0.3, 0.15, 0.25]) == 0.0


def test_the_gap_is_nan_while_every_product_is_zero():
    zero = random_adapter(TASK, 2, 1.0, 0).map(Tensor.zero_)
    assert math.isnan(aggregation_gap([zero, zero], [0.5, 0.5]))
