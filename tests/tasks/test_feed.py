"""What fits lies on the device, what does not is fetched a step ahead; the numbers are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lalora_kit import METHODS, federated, federated_rounds
from lalora_kit.base.transfer import numbers, to_device, to_host
from lalora_kit.tasks.feed import SHARE, Feed, numbered, resides
from lalora_kit.tasks.padding import MASK, by_length, trimmed, widths_of
from tests.tasks.test_units import by_person
from tests.tiny import FAST, identical, linear_task, roberta_task, swin_task

HOST = torch.device("cpu")


def test_the_split_lies_on_the_device_if_it_takes_its_share_at_most():
    train = swin_task().train
    size = sum(value.nbytes for value in (*train.inputs.values(), train.labels))
    assert resides(train, -1) and resides(train, int(size / SHARE))
    assert not resides(train, int(size / SHARE) - 1) and not resides(train, 0)


@pytest.mark.parametrize("make", [linear_task, roberta_task, by_person], ids=["points", "texts", "persons"])
def test_fetched_or_there_the_records_are_the_same_bit_for_bit(make, monkeypatch):
    asked = []

    def records(there: bool):
        monkeypatch.setattr(federated, "resides", lambda *given: asked.append(given) or there)
        return list(federated_rounds(make(), METHODS["dp-lora"], replace(FAST, teaching=True)))

    for left, right in zip(records(True), records(False), strict=True):
        assert identical(left.adapter, right.adapter) and left.teaching == right.teaching
        assert left.update_norms == right.update_norms and left.loss == right.loss
    assert len(asked) == 2, "decided once a run"


def test_the_next_batch_is_on_its_way_before_this_one_is_used(monkeypatch):
    feed, fetched = Feed(linear_task().train, HOST, resident=False), []
    plain = feed.fetch
    monkeypatch.setattr(feed, "fetch", lambda rows: fetched.append(rows.tolist()) or plain(rows))
    rows = [torch.tensor([3, 1]), torch.tensor([], dtype=torch.long), torch.tensor([7])]
    walk = feed.batches(rows, rows)
    for done in range(3):
        batch = next(walk)
        assert fetched == [one.tolist() for one in rows][: done + 2]
        assert torch.equal(batch.labels, linear_task().train.labels[rows[done]])
        assert torch.equal(batch.inputs["x"], linear_task().train.inputs["x"][rows[done]])
    assert next(walk, None) is None
    assert list(feed.batches([], [])) == []


@pytest.mark.gpu
def test_what_is_fetched_to_cuda_is_what_lies_there():
    train, cuda = roberta_task().train, torch.device("cuda")
    rows = [torch.tensor([3, 1]), torch.tensor([], dtype=torch.long), torch.tensor([7, 7, 0])]
    there = to_device(rows, cuda)
    ways = [list(Feed(train, cuda, resident).batches(rows, there)) for resident in (True, False)]
    for left, right in zip(*ways, strict=True):
        assert left.labels.device.type == right.labels.device.type == "cuda"
        assert torch.equal(left.labels, right.labels)
        assert all(torch.equal(value, right.inputs[name]) for name, value in left.inputs.items())


def test_order_and_widths_are_those_that_the_batch_itself_would_give():
    train = roberta_task().train
    feed, rows = Feed(train, HOST), torch.tensor([5, 2, 9, 9, 0, 17])
    batch = train.select(rows)
    assert torch.equal(feed.ordered(rows), by_length(batch.inputs))
    for part in torch.arange(6).split(2):
        inputs = batch.select(part).inputs
        short = trimmed(inputs, int(feed.widths[rows[part]].amax()))
        assert all(torch.equal(value, trimmed(inputs)[name]) for name, value in short.items())
    assert widths_of(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).tolist() == [2, 2, 0]
    assert Feed(linear_task().train, HOST).widths is None and MASK in train.inputs
    whole = by_person()
    assert Feed(whole.train, HOST).ordered(rows).tolist() == list(range(6)), "a person's samples stay together"


def test_numbers_change_with_any_name():
    assert numbered(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([2, 2, 5, 5, 5])).tolist() == [0, 0, 1, 2, 2]


def test_many_tensors_in_one_copy_are_the_same_tensors():
    values = [torch.arange(6).view(2, 3), torch.empty(0, dtype=torch.long), torch.tensor(7)]
    assert all(torch.equal(left, right) for left, right in zip(to_device(values, HOST), values, strict=True))
    floats = [torch.randn(2, 2, requires_grad=True), torch.randn(3).double(), torch.randn(0, 4)]
    for left, right in zip(to_host(floats), floats, strict=True):
        assert torch.equal(left, right.detach()) and left.dtype == right.dtype and not left.requires_grad
        assert left.untyped_storage().nbytes() == left.nbytes, "memory of its own"
    assert numbers([{"A": torch.tensor(1.0)}, {"B": torch.tensor(2.0), "A": torch.tensor(3.0)}]) == {
        "A": [1.0, 3.0], "B": [2.0],
    }  # fmt: skip
