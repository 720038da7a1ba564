"""Arrays as a task: conversions, clients from owners, persons as units, and bad rows by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lalora_kit import METHODS, Task, federated_rounds
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from tests.tiny import FAST, TwoLayers, linear_task, randomised

RNG = np.random.default_rng(0)
POINTS, TEST = RNG.normal(size=(24, 6)), RNG.normal(size=(9, 6))
LABELS, TEST_LABELS = np.arange(24) % 3, np.arange(9) % 3


def backbone() -> TwoLayers:
    return randomised(TwoLayers(6, 5, 3))


def made(**changes) -> Task:
    given = {
        "inputs": POINTS, "labels": LABELS, "test_inputs": TEST, "test_labels": TEST_LABELS, "classes": 3,
        "head": "head",
    }  # fmt: skip
    return Task.from_arrays(backbone(), **{**given, **changes})


def test_arrays_train_as_a_task_made_by_hand():
    """The same numbers as float64 arrays, and as the tensors of a task: the same run, bit for bit."""
    by_hand = linear_task()
    whole = {"test_inputs": by_hand.test.inputs["x"].double().numpy(), "test_labels": by_hand.test.labels.numpy()}
    task = Task.from_arrays(
        by_hand.backbone, by_hand.train.inputs["x"].double().numpy(), by_hand.train.labels.tolist(), classes=3,
        head="head", name="linear", **whole,
    )  # fmt: skip
    assert task.targets == by_hand.targets
    ours, theirs = (list(federated_rounds(t, METHODS["la-lora"], FAST)) for t in (task, by_hand))
    assert [(r.accuracy, r.loss, r.epsilon) for r in ours] == [(r.accuracy, r.loss, r.epsilon) for r in theirs]


def test_names_of_classes_tokens_and_masks():
    tokens = {"x": torch.ones(24, 6, dtype=torch.int32), "mask": np.ones((24, 6), dtype=bool)}
    task = made(inputs=tokens, test_inputs={n: v[:9] for n, v in tokens.items()}, classes=("a", "b", "c"),
                labels=np.array(list("abc"))[LABELS])  # fmt: skip
    assert task.train.inputs["x"].dtype == torch.int64 and task.train.inputs["mask"].dtype == torch.bool
    assert task.train.labels.tolist() == LABELS.tolist()


def test_owners_make_the_clients_and_persons_the_units():
    sites = np.array(["north", "south", "east"])[np.arange(24) // 8]
    people = np.arange(24) // 2  # two samples a person, four persons a site
    task = made(owners=sites, test_owners=list(sites[:9]), units=people, unit="patient")
    assert task.owners == ("east", "north", "south") and task.unit == "patient"
    plan = make_plan(task, METHODS["la-lora"], replace(FAST, clients=3, sample_rate=0.5), Ledger())
    assert [len(shard) for shard in plan.shards] == [8, 8, 8]
    assert [plan.divisor(c) for c in range(3)] == [2.0, 2.0, 2.0]  # half of four persons
    assert all(len(set(sites[shard])) == 1 for shard in plan.shards)


HOLED = POINTS.copy()
HOLED[3, 1], HOLED[7, 0] = np.nan, np.inf

REFUSED = {
    "NaN": ({"inputs": HOLED}, "2 bad rows: inputs 'x' row 3 holds NaN or an infinity; inputs 'x' row 7"),
    "unknown label": ({"labels": np.where(LABELS == 2, 5, LABELS)}, "labels row 2 is '5', none of 0 to 2"),
    "unknown name": ({"labels": list("abz" * 8), "classes": list("abc")}, "labels row 2 is 'z', none of a, b, c"),
    "half a label": ({"labels": LABELS + 0.5}, "whole numbers, or of names"),
    "ragged": ({"inputs": [[1.0], [1.0, 2.0]]}, "give each sample the same shape"),
    "words": ({"inputs": np.array([["a"]] * 24)}, "no array of numbers"),
    "a vector": ({"inputs": POINTS[:, 0]}, "samples first"),
    "bytes": ({"inputs": np.zeros((24, 6), np.uint8)}, "give prepare="),
    "too few labels": ({"labels": LABELS[:5]}, "pair them up"),
    "no such head": ({"head": "fc"}, "head='fc' is no module"),
    "head of another size": ({"classes": 4}, "ends in 3 scores"),
    "one class": ({"classes": ["a"]}, "two or more"),
    "a class twice": ({"classes": ["a", "a", "b"]}, "each named once"),
    "owners of one part": ({"owners": [0] * 24}, "give both or neither"),
    "a lonely owner": (
        {"owners": ["a"] * 23 + ["b"], "test_owners": ["a"] * 9},
        "owners row 23 is the only sample of owner 'b'",
    ),
    "a stranger in the test": ({"owners": ["a"] * 24, "test_owners": ["b"] * 9}, "9 bad rows: test_owners row 0"),
    "a person at two sites": (
        {"owners": ["a", "b"] * 12, "test_owners": ["a"] * 9, "units": [1, 1, *range(2, 24)], "unit": "patient"},
        "units row 1 is patient '1' with owner 'b', who is with owner 'a' too",
    ),
    "too few owners": ({"owners": ["a"] * 4, "test_owners": ["a"] * 9}, "owners has 4 rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_row(name):
    changes, said = REFUSED[name]
    with pytest.raises(ValueError, match=said):
        made(**changes)


def test_eleven_bad_rows_are_ten_and_one_more():
    labels = LABELS.copy()
    labels[:11] = 9
    with pytest.raises(ValueError, match=r"11 bad rows: labels row 0 .*labels row 9 [^;]*; and 1 more; mend"):
        made(labels=labels)
