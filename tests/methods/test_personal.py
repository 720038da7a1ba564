"""What stays at a client: FedSA-LoRA, whose server never has B, and whose every client has a model of its own."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from lalora_kit.base.files import digest
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import EVERY
from lalora_kit.methods.personal import homes, models, the_model, with_homes
from lalora_kit.privacy import clipped_sum
from lalora_kit.records import WRITTEN
from lalora_kit.runs.adapterfile import load_adapter
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.saved import load
from lalora_kit.runs.sites.travels import check_travels
from lalora_kit.runs.statefile import is_record
from tests.tiny import FAST, identical, linear_task, random_adapter

TASK = linear_task()
RUN = replace(FAST, local_steps=4, participation=0.5, rounds=3)
BOTH = pytest.mark.parametrize("name", ["fedsa", "fedsa-head"])


@BOTH
def test_the_server_never_has_what_stays(name):
    """Spied upon: what `aggregate` is given of B (and of the head, in FedSA) is what the server sent, to the bit."""
    method, seen = EVERY[name], []

    def watched(sent, clients, weights, trained):
        seen.append((sent, clients))
        return method.aggregate(sent, clients, weights, trained)

    records = list(federated_rounds(TASK, replace(method, aggregate=watched), RUN))
    assert len(seen) == RUN.rounds
    for sent, clients in seen:
        assert not homes(sent) and not any(homes(client) for client in clients)
        for key, value in sent.own().items():
            same = [torch.equal(client.tensors[key], value) for client in clients]
            assert all(same) if key[0] in method.stays else not any(same), key
    own = homes(records[-1].adapter)
    assert {kind for kind, _ in own} == set(method.stays) and all(len(value) == RUN.clients for value in own.values())


@BOTH
def test_a_client_goes_on_from_its_own_and_keeps_it_while_it_waits(name):
    records = list(federated_rounds(TASK, EVERY[name], RUN))
    for before, r in pairwise(records):
        for key, value in homes(r.adapter).items():
            for client in range(RUN.clients):
                kept = torch.equal(value[client], homes(before.adapter)[key][client])
                assert kept is (client not in r.participants)
    assert torch.equal(
        records[0].adapter.tensors["B", "body"], torch.zeros_like(records[0].adapter.tensors["B", "body"])
    )


@BOTH
def test_accuracy_is_the_mean_over_the_clients_own_models(name):
    *_, r = federated_rounds(TASK, EVERY[name], RUN)
    engine, test = Engine(TASK, RUN.scale), TASK.test
    found = []
    for client in range(RUN.clients):
        mine = r.adapter.with_tensors({key: value[client] for key, value in homes(r.adapter).items()})
        found.append(engine.evaluate(mine, test))
    assert r.personal == tuple(accuracy for accuracy, _ in found)
    assert r.accuracy == statistics.fmean(r.personal)
    assert r.loss == statistics.fmean(loss for _, loss in found)
    assert r.to_json()["personal"] == list(r.personal) and is_record(r.to_json())


@BOTH
def test_numbers_sent_are_those_that_leave(name):
    *_, r = federated_rounds(TASK, EVERY[name], RUN)
    A = r.adapter.tensors["A", "body"].numel()
    head = sum(value.numel() for value in r.adapter.of("head").values())
    assert r.upload == (A if name == "fedsa" else A + head)


def test_where_nothing_stays_records_and_states_are_what_they_were(tmp_path):
    """No new field is written, no tensor is added, and a record from before there was such a field is one still."""
    *_, r = save_rounds(TASK, EVERY["dp-lora"], FAST, tmp_path)
    assert r.personal == () and r.to_json().keys() == WRITTEN.keys()
    assert {kind for kind, _ in r.adapter.tensors} == {"A", "B", "head"}
    [*_, line] = (tmp_path / "rounds.jsonl").read_text().splitlines()
    old = json.loads(line)
    assert is_record(old) and "personal" not in old
    assert load(tmp_path).rounds[-1] == old and digest(old) == digest(r.to_json())
    assert with_homes(r.adapter, EVERY["dp-lora"], 4).tensors.keys() == r.adapter.tensors.keys()
    assert identical(the_model(EVERY["dp-lora"], r.adapter), r.adapter)


@BOTH
def test_a_folder_holds_an_adapter_a_client(name, tmp_path):
    *_, r = save_rounds(TASK, EVERY[name], RUN, tmp_path)
    place = tmp_path / "adapter"
    assert sorted(p.name for p in place.iterdir() if p.is_dir()) == [f"client-{c}" for c in range(RUN.clients)]
    assert (place / "privacy.json").is_file() and not (place / "adapter_model.safetensors").exists()
    for client, model in models(EVERY[name], r.adapter).items():
        assert identical(load_adapter(place / client, TASK), model)
    with pytest.raises(ValueError, match=r"holds an adapter a client; name one of them: .*client-0"):
        load_adapter(place, TASK)
    [] = save_rounds(TASK, EVERY[name], RUN, tmp_path, resume=True)
    with pytest.raises(ValueError, match=rf"{name} leaves each client a model of its own.*client-0, client-1"):
        the_model(EVERY[name], r.adapter)


@BOTH
def test_it_does_not_run_over_sites_and_says_why(name):
    with pytest.raises(ValueError, match=r"does not run over sites: .*what stays at a client makes a model a client"):
        check_travels(EVERY[name])


def test_noise_on_a_alone_would_bound_nothing():
    """Why B is noised though it is not sent: a B that one sample has moved is in every later gradient of A.

    Two data sets that differ by one sample: without noise on B, the clipped sums of A at the second step differ by far
    more than C, though that sample is in neither of them.
    """
    generator, clip, rate = torch.Generator().manual_seed(0), 0.1, 30.0
    start = stack(random_adapter(TASK, 2, 1.0, seed=1), 1)
    count = 60
    rows = torch.arange(count) % len(TASK.train)
    inputs, labels = {"x": TASK.train.inputs["x"][rows]}, TASK.train.labels[rows]
    owner, engine = torch.zeros(count, dtype=torch.long), Engine(TASK, 1.0)
    key_A, key_B = [("A", "body")], [("B", "body")]

    def sum_of(local, keys, which):
        x = {"x": inputs["x"][which]}
        [(part, gradients)] = engine.gradients(local, keys, x, labels[which], owner[which])
        return clipped_sum(gradients, part, 1, clip)[0][0]

    one = torch.randperm(count, generator=generator)[:1]
    others = torch.tensor([i for i in range(count) if i != int(one)])
    move = sum_of(start, key_B, one)
    assert float(move.norm()) <= clip, "a single step holds to C"
    shape = start.tensors["B", "body"].shape
    moved = start.with_tensors({("B", "body"): start.tensors["B", "body"] - rate * move.float().reshape(shape)})
    apart = sum_of(start, key_A, others) - sum_of(moved, key_A, others)
    assert float(apart.norm()) > 5 * clip
