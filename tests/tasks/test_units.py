"""Units of privacy: a person with several samples is drawn, clipped and counted as one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lalora_kit.cli import train
from lalora_kit.federated import federated_rounds
from lalora_kit.local import draw
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, summed_by_unit
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.statement import statement
from lalora_kit.tasks import Task
from lalora_kit.tasks.partition import partition
from tests.tiny import FAST, linear_task

LA_LORA = METHODS["la-lora"]
PEOPLE = 12


def by_person(people: int = PEOPLE, samples: int = 40) -> Task:
    """Each person has samples all over the data set, and not all of them as many."""
    plain = linear_task(samples=samples)
    units = torch.randint(people, (samples,), generator=torch.Generator().manual_seed(1))
    assert len(units.unique()) == people
    return replace(plain, unit="patient", train=replace(plain.train, units=units))


def releases(task: Task, **changes: object) -> dict[tuple[int, int, int], Tensor]:
    seen: dict[tuple[int, int, int], Tensor] = {}
    settings = replace(FAST, **changes)
    list(federated_rounds(task, LA_LORA, settings, observe=lambda c, t, k, v: seen.update({(c, t, k): v})))
    return seen


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
def test_units_are_summed_whole_whatever_the_chunks(chunk):
    generator = torch.Generator().manual_seed(chunk)
    owner = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])
    units = torch.tensor([0, 0, 4, 4, 4, 4, 5, 5])  # the same number at two owners is two persons
    gradients = [torch.randn(8, 3, generator=generator), torch.randn(8, 2, 2, generator=generator)]
    pieces = torch.arange(8).split(chunk)
    got = list(summed_by_unit([(owner[p], [g[p] for g in gradients]) for p in pieces], units))
    assert torch.cat([o for o, _ in got]).tolist() == [0, 0, 1, 1, 2]
    for place, whole in enumerate(gradients):
        expected = torch.stack([whole[rows].double().sum(0) for rows in ([0, 1], [2, 3], [4, 5], [6], [7])])
        torch.testing.assert_close(torch.cat([g[place] for _, g in got]), expected, rtol=1e-12, atol=1e-12)
    assert list(summed_by_unit([], units[:0])) == []


def test_one_sample_a_unit_is_the_usual_run():
    plain = linear_task()
    alone = replace(plain, unit="patient", train=replace(plain.train, units=torch.arange(len(plain.train))))
    # The same clients: dealing out units would draw other shards than dealing out samples.
    owners = {"owners": ("a", "b", "c", "d")}
    whose = torch.arange(len(plain.train)) % 4
    test = replace(plain.test, owners=torch.arange(len(plain.test)) % 4)
    usual = releases(replace(plain, train=replace(plain.train, owners=whose), test=test, **owners))
    single = releases(replace(alone, train=replace(alone.train, owners=whose), test=test, **owners))
    assert usual.keys() == single.keys()
    for key, value in usual.items():
        torch.testing.assert_close(single[key], value, rtol=1e-6, atol=1e-9)  # the models are float32


@pytest.mark.parametrize("max_samples", [None, 3])
def test_a_person_moves_a_release_by_at_most_C_whatever_all_their_samples_are(max_samples):
    task = by_person()
    loud = task.train.units == 0
    assert int(loud.sum()) >= 3
    other = replace(task.train, inputs={"x": torch.where(loud[:, None], 50.0, task.train.inputs["x"])})
    changed = replace(task, train=replace(other, labels=torch.where(loud, 2, task.train.labels)))
    settings = {"clients": 1, "sample_rate": 1.0, "rounds": 1, "local_steps": 2, "epsilon": math.inf, "clip_norm": 0.01}
    divisor = len(task.train.units.unique())
    one, two = (releases(of, max_samples=max_samples, **settings)[0, 1, 1] for of in (task, changed))
    moved = float((one - two).norm()) * divisor
    assert 0.01 < moved <= 2 * 0.01  # replaced, so at most twice C; three samples clipped apart could reach 6 C


def test_all_of_a_persons_samples_are_drawn_or_none():
    plan = make_plan(by_person(), LA_LORA, replace(FAST, clients=2), Ledger())
    counts = np.zeros(2)
    for t in (1, 2):
        for k in (1, 2):
            for client in (0, 1):
                samples, units = draw(plan, client, t, k)
                held = plan.units[client]
                assert len(samples) == sum(int((held == unit).sum()) for unit in set(units.tolist()))
                assert torch.equal(units, units.sort().values)
                whose = by_person().train.units[samples]
                assert len(whose.unique()) == len(units.unique())
                counts[client] += len(units.unique())
    assert 0 < counts.sum() < 2 * 2 * PEOPLE


def test_sizes_and_divisors_count_persons():
    task = by_person()
    people = len(task.train.units.unique())
    plan = make_plan(task, LA_LORA, replace(FAST, clients=3), Ledger())
    assert sum(map(plan.size, range(3))) == people
    assert [plan.divisor(c) for c in range(3)] == pytest.approx([0.3 * plan.size(c) for c in range(3)])
    assert sum(plan.weights((0, 1, 2))) == pytest.approx(1)
    held = [set(task.train.units[torch.from_numpy(shard)].tolist()) for shard in plan.shards]
    assert sum(map(len, held)) == people  # nobody sits with two clients
    with pytest.raises(ValueError, match=r"delta=0\.3 is larger than one over a client's \d patients"):
        make_plan(task, LA_LORA, replace(FAST, clients=3, delta=0.3), Ledger())
    with pytest.raises(ValueError, match=r"batch_size=8\.0 .*than all its patients"):
        make_plan(task, LA_LORA, replace(FAST, clients=3, sample_rate=None, batch_size=8.0), Ledger())


def test_units_are_refused_where_they_cannot_be_kept_whole():
    task = by_person()
    with pytest.raises(ValueError, match=r"clients=40 is more than the \d+ units"):
        partition(task.train.labels, 40, None, np.random.default_rng(0), units=task.train.units.numpy())
    with pytest.raises(ValueError, match=r"dirichlet_beta=0\.5 is set, but.*units"):
        make_plan(task, LA_LORA, replace(FAST, dirichlet_beta=0.5), Ledger())
    spread = replace(task.train, owners=torch.arange(len(task.train)) % 2)
    test = replace(task.test, owners=torch.zeros(len(task.test), dtype=torch.int64))
    with pytest.raises(ValueError, match=r"patient number 0 has samples with two owners.*one owner"):
        replace(task, train=spread, test=test, owners=("a", "b"))
    with pytest.raises(ValueError, match=r"unit of privacy is 'patient' and none are given"):
        replace(task, train=replace(task.train, units=None))
    with pytest.raises(ValueError, match=r"unit of privacy is 'sample' and they are given"):
        replace(task, unit="sample")
    with pytest.raises(ValueError, match=r"units are torch\.float32 of shape \(40,\)"):
        replace(task, train=replace(task.train, units=task.train.units.float()))


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Iterator:
    directory = tmp_path_factory.mktemp("units") / "run"
    list(save_rounds(by_person(), LA_LORA, replace(FAST, clients=2), directory))
    return directory


def test_the_ledger_and_the_statement_say_per_patient(kept, capsys):
    said = statement(kept)
    assert said.unit == "patient" and said.to_json()["unit"] == "one training patient of one client"
    assert "if one patient's gradient is replaced by zero" in said.text and "sample's" not in said.text
    assert "per patient of one client" in (kept / "adapter" / "privacy.json").read_text("utf-8")
    train.announce("patient", FAST, as_json=False)
    assert "ε holds per patient of one client" in capsys.readouterr().out


def test_one_ledger_holds_one_unit(kept):
    with pytest.raises(ValueError, match=r"releases per patient, not per sample.*name the same unit again"):
        list(save_rounds(linear_task(), LA_LORA, replace(FAST, clients=2, epsilon=6.0), kept))


def test_a_resume_is_recognised_by_its_units():
    task = by_person()
    [first, *_] = federated_rounds(task, LA_LORA, FAST, ledger=(ledger := Ledger()))
    moved = replace(task, train=replace(task.train, units=(task.train.units + 1) % (int(task.train.units.max()) + 1)))
    with pytest.raises(ValueError, match="belongs to another run: its data"):
        federated_rounds(moved, LA_LORA, FAST, state=first.state, ledger=ledger)
