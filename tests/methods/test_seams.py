"""What the next methods need, tried from a file of one's own: what layers read, and the boundary between tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds, make_plan
from lalora_kit.methods import METHODS, find_method
from lalora_kit.methods.personal import models
from lalora_kit.methods.wrappers import after
from lalora_kit.privacy import Ledger, clipped_sum
from lalora_kit.runs.adapterfile import load_adapter
from lalora_kit.runs.checkpoint import save_rounds
from tests.tiny import FAST, identical, linear_task

TASK = linear_task()
OTHER = replace(TASK, train=replace(TASK.train, labels=TASK.train.labels.flip(0)))  # the next task
QUIET = replace(FAST, epsilon=float("inf"))
#: Gates as in BeamLoRA (arXiv 2502.13604): B·diag(p)·A with p = r·softmax(g), and g trains beside the factors.
GATES = """
from dataclasses import replace
import torch
from lalora_kit.methods import METHODS

ALL = frozenset({"A", "B", "extra"})

def all_of_it(round, step):
    return ALL

def with_gates(adapter, backbone, generator):
    return adapter.with_tensors({("extra", name): torch.zeros(len(A)) for name, A in adapter.of("A").items()})

def gated(tensors):
    read = {key: value for key, value in tensors.items() if key[0] != "extra"}
    for (kind, name), gates in tensors.items():
        if kind == "extra":
            p = gates.shape[-1] * torch.softmax(gates, -1)
            read["B", name] = tensors["B", name] * p[..., None, :]
    return read

GATED = replace(METHODS["dp-lora"], name="gated", trains=all_of_it, begins=with_gates, reads=gated)
"""
#: A bank of past directions with trained weights, as in SD-LoRA (arXiv 2501.13198): W0 + s·(B·A + a·B_past·A_past).
BANK = """
from dataclasses import replace
import torch
from lalora_kit.methods import METHODS

ALL = frozenset({"A", "B", "extra"})

def all_of_it(round, step):
    return ALL

def with_bank(adapter, backbone, generator):
    bank = {("past " + kind, name): torch.zeros_like(v) for (kind, name), v in adapter.tensors.items() if kind in "AB"}
    return adapter.with_tensors({**bank, **{("extra", name): torch.ones(1) for name in adapter.of("A")}})

def summed(tensors):
    read = {key: value for key, value in tensors.items() if key[0] in ("A", "B", "head")}
    for name in [name for kind, name in tensors if kind == "extra"]:
        weight, A, B = tensors["extra", name], tensors["A", name], tensors["B", name]
        past_A = tensors["past A", name].expand_as(A)
        past_B = tensors["past B", name].expand_as(B) * weight[..., None]
        read["A", name], read["B", name] = torch.cat([A, past_A], -2), torch.cat([B, past_B], -1)
    return read

def frozen(fresh, before):
    past = {("past " + kind, name): v for (kind, name), v in before.tensors.items() if kind in ("A", "B")}
    return fresh.with_tensors({**past, **{("head", name): v for name, v in before.of("head").items()}})

