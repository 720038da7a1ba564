"""Noise that is drawn where the sums are: the tests of the CPU's noise, through the step that a run makes.

They run on a GPU where there is one, else the CPU draws as a GPU would. Each states its seed and the chance p_f that a
right implementation fails it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lalora_kit import local
from lalora_kit.base import threefry
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine
from lalora_kit.local import private_step
from lalora_kit.methods import METHODS
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.privacy.identity import machine_of, moves_of
from lalora_kit.privacy.mechanism import drawn_by
from lalora_kit.records import RunState
from tests.tiny import FAST, linear_task

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIGMA, CLIP = 1.3, 0.5


@pytest.fixture(autouse=True)
def drawn_there(monkeypatch):
    monkeypatch.setattr(local, "drawn_by", lambda device: threefry.NAME)


def released(rate: float, clients: tuple[int, ...] = (0,), *, sigma: float = SIGMA, chunk: int | None = None,
             place: tuple[int, int] = (1, 1), samples: int = 30) -> dict[int, Tensor]:  # fmt: skip
    """Each client's release of one step, times its divisor: 100,404 numbers of B and the head."""
    task = linear_task(samples=samples, inputs=4, width=1000, classes=100)
    settings = replace(FAST, epsilon=math.inf, clients=5, local_steps=2, clip_norm=CLIP)
    plan: Plan = make_plan(task, METHODS["ffa-lora"], settings, Ledger())
    plan = replace(plan, rates=(rate,) * 5, sigmas=(sigma,) * 5, schedule=(clients,) * 2)
    engine = Engine(task, 1.0, device=DEVICE, max_samples=chunk)
    adapters = stack(plan.start.map(lambda value: value.to(DEVICE)), len(clients))
    kept: dict[int, Tensor] = {}
    private_step(plan, engine, task.train, adapters, adapters.keys({"B"}), *place,
                 lambda c, t, k, v: kept.update({c: v.cpu() * plan.divisor(c)}))  # fmt: skip
    return kept


# Std of 100,404 values, relative standard error .0022, so 1.5 % is 6.8 of them: p_f = 1e-11. P[D > .0085] = 1e-6
# (Kolmogorov). Seed 0.
def test_an_empty_draw_is_noise_of_std_sigma_C_and_normal():
    [noise] = released(1e-12).values()
    assert noise.dtype == torch.float64 and len(noise) > 100_000
    assert float(noise.std()) == pytest.approx(SIGMA * CLIP, rel=0.015)
    assert abs(float(noise.mean())) < 6 * SIGMA * CLIP / math.sqrt(len(noise))
    assert stats.kstest(noise.numpy(), stats.norm(0, SIGMA * CLIP).cdf).statistic < 0.0085


# Exact but for rounding: the noise is one function of the place, whatever the batch holds.
@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_neither_batch_nor_chunk_nor_company_moves_the_noise(chunk):
    [expected] = released(1e-12, (3,)).values()
    for clients in ((3,), (0, 3), (4, 3, 1, 0, 2)):
        noisy, quiet = (released(1.0, clients, sigma=sigma, chunk=chunk) for sigma in (SIGMA, 0.0))
        assert list(noisy) == list(clients) and bool(quiet[3].any())
        torch.testing.assert_close(noisy[3] - quiet[3], expected, rtol=0, atol=1e-5)  # the sums are float32's


# 78 pairs, each ρ about N(0, 1/100404), beyond six standard deviations: p_f = 2e-7. Seed 0.
def test_clients_rounds_and_steps_have_noise_of_their_own():
    rows = [v for place in ((1, 1), (1, 2), (2, 1)) for v in released(1e-12, (0, 1, 2, 3), place=place).values()]
    [row] = released(1e-12).values()
    assert torch.equal(row, rows[0]), "and the same again at the same place"
    correlation = torch.corrcoef(torch.stack(rows)).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 6 / math.sqrt(len(row))


def test_its_numbers_are_threefrys_of_the_key_of_the_place():
    task = linear_task()
    plan = make_plan(task, METHODS["ffa-lora"], FAST, Ledger())
    key = torch.from_numpy(np.frombuffer(plan.streams.key("noise", 2, 1, 3), np.int64).copy())[None]
    [found] = local.noised(plan, torch.zeros(1, 11).double(), key, [0.7], 1, 3)
    assert torch.equal(found, threefry.normals(key, 11, [0.7])[0])
    place = Streams.from_seed(FAST.seed).key("noise", 3, 1, 2)
    key = torch.from_numpy(np.frombuffer(place, np.int64).copy())[None]
    [step] = released(1e-12, (3,), place=(1, 2)).values()
    torch.testing.assert_close(step[None], threefry.normals(key, len(step), [SIGMA * CLIP]), rtol=1e-12, atol=1e-12)


def test_what_draws_is_part_of_the_machine():
    cpu = machine_of(FAST, None)
    assert cpu["noise"] == drawn_by(torch.device("cpu")) == "philox4x64-10"
    assert drawn_by(torch.device("cuda")) == drawn_by(torch.device("meta")) == "threefry4x32-20"
    task = linear_task()
    state = RunState(1, make_plan(task, METHODS["ffa-lora"], FAST, Ledger()).start, {}, {**cpu, "unsure": ""}, b"")
    same = {**cpu, "unsure": ""}
    other = {**same, "noise": threefry.NAME, "functions": "", "modules": "", "probe": ""}
    assert moves_of(state, {}, same) == ()
    with pytest.warns(UserWarning, match="does not go on as it was"):
        [(done, _)] = moves_of(state, {}, other)
    assert done == 1, "from there on the noise is fresh, and charged"
