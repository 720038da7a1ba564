"""A step on a device makes the host wait for nothing, whatever clients, layers, chunks, persons or texts there are.

The device is pretended (`tests.waits`): its tensors have no numbers, and whatever asks for one is counted.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from lalora_kit import METHODS, local
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, rounds
from lalora_kit.local import private_step
from lalora_kit.methods.controls import LA_LORA_PERMUTED
from lalora_kit.methods.optimisers import Optimisers
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger, mechanism
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.feed import Feed
from tests.tiny import FAST, linear_task, randomised, roberta_task, swin_task
from tests.waits import BACK, ITEM, SIZE, THERE, Waits, counted, waits_of

PRETENDED = torch.device("meta")
LA_LORA = METHODS["la-lora"]
#: What a library asks of the mask, once a chunk of texts: whether it hides anything at all.
MASK = ("item", "transformers.masking_utils._ignore_bidirectional_mask_sdpa")


class Deep(nn.Module):
    """x -> head(tanh(tanh(x·W)·W ...)): as many layers as are asked for."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Linear(6, 6) for _ in range(layers))
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.body:
            x = torch.tanh(layer(x))
        return self.head(x)


def deep_task(layers: int) -> Task:
    plain, model = linear_task(60), randomised(Deep(layers))
    return replace(plain, backbone=model, targets=tuple(f"body.{i}" for i in range(layers)))


def by_person(task: Task) -> Task:
    units = torch.randint(40, (len(task.train),), generator=torch.Generator().manual_seed(1))
    return replace(task, unit="patient", train=replace(task.train, units=units))


TASKS = {
    "2 layers": lambda: deep_task(2),
    "20 layers": lambda: deep_task(20),
    "pictures": lambda: swin_task(30),
    "texts": lambda: roberta_task(60),
    "persons": lambda: by_person(deep_task(2)),
    "persons' texts": lambda: by_person(roberta_task(60)),
}


def planned(task: Task, clients: int, **changes: object) -> tuple[Plan, Settings]:
    settings = replace(FAST, epsilon=math.inf, clients=clients, sample_rate=0.5, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # δ is not this test's subject
        return make_plan(task, LA_LORA, settings, Ledger()), settings


def step_on(task: Task, clients: int, chunk: int | None) -> tuple[Waits, Waits]:
    """What makes the host wait in one local step, and in the libraries that it calls; without the one copy of draws."""
    plan, settings = planned(task, clients)
    plan = replace(plan, sigmas=(1.0,) * clients)
    engine, feed = Engine(task, 1.0, device="meta", max_samples=chunk), Feed(task.train, PRETENDED)
    clients_ = stack(plan.start.map(lambda value: value.to("meta")), clients)
    optimisers = Optimisers(clients_, settings, 1)

    def work() -> None:
        [data] = feed.coming([local.drawn(plan, feed, 1, 1)])
        step = private_step(plan, engine, data, clients_, clients_.keys({"B"}), 1, 1)
        optimisers.apply(step.gradients, LA_LORA)
        assert all(value.device.type == "meta" for value in (*step.gradients.values(), *step.values.values()))

    return waits_of(work)


@pytest.mark.parametrize("name", TASKS)
def test_a_step_waits_for_nothing(name):
    task = TASKS[name]()
    for clients, chunk in ((2, None), (8, 5)):
        ours, theirs = step_on(task, clients, chunk)
        assert ours == Counter(), (clients, chunk)
        if "texts" in name:
            assert set(theirs) == {MASK} and (theirs[MASK] == 1) is (chunk is None)
        else:
            assert theirs == Counter(), (clients, chunk)


def round_on(task: Task, clients: int, monkeypatch: pytest.MonkeyPatch, method=LA_LORA, **changes: object) -> Waits:
    """What makes the host wait in a run's second round, its evaluation left out."""
    plan, settings = planned(task, clients, rounds=2, **changes)
    monkeypatch.setattr(Engine, "evaluate", lambda *given: (0.5, 1.0))
    engine = Engine(task, 1.0, device="meta", max_samples=settings.max_samples)
    walk = rounds(Run(task, method, settings, plan, engine, Ledger(), None))
    waits_of(lambda: next(walk))
    return waits_of(lambda: next(walk))[0]


def test_a_round_waits_as_often_whatever_there_is_to_compute(monkeypatch):
    least = round_on(TASKS["2 layers"](), 2, monkeypatch)
    assert sum(least.values()) == 5, least  # finite still? the server's weights, the gap, numbers, the adapter
    variants = [
        (TASKS["20 layers"](), 8, {"max_samples": 4}),
        (TASKS["persons"](), 8, {"local_steps": 6}),
        (TASKS["texts"](), 2, {"optimizer": "adamw", "learning_rate": 0.01}),
        (TASKS["pictures"](), 8, {"precondition": 1e-3, "method": METHODS["dp-lora"]}),
    ]
    for task, clients, changes in variants:
        assert round_on(task, clients, monkeypatch, **changes) == least, (task.name, changes)


def test_the_control_with_a_shuffle_copies_it_once(monkeypatch):
    assert sum(round_on(TASKS["2 layers"](), 2, monkeypatch, LA_LORA_PERMUTED).values()) == 5


# ---- the counter itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda x: float(x.sum()), ITEM),
        (lambda x: bool((x > 0).all()), ITEM),
        (lambda x: torch.equal(x, x), ITEM),
        (lambda x: x.nonzero(), SIZE),
        (lambda x: torch.unique_consecutive(x, return_inverse=True), SIZE),
        (lambda x: x.cpu(), BACK),
        (lambda x: x.sum().tolist(), BACK),
        (lambda x: torch.ones(3).to(x.device), THERE),
        (lambda x: torch.tensor([1.0, 2.0], device=x.device), THERE),
        (lambda x: x[torch.tensor([0, 1])], THERE),
    ],
)
def test_each_kind_of_wait_is_seen_and_named(work, kind):
    with counted() as waits:
        work(torch.ones(3, device="meta"))
    assert list(waits.items()) == [((kind, f"{__name__}.<lambda>"), 1)]


def test_a_selection_by_truth_values_is_seen():
    with counted() as waits, pytest.raises(NotImplementedError, match="no answer is made up"):
        x = torch.ones(3, device="meta")
        x[x > 0]
    assert [kind for kind, _ in waits] == [SIZE]


def test_what_stays_on_the_host_or_on_the_device_is_no_wait():
    with counted() as waits:
        here, there = torch.ones(3), torch.ones(3, device="meta")
        assert float(here.sum()) == 3 and len(here.nonzero()) == 3
        torch.where(there > 0, there, 0.0).masked_fill(there > 1, 2.0).mul_(0.5).add_(torch.tensor(1.0))
        there[torch.arange(2, device="meta")] = 1.0
    assert not waits


def test_a_step_that_asks_the_device_is_caught(monkeypatch):
    """The finite check as the CPU has it."""
    plain = mechanism.masked

    def asks(gradients):
        flat, norms, finite = plain(gradients)
        assert finite.all()
        return flat, norms, finite

    monkeypatch.setattr(mechanism, "masked", asks)
    ours, _ = step_on(TASKS["2 layers"](), 2, 4)
    assert ours[ITEM, f"{__name__}.asks"] > 1
