"""Memory: what a sample keeps, how large a chunk is chosen, and that a run keeps to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lalora_kit.engine import memory
from lalora_kit.engine.adapters import create, stack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from tests.tiny import ARCHITECTURES, FAST, distance, linear_task, task_of

CPU = torch.device("cpu")
LA_LORA = METHODS["la-lora"]


def fresh(task, rank=2):
    return create(task.backbone, task.targets, task.head, rank, 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_kept_grows_with_the_samples_and_holds_no_weights(architecture):
    task = task_of(architecture)
    one = memory.kept_bytes(task, fresh(task))
    engine, kept = Engine(task, 1.0), []
    weights = {value.untyped_storage().data_ptr() for value in engine.model.parameters()}
    tensors = stack(fresh(task), 1).map(lambda value: value.repeat(5, *[1] * (value.ndim - 1)).requires_grad_())

    def count(value):
        kept.append(value.untyped_storage())
        return value

    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        engine.scores(dict(tensors.tensors), engine.batch(task.train.inputs, torch.arange(5))).sum()
    five = sum({s.data_ptr(): s.nbytes() for s in kept if s.data_ptr() not in weights}.values())
    assert 4 * one < five <= 5 * one


def test_the_chunk_is_a_power_of_two_that_fits_into_its_share_of_what_is_free(monkeypatch):
    task = linear_task()
    each = memory.bytes_per_sample(task, fresh(task))
    for room, expected in ((1.0, 1), (2.0, 1), (4.5, 2), (33, 16), (200, 64), (1e9, None), (-1, None)):
        monkeypatch.setattr(memory, "free_bytes", lambda device, room=room: room * each if room > 0 else -1)
        assert memory.chunk_for(task, fresh(task), CPU, [50.0]) == expected
    # The draw fits, the test set does not: that is evaluated in chunks of the same size.
    monkeypatch.setattr(memory, "free_bytes", lambda device: 600 * each)
    assert memory.chunk_for(task, fresh(task), CPU, [50.0]) == 256


def test_a_run_chooses_once_and_a_resume_keeps_the_choice(monkeypatch):
    task = linear_task()
    each = memory.bytes_per_sample(task, fresh(task))
    whole = list(federated_rounds(task, LA_LORA, FAST))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20 * each)
    ledger = Ledger()
    first = next(federated_rounds(task, LA_LORA, FAST, ledger=ledger))
    assert first.state.machine["max_samples"] == "8"
    charged = len(ledger)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1e12)
    assert make_plan(task, LA_LORA, FAST, ledger, first.state).max_samples == 8
    [last] = federated_rounds(task, LA_LORA, FAST, state=first.state, ledger=ledger)
    assert not last.state.moves and len(ledger) == 2 * charged  # no fresh noise, nothing charged twice
    assert distance(last.adapter, whole[-1].adapter) < 1e-5
    assert make_plan(task, LA_LORA, replace(FAST, max_samples=3), Ledger()).max_samples == 3


def test_what_fits_whole_is_not_chunked():
    assert make_plan(linear_task(), LA_LORA, FAST, Ledger()).machine["max_samples"] == "None"