BANKED = replace(
    METHODS["dp-lora"], name="banked", trains=all_of_it, begins=with_bank, reads=summed, crosses=frozen
)
"""


@pytest.fixture
def mine(tmp_path):
    def found(text, name):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return find_method(f"{path}:{name}")

    return found


@pytest.mark.parametrize(("text", "name"), [(GATES, "GATED"), (BANK, "BANKED")])
def test_a_method_that_reads_is_trained_charged_saved_and_goes_on(text, name, mine, tmp_path):
    method, settings = mine(text, name), FAST
    whole = list(federated_rounds(TASK, method, settings, ledger=(ledger := Ledger())))
    walk = save_rounds(TASK, method, settings, tmp_path / "run")
    first = next(walk)
    walk.close()
    [last] = save_rounds(TASK, method, settings, tmp_path / "run", resume=True)
    assert identical(whole[0].adapter, first.adapter) and identical(whole[1].adapter, last.adapter)
    plain = Ledger()
    assert whole[-1].epsilon == list(federated_rounds(TASK, METHODS["dp-lora"], settings, ledger=plain))[-1].epsilon
    assert len(plain) == len(ledger)
    begun = make_plan(TASK, method, settings, Ledger()).start.tensors["extra", "body"]
    assert not torch.equal(last.adapter.tensors["extra", "body"], begun)
    [model], saved = models(method, last.adapter).values(), load_adapter(tmp_path / "run" / "adapter", TASK)
    one, two = (Engine(TASK, m.scale).predict(m, TASK.test.inputs) for m in (model, saved))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert last.accuracy == float((one.argmax(1) == TASK.test.labels).double().mean())


def test_gates_at_one_are_dp_lora_until_they_move(mine):
    """At g = 0 every p is 1: the factors' gradients are DP-LoRA's, and a gate's is what differences of the loss say."""
    method = mine(GATES, "GATED")
    dp_lora = list(federated_rounds(TASK, METHODS["dp-lora"], QUIET))[-1].adapter.map(torch.Tensor.double)
    start = method.begins(dp_lora, TASK.backbone, None).map(torch.Tensor.double)
    engine = Engine(TASK, start.scale, dtype=torch.float64, reads=method.reads)
    engine.prepare = lambda batch: {name: value.double() for name, value in batch.items()}
    stack, owner = start.map(lambda value: value[None]), torch.zeros(len(TASK.train), dtype=torch.long)
    given = TASK.train.inputs, TASK.train.labels, owner
    [(_, found)] = engine.gradients(stack, start.keys("AB"), *given)
    bare = Engine(TASK, start.scale, dtype=torch.float64)
    bare.prepare = engine.prepare
    [(_, plain)] = bare.gradients(dp_lora.map(lambda value: value[None]), start.keys("AB"), *given)
    for one, two in zip(found, plain, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    [(_, parts)] = engine.gradients(stack, start.keys({"extra"}), *given)
    gates = parts[start.keys({"extra"}).index(("extra", "body"))].sum(0)

    def loss(moved):
        [model] = models(method, start.with_tensors({("extra", "body"): moved})).values()
        with torch.no_grad():
            scores = bare.scores(dict(model.tensors), bare.batch(TASK.train.inputs, torch.arange(len(TASK.train))))
        return torch.nn.functional.cross_entropy(scores, TASK.train.labels, reduction="sum")

    for place in range(len(gates)):
        small = torch.zeros_like(gates)
        small[place] = 1e-5
        assert float(gates[place]) == pytest.approx(float(loss(small) - loss(-small)) / 2e-5, rel=1e-6, abs=1e-9)
    sums, norms = clipped_sum(parts, owner, 1, 0.5)
    assert float(sums.norm()) <= 0.5 * len(owner) and norms.max() > 0, "gates are in the clipped vector"


def test_what_layers_read_is_part_of_what_a_run_is(mine):
    gated = mine(GATES, "GATED")
    plain = replace(gated, reads=METHODS["dp-lora"].reads)
    one, two = (make_plan(TASK, method, FAST, Ledger()) for method in (gated, plain))
    assert one.run != two.run and "hook.reads" in one.identity and "hook.reads" not in two.identity


def test_a_task_begins_where_the_one_before_ended_if_the_method_says_so(mine):
    """The function is the same on both sides of the boundary, the past stands to the bit, and its weight trains."""
    method = mine(BANK, "BANKED")
    last = list(federated_rounds(TASK, method, FAST))[-1].adapter
    following = after(method, last)
    start = make_plan(OTHER, following, FAST, Ledger()).start
    [one], [two] = models(method, last).values(), models(following, start).values()
    scores = [Engine(TASK, m.scale).predict(m, TASK.test.inputs) for m in (one, two)]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-6)
    end = list(federated_rounds(OTHER, following, FAST))[-1].adapter
    for kind in "AB":
        assert torch.equal(end.tensors[f"past {kind}", "body"], last.tensors[kind, "body"])
    assert end.tensors["extra", "body"] != 1 and end.tensors["B", "body"].any()


def test_by_default_nothing_crosses_and_another_past_is_another_run(mine):
    last = list(federated_rounds(TASK, METHODS["dp-lora"], FAST))[-1].adapter
    one = make_plan(OTHER, METHODS["dp-lora"], FAST, Ledger())
    two = make_plan(OTHER, after(METHODS["dp-lora"], last), FAST, Ledger())
    assert identical(one.start, two.start)
    banked = mine(BANK, "BANKED")
    ends = [list(federated_rounds(TASK, banked, replace(FAST, seed=seed)))[-1].adapter for seed in (0, 1)]
    runs = {make_plan(OTHER, after(banked, end), FAST, Ledger()).run for end in (*ends, ends[0])}
    assert len(runs) == 2, "equal pasts are one run, and its noise one noise; others have noise of their own"


def test_a_run_after_another_goes_on_from_its_folder(mine, tmp_path):
    method = mine(BANK, "BANKED")
    last = list(federated_rounds(TASK, method, FAST))[-1].adapter
    following = after(method, last)
    whole = list(federated_rounds(OTHER, following, FAST))
    walk = save_rounds(OTHER, following, FAST, tmp_path / "second")
    next(walk)
    walk.close()
    [end] = save_rounds(OTHER, after(method, last), FAST, tmp_path / "second", resume=True)
    assert identical(end.adapter, whole[-1].adapter)
