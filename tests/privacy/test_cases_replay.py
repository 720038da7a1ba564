"""What a replay is: P4 (it is recognised by what is computed) and P15 (who holds what, by content)."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import types
import warnings
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import average
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.methods.method import Method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.tasks import Task
from tests.tiny import FAST, TwoLayers, linear_task

LA_LORA = METHODS["la-lora"]
ROOT = Path(__file__).resolve().parents[2]


# ---- P4: a replay is recognised by what was computed --------------------------------------------------------------


def check_fresh(one: Task, other: Task, method: Method = LA_LORA, second: Method = LA_LORA) -> str:
    """Round 2 is released and lost; gone on with from round 1 with something else, it is refused, or fresh and charged.

    And with the same things it is the same run: a replay, with the same noise, that nobody is charged for.
    """
    ledger, free = Ledger(), replace(FAST, epsilon=math.inf, rounds=3)
    walk = federated_rounds(one, method, free, ledger=ledger)
    first, _ = next(walk), next(walk)
    [run] = {release.run for release in make_plan(one, method, free, Ledger()).releases(2, 0)}
    same = make_plan(one, method, free, ledger, first.state)
    assert same.run == run and same.releases(2, 0)[0] in ledger
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            plan = make_plan(other, second, free, ledger, first.state)
        except ValueError as error:
            assert "belongs to another run" in str(error)
            return "refused"
    assert not any(release in ledger for c in range(4) for release in plan.releases(2, c))
    assert plan.streams.secret != same.streams.secret
    assert "fresh noise and are charged" in str(told[0].message)
    return "fresh"


class Bent(TwoLayers):
    """Two layers with another function between them: equal weights, another model."""

    bend = 1.0

    def __init__(self, *sizes: int, act: object = torch.tanh) -> None:
        super().__init__(*sizes)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bend * self.act(self.body(x)))


def bent(act: object = torch.tanh, prepare: object = None) -> Task:
    plain = linear_task()
    model = Bent(6, 5, 3, act=act)
    model.load_state_dict(plain.backbone.state_dict())
    return replace(plain, backbone=model, prepare=prepare)


def times(factor: float):
    return lambda inputs: {"x": factor * inputs["x"]}


class Scale:
    """A `prepare` with state."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": self.factor * inputs["x"]}

    def apply(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return self(inputs)


def scaled(inputs: dict[str, Tensor], factor: float = 1.0) -> dict[str, Tensor]:
    return {"x": factor * inputs["x"]}


def half_tanh(x: Tensor) -> Tensor:
    """Forward as tanh, backward another: only gradients tell."""
    return OtherWay.apply(x)


class OtherWay(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def only_far_out(x: Tensor) -> Tensor:
    """tanh wherever the probe looks, something else for the loudest samples."""
    return torch.where(x.abs().amax(1, keepdim=True) > 3.0, torch.relu(x), torch.tanh(x))


def hooked(hook: object) -> Task:
    task = bent()
    task.backbone.register_forward_hook(hook)
    return task


def doubled_far_out(module: nn.Module, given: object, scores: Tensor) -> Tensor:
    return torch.where(scores.abs() > 1e9, 2 * scores, scores)


def of_class(value: float) -> Task:
    """A class of the same name whose attribute differs."""
    task = bent()
    task.backbone.__class__ = type("Bent", (Bent,), {"bend": value})
    return task


def with_table(value: float) -> Task:
    """A buffer that no state dict holds, and of which the probe reads another entry."""

    class Table(TwoLayers):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.table[(x[:, 0] > 1e6).long()][:, None]

    task = linear_task()
    model = Table(6, 5, 3)
    model.load_state_dict(task.backbone.state_dict())
    model.register_buffer("table", torch.tensor([0.0, value]), persistent=False)
    return replace(task, backbone=model)


OTHER_TASKS = {
    "prepare or none": (bent(), bent(prepare=times(0.5))),
    "prepare's closure": (bent(prepare=times(1.0)), bent(prepare=times(0.5))),
    "prepare's state": (bent(prepare=Scale(1.0)), bent(prepare=Scale(0.5))),
    "prepare, a bound method": (bent(prepare=Scale(1.0).apply), bent(prepare=Scale(0.5).apply)),
    "prepare, a partial": (bent(prepare=partial(scaled, factor=1.0)), bent(prepare=partial(scaled, factor=0.5))),
    "activation": (bent(), bent(torch.sigmoid)),
    "activation by a branch that the probe does not reach": (bent(), bent(only_far_out)),
    "backward alone": (bent(), bent(half_tanh)),
    "a hook that the probe does not wake": (bent(), hooked(doubled_far_out)),
    "a class attribute": (of_class(1.0), of_class(1.5)),
    "a buffer that is not saved": (with_table(1.0), with_table(2.0)),
}


@pytest.mark.parametrize("name", OTHER_TASKS)
def test_p4_another_prepare_or_forward_never_has_the_old_noise_uncharged(name):
    one, other = OTHER_TASKS[name]
    check_fresh(one, other)


def test_p4_gone_on_with_after_a_change_a_run_spends_more_and_its_noise_is_another():
    """The two releases of round 2 would differ by clipped gradients alone, were their noise one."""
    ledger, before, after = Ledger(), {}, {}
    private = replace(FAST, epsilon=1.0, rounds=3, sample_rate=1.0, clip_norm=1e-3)
    one, other = OTHER_TASKS["activation"]
    walk = federated_rounds(
        one, LA_LORA, private, ledger=ledger, observe=lambda c, t, k, v: before.update({(c, t, k): v})
    )
    first, _ = next(walk), next(walk)
    held = len(ledger)
    with pytest.warns(UserWarning, match="after round 1: changed is .*forward.*fresh noise and are charged"):
        rest = federated_rounds(
            other, LA_LORA, private, state=first.state, ledger=ledger,
            observe=lambda c, t, k, v: after.update({(c, t, k): v}),
        )  # fmt: skip
        [second, third] = rest
    assert len(ledger) == held + 2 * 4 * 2 and first.epsilon < second.epsilon < third.epsilon <= 1
    # With one noise the clipped sums alone would differ: ten units, each by twice C at most.
    again = [key for key in after if key in before]
    assert len(again) == 4 * 2
    assert all(float((after[key] - before[key]).norm()) * 10 > 2 * 10 * private.clip_norm for key in again)


def every(period: int):
    def trains(round: int, step: int) -> frozenset[str]:
        return frozenset("B") if step % period == 1 else frozenset("A")

    return trains


def modulo_two(round: int, step: int) -> frozenset[str]:
    return frozenset("B") if step % 2 == 1 else frozenset("A")


def modulo_three(round: int, step: int) -> frozenset[str]:
    return frozenset("B") if step % 3 == 1 else frozenset("A")


modulo_three.__qualname__ = modulo_three.__name__ = "modulo_two"


class Smoother:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, gradient: Tensor, factor: str) -> Tensor:
        return self.weight * gradient


def by_default(weight: float):
    def smooth(gradient: Tensor, factor: str, weight: float = weight) -> Tensor:
        return weight * gradient

    return smooth


def times_(weight: float, gradient: Tensor, factor: str) -> Tensor:
    return weight * gradient


def by_helper(weight: float):
    def helper(gradient: Tensor) -> Tensor:
        return weight * gradient

    def smooth(gradient: Tensor, factor: str) -> Tensor:
        return helper(gradient)

    return smooth


def made(source: str, **globals_: object):
    """A function as a file of one's own would give it."""
    space: dict[str, object] = {"__name__": "own_method", **globals_}
    exec(source, space)
    return space["f"]


def own_module(weight: float) -> types.ModuleType:
    module = types.ModuleType("own_helper")
    exec(f"def scale(x):\n    return {weight} * x", module.__dict__)
    return module


def by_keyword(weight: float):
    def smooth(gradient: Tensor, factor: str, *, weight: float = weight) -> Tensor:
        return weight * gradient

    return smooth


def averaged(weight: float):
    def aggregate(server, uploads, weights, trained):
        return average(server, uploads, weights, trained).map(lambda value: weight * value)

    return aggregate


USES_MODULE = "def f(gradient, factor):\n    return helper.scale(gradient)"
USES_GLOBAL = "def f(gradient, factor):\n    return WEIGHT * gradient"
USES_CALL = "def g(x):\n    return {0} * x\ndef f(gradient, factor):\n    return g(gradient)"
USES_ATTRIBUTE = "import torch\ndef f(gradient, factor):\n    return torch.{0}(gradient)"

OTHER_METHODS = {
    "a constant": ({"trains": modulo_two}, {"trains": modulo_three}),
    "a closure": ({"trains": every(2)}, {"trains": every(3)}),
    "a default": ({"smooth": by_default(1.0)}, {"smooth": by_default(0.5)}),
    "a closure's closure": ({"smooth": by_helper(1.0)}, {"smooth": by_helper(0.5)}),
    "state": ({"smooth": Smoother(1.0)}, {"smooth": Smoother(0.5)}),
    "a partial": ({"smooth": partial(times_, 1.0)}, {"smooth": partial(times_, 0.5)}),
    "a global": ({"smooth": made(USES_GLOBAL, WEIGHT=1.0)}, {"smooth": made(USES_GLOBAL, WEIGHT=0.5)}),
    "a function it calls": ({"smooth": made(USES_CALL.format("1.0"))}, {"smooth": made(USES_CALL.format("0.5"))}),
    "a name": ({"smooth": made(USES_ATTRIBUTE.format("sin"))}, {"smooth": made(USES_ATTRIBUTE.format("sinh"))}),
    "another module's function": (
        {"smooth": made(USES_MODULE, helper=own_module(1.0))}, {"smooth": made(USES_MODULE, helper=own_module(0.5))}
    ),
    "a keyword's default": ({"smooth": by_keyword(1.0)}, {"smooth": by_keyword(0.5)}),
    "the server's mean": ({"aggregate": averaged(1.0)}, {"aggregate": averaged(0.5)}),
    "a cached function": ({"smooth": lru_cache(by_default(1.0))}, {"smooth": lru_cache(by_default(0.5))}),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_METHODS)
def test_p4_another_function_of_the_method_never_has_the_old_noise_uncharged(name):
    one, other = (replace(LA_LORA, **changes) for changes in OTHER_METHODS[name])
    task = linear_task()
    check_fresh(task, task, one, other)


@pytest.mark.parametrize("changed", ["name", "shape", "type"])
def test_p4_inputs_of_another_name_shape_or_type_are_another_run(changed):
    """The same bytes: a column called otherwise, 4 by 3 for 3 by 4, whole numbers for floats."""

    class Takes(TwoLayers):
        def forward(self, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
            given = x if y is None else y
            small = given / 2**30 if given.dtype == torch.int32 else given  # else tanh saturates, and nothing trains
            return super().forward(small.view(len(given), -1).float())

    plain = linear_task()
    model = Takes(6, 5, 3)
    model.load_state_dict(plain.backbone.state_dict())
    one = replace(plain, backbone=model)
    change = {
        "name": lambda x: {"y": x},
        "shape": lambda x: {"x": x.view(-1, 2, 3)},
        "type": lambda x: {"x": x.view(torch.int32)},
    }[changed]
    splits = {n: replace(s, inputs=change(s.inputs["x"])) for n, s in (("train", one.train), ("test", one.test))}
    assert check_fresh(one, replace(one, **splits)) == "refused"


def test_p4_what_cannot_be_looked_into_or_repeated_is_fresh_each_time():
    from lalora_kit.privacy.identity import computed_by

    class Locked(Scale):
        def __init__(self, factor: float) -> None:
            super().__init__(factor)
            self.lock = threading.Lock()

    def augmented(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": inputs["x"] + torch.randn_like(inputs["x"])}

    free = replace(FAST, epsilon=math.inf)
    for prepare, why in ((Locked(1.0), "lock"), (augmented, "otherwise the second time")):
        task, ledger = bent(prepare=prepare), Ledger()
        drawn = torch.get_rng_state()
        assert why in computed_by(task, LA_LORA)["unsure"]
        assert torch.equal(torch.get_rng_state(), drawn)
        if prepare is augmented:  # the door lets it in nowhere
            with pytest.raises(ValueError, match="other scores each time"):
                federated_rounds(task, LA_LORA, free, ledger=ledger)
            continue
        walk = federated_rounds(task, LA_LORA, free, ledger=ledger)
        first, _ = next(walk), next(walk)
        with pytest.warns(UserWarning, match=f"cannot be told.*{why}"):
            plan = make_plan(task, LA_LORA, free, ledger, first.state)
        assert plan.releases(2, 0)[0] not in ledger


def test_p4_the_same_things_are_the_same_in_another_process(tmp_path):
    """Whatever the order of sets and the addresses of objects there."""
    (tmp_path / "own.py").write_text(OWN, "utf-8")
    code = "import own, json; print(json.dumps([own.plan.run, dict(own.plan.machine), dict(own.plan.identity)]))"
    told = []
    for number in ("1", "2"):
        python = {**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=python, capture_output=True, text=True, check=True)
        told.append(json.loads(done.stdout))
    assert told[0] == told[1] and told[0][1]["unsure"] == ""


OWN = """
import math, functools
from dataclasses import dataclass, replace, field
from enum import Enum
import numpy as np, torch
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from tests.tiny import FAST, linear_task

class Kind(Enum):
    A = "A"
    B = "B"

@dataclass
class Weights:
    names: set = field(default_factory=lambda: {"alpha", "beta", "gamma"})
    table: np.ndarray = field(default_factory=lambda: np.arange(3.0))
    def __call__(self, gradient, factor):
        if factor in {"A", "B", "C", "D"}:
            return cached(len(self.names)) * gradient
        return gradient

@functools.lru_cache
def cached(count):
    import fractions
    return float(fractions.Fraction(count, 3))

task = linear_task()
task = replace(task, prepare=functools.partial(lambda inputs, kind: inputs, kind=Kind.A))
method = replace(METHODS["la-lora"], smooth=Weights())
plan = make_plan(task, method, replace(FAST, epsilon=math.inf), Ledger())
"""


# ---- P15: who holds what is told by content -----------------------------------------------------------------------


def in_order(task: Task, order: Tensor) -> Task:
    return replace(task, train=task.train.select(order))


@pytest.mark.parametrize("by_unit", [False, True])
def test_p15_the_same_file_in_another_order_is_not_the_same_people(by_unit):
    task, ledger = linear_task(), Ledger()
    files = [task, in_order(task, torch.arange(40).flip(0))]
    if by_unit:  # persons get their numbers in the order of the file, as the loaders give them
        pairs = torch.arange(40) // 2
        files = [replace(file, unit="patient", train=replace(file.train, units=pairs)) for file in files]
    free = replace(FAST, epsilon=math.inf, rounds=1)
    plans = [make_plan(file, LA_LORA, free, ledger) for file in files]
    assert plans[0].shard != plans[1].shard and plans[0].run != plans[1].run
    # One run releases twice by client 3 alone: client 3 of the other run may hold anybody of them, and so may client 0.
    ledger.charge(replace(plans[0].releases(1, 3)[0], noise_multiplier=2.0, step=k) for k in range(2))
    for client in range(4):
        assert ledger.composition(client, plans[1].run, plans[1].shard) == ((0.3, 2.0, 2),)
    assert ledger.composition(0, plans[0].run, plans[0].shard) == ()


def test_p15_the_same_people_are_the_same_in_whatever_order_their_rows_are():
    """Within each owner's rows, and between owners; but not if one of them holds another row."""
    task = linear_task()
    owners = torch.arange(40) % 4
    whose = {"owners": ("a", "b", "c", "d"), "test": replace(task.test, owners=torch.arange(20) % 4)}
    task = replace(task, train=replace(task.train, owners=owners), **whose)
    free = replace(FAST, epsilon=math.inf)
    shards = []
    changed = {"x": task.train.inputs["x"].clone()}
    changed["x"][7, 2] += 1e-6
    other = replace(task, train=replace(task.train, inputs=changed))
    for of in (task, in_order(task, torch.arange(40).flip(0)), other):
        shards.append(make_plan(of, LA_LORA, free, Ledger()).shard)
    assert shards[0] == shards[1] != shards[2]


def test_p15_units_that_are_made_otherwise_are_other_people():
    task = linear_task()
    plans = []
    for units in (torch.arange(40) // 2, torch.arange(40) // 2 + 5, torch.arange(40) // 4 * 2 + torch.arange(40) % 2):
        split = replace(task.train, units=units.unique(return_inverse=True)[1])
        plans.append(make_plan(replace(task, unit="patient", train=split), LA_LORA, replace(FAST, clients=1), Ledger()))
    assert plans[0].shard == plans[1].shard != plans[2].shard


def test_p15_the_ledger_does_not_confirm_a_guess_at_a_sample():
    """Without a seed the shard's name is keyed: two runs on the same data have nothing in common there."""
    task, free = linear_task(), replace(FAST, clients=1, epsilon=math.inf, seed=None)
    assert make_plan(task, LA_LORA, free, Ledger()).shard != make_plan(task, LA_LORA, free, Ledger()).shard
