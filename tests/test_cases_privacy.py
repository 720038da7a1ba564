"""The privacy core's cases: P1 (a NaN moves nobody else), P4 and P15 (what a replay is), P14 (randomness goes)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.privacy import clipped_sum, summed_by_unit
from lalora_kit.tasks import Task
from tests.tiny import FAST, linear_task, randomised

LA_LORA = METHODS["la-lora"]
WILD = [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, -1e-40, 5e-39, 0.0]


# ---- P1: a NaN or an infinity moves no other unit and no other client ---------------------------------------------


def sums_by_unit(gradients: list[Tensor], owner: Tensor, units: Tensor, clients: int, clip: float, chunk: int):
    """Clipped sums `(clients, d)` and the norms of the units, as a private step makes them."""
    pieces = torch.arange(len(owner)).split(chunk)
    chunks = [(owner[p], [g[p] for g in gradients]) for p in pieces]
    total, norms = torch.zeros(clients, sum(g[0].numel() for g in gradients), dtype=torch.float64), []
    for part, summed in summed_by_unit(chunks, units):
        sums, lengths = clipped_sum(summed, part, clients, clip)
        total += sums
        norms.append(lengths)
    return total, torch.cat(norms)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 6])
def test_p1_one_sample_that_is_not_finite_erases_its_own_unit_alone(chunk, bad):
    gradients, owner = torch.ones(6, 3), torch.tensor([0, 0, 0, 0, 1, 1])
    units = torch.tensor([0, 0, 1, 2, 0, 1])
    gradients[2] = bad
    total, norms = sums_by_unit([gradients], owner, units, 2, math.inf, chunk)
    # Client 0 keeps its first person (two samples) and its third, client 1 both of its own.
    assert total.tolist() == [[3.0] * 3, [2.0] * 3]
    assert norms.isnan().tolist() == [False, True, False, False, False]


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.0, 0.05, 0.3]), clip=st.sampled_from([1e-3, 1.0, 1e6]))
def test_p1_whatever_one_unit_holds_the_others_keep_their_sums(seed, share, clip):
    """Both paths, at several chunk sizes: other clients bit for bit, its own client by at most C."""
    random = np.random.default_rng(seed)
    samples = int(random.integers(2, 12))
    owner = torch.from_numpy(np.sort(random.integers(0, 3, size=samples)))
    units = torch.from_numpy(np.sort(random.integers(0, 3, size=samples)))
    values = random.standard_normal((samples, 4)).astype(np.float32)
    wild = random.random(values.shape) < share
    values[wild] = random.choice(WILD, size=int(wild.sum()))
    place = int(random.integers(samples))
    person = (owner == owner[place]) & (units == units[place])
    loud = values.copy()
    loud[place] = random.choice(WILD, size=4)
    gradients = [[torch.from_numpy(v[:, :2]), torch.from_numpy(v[:, 2:]).unsqueeze(2)] for v in (values, loud)]
    chunk = int(random.integers(1, samples + 1))
    by_unit = [sums_by_unit(g, owner, units, 3, clip, chunk)[0] for g in gradients]
    alone = [clipped_sum(g, owner, 3, clip)[0] for g in gradients]
    gone = [sums_by_unit([part[~person] for part in gradients[0]], owner[~person], units[~person], 3, clip, chunk)[0]
            if not person.all() else torch.zeros_like(by_unit[0])]  # fmt: skip
    others = torch.arange(3) != owner[place]
    for one, two in (by_unit, alone):
        assert one.isfinite().all() and two.isfinite().all()
        assert torch.equal(one[others], two[others])
        assert float((one - two).norm()) <= 2 * clip * (1 + 1e-9)
    for one in by_unit:
        assert float((one - gone[0]).norm()) <= clip * (1 + 1e-9)
    for other in (1, samples):
        again = sums_by_unit(gradients[1], owner, units, 3, clip, other)[0]
        torch.testing.assert_close(again, by_unit[1], rtol=1e-9, atol=1e-9 * clip)


@pytest.mark.parametrize("max_samples", [None, 3])
def test_p1_a_row_of_3e38_in_from_arrays_leaves_every_other_client_as_it_was(max_samples):
    random = np.random.default_rng(0)
    x, labels = random.standard_normal((32, 6)).astype(np.float32), random.integers(0, 3, size=32)
    patients = np.arange(32) // 2

    def released(x: np.ndarray) -> dict[tuple[int, int, int], Tensor]:
        task = Task.from_arrays(
            randomised(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))), {"input": x}, labels, head="2",
            test_inputs={"input": x[:4] * 0}, test_labels=labels[:4], classes=("a", "b", "c"), units=patients, unit="patient",
        )  # fmt: skip
        seen: dict[tuple[int, int, int], Tensor] = {}
        changes = {"sample_rate": 1.0, "rounds": 1, "epsilon": math.inf, "max_samples": max_samples}
        keep = replace(FAST, **changes)
        list(federated_rounds(task, LA_LORA, keep, observe=lambda c, t, k, v: seen.update({(c, t, k): v})))
        return seen

    plain = released(x)
    x[5] = 3e38
    loud = released(x)
    moved = [key for key in plain if key[2] == 1 and not torch.equal(plain[key], loud[key])]
    assert len(moved) <= 1  # the client that holds the row, and nobody else
    assert all(float(value.norm()) > 0 for value in loud.values())
