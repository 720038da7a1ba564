"""Head and adapter clipped apart: against a plain loop, in every path of a step, under attack, and as it is told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lalora_kit import local
from lalora_kit.auditing.attack import audit
from lalora_kit.auditing.canaries import Server, ordinary_task
from lalora_kit.base.rows import Gradient, Layout
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.lessons.gradients import noised_gradient
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, clipped_sum, summed_by_unit
from lalora_kit.privacy.budgets import Budgets, clip_of
from lalora_kit.privacy.byclient import clipped
from lalora_kit.privacy.identity import computed
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.statement import statement
from lalora_kit.settings import Settings
from tests import faults
from tests.engine.test_waits import TASKS, round_on
from tests.privacy.test_by_client import Together, wild
from tests.tiny import FAST, identical, linear_task, random_adapter

CPU = torch.device("cpu")
TASK = linear_task()
SHARES = st.sampled_from([1e-9, 0.1, 0.5, 0.9, 1 - 1e-9])
KEYS = [("A", "w"), ("B", "w"), ("head", "weight")]
ALL = ("A", "B", "AB", "")


def loop(gradients: list[Tensor], bounds: list[float]) -> list[tuple[Tensor, bool]]:
    """One unit at a time, one group at a time, a group a tensor: what is left of it, and whether it was clipped."""
    out = []
    for unit in zip(*(g.double().flatten(1) for g in gradients), strict=True):
        norms = [float(part.norm()) for part in unit]
        if not math.isfinite(sum(norms)):
            out.append((torch.zeros(sum(map(len, unit)), dtype=torch.float64), False))
            continue
        limits = [bound * (1 - 1e-6) for bound in bounds]
        kept = [p * (b / n if n > b else 1.0) for p, n, b in zip(unit, norms, limits, strict=True)]
        out.append((torch.cat(kept), any(n > bound for n, bound in zip(norms, bounds, strict=True))))
    return out


def check_units(sums: Tensor, lengths: Tensor, gradients: list[Tensor], clip: float, share: float) -> None:
    """A row a unit: the plain loop's, within C in all and within its budget in each group; `lengths` tell who is over.

    Of two tensors, the adapter's and the head's.
    """
    bounds = [clip * math.sqrt(1 - share), clip * math.sqrt(share)]
    width = gradients[0][0].numel()
    assert torch.isfinite(sums).all()
    assert (sums.norm(dim=1) <= clip).all()
    assert (sums[:, :width].norm(dim=1) <= bounds[0]).all() and (sums[:, width:].norm(dim=1) <= bounds[1]).all()
    for row, length, (expected, over) in zip(sums, lengths, loop(gradients, bounds), strict=True):
        torch.testing.assert_close(row, expected, rtol=1e-9, atol=1e-300)
        assert math.isnan(length) or abs(float(length) - clip) < 1e-9 * clip or (float(length) > clip) == over


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), clip=st.sampled_from([1e-3, 1.0, 1e6]), share=SHARES)
def test_each_unit_is_that_of_a_plain_loop_whatever_its_numbers(seed, clip, share):
    random = np.random.default_rng(seed)
    samples, a, b = (int(n) for n in random.integers(1, 7, size=3))
    gradients = [wild(random, samples, a, 2), wild(random, samples, b)]
    clips = clip_of(clip, share, [("B", "w"), ("head", "w")])
    check_units(*clipped_sum(gradients, torch.arange(samples), samples, clips), gradients, clip, share)
    owner = torch.from_numpy(random.integers(0, 3, size=samples))
    whole, _ = clipped_sum(gradients, owner, 3, clips)
    keep = torch.arange(samples) != int(random.integers(samples))
    moved = whole - clipped_sum([g[keep] for g in gradients], owner[keep], 3, clips)[0]
    assert float(moved.norm()) <= clip and not moved[torch.arange(3) != owner[~keep]].any()


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), share=SHARES, kind=st.sampled_from([Layout, Together]))
def test_without_copies_each_unit_is_the_same_loops(seed, share, kind):
    random = np.random.default_rng(seed)
    samples, a, b, d = (int(n) for n in random.integers(1, 7, size=4))
    head = Gradient(wild(random, samples, a), wild(random, samples, b))
    factor = Gradient(wild(random, samples, d))
    outer = head.left.double().unsqueeze(2) * head.right.double().unsqueeze(1)
    at = kind(torch.arange(samples), samples, CPU)
    found = clipped([factor, head], at, clip_of(0.3, share, [("A", "w"), ("head", "w")]))
    check_units(*found, [factor.left, outer], 0.3, share)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), share=SHARES, chunk=st.integers(1, 9))
def test_a_person_is_clipped_apart_as_one_in_whatever_chunks(seed, share, chunk):
    random = np.random.default_rng(seed)
    units = torch.from_numpy(np.sort(random.integers(0, 4, size=9)))
    gradients = [wild(random, 9, 2, 2), wild(random, 9, 3)]
    persons = [torch.stack([g[units == u].double().sum(0) for u in units.unique()]) for g in gradients]
    clips, sums, lengths = clip_of(1.0, share, [("A", "w"), ("head", "w")]), [], []
    pieces = torch.arange(9).split(chunk)
    for part, summed in summed_by_unit(
        [(torch.zeros(len(p)).long(), [g[p] for g in gradients]) for p in pieces], units
    ):
        row, length = clipped_sum(summed, torch.arange(len(part)), len(part), clips)
        sums, lengths = [*sums, row], [*lengths, length]
    check_units(torch.cat(sums), torch.cat(lengths), persons, 1.0, share)


def test_groups_are_the_factors_that_train_and_the_head():
    assert clip_of(2.0, 0.25, KEYS) == Budgets(2.0, ((2, 0.75), (1, 0.25)))
    assert clip_of(2.0, 0.25, KEYS[1:]) == Budgets(2.0, ((1, 0.75), (1, 0.25)))
    assert clip_of(2.0, 0.25, KEYS[2:]) == clip_of(2.0, 0.0, KEYS) == 2.0
    with pytest.raises(AssertionError, match="in order"):
        clip_of(2.0, 0.25, KEYS[::-1])


# ---- in a step ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["copies", "by client"])
def path(request, monkeypatch):
    monkeypatch.setattr(local, "copies_cost", lambda *given: request.param == "by client")


def shared_out(monkeypatch, share: float = 0.3) -> None:
    """The checks of `faults` with a share of the head's own."""
    plain = faults.quiet_plan
    monkeypatch.setattr(faults, "quiet_plan", lambda *given: replace(plain(*given), clip_head_share=share))


def test_one_sample_moves_a_step_by_at_most_C(path, monkeypatch):
    shared_out(monkeypatch)
    faults.one_sample_moves_a_step_by_at_most_C()


def test_two_budgets_of_C_each_are_caught(path, monkeypatch):
    shared_out(monkeypatch)

    def both(clip_norm, head_share, active):
        clip = clip_of(clip_norm, head_share, active)
        return clip if isinstance(clip, float) else replace(clip, parts=tuple((n, 1.0) for n, _ in clip.parts))

    monkeypatch.setattr(local, "clip_of", both)
    with pytest.raises(AssertionError, match=r"moves a step of .*head by 1\.\d+ C"):
        faults.one_sample_moves_a_step_by_at_most_C()


@pytest.mark.parametrize("kinds", ALL)
@pytest.mark.parametrize("chunk", [None, 1, 3])
@pytest.mark.parametrize("persons", [False, True])
def test_a_step_spends_its_budgets_on_what_trains(kinds, chunk, persons, path):
    """Gradients far above C, a unit a client: the head's part is C·√share long, the factors' C·√(1 − share).

    Without a factor the head's is C.
    """
    plan = replace(faults.quiet_plan(TASK, tuple(np.arange(4) + 4 * c for c in range(3)), 0), clip_head_share=0.3)
    one = (np.zeros(4, dtype=int),) * 3 if persons else tuple(np.arange(1) for _ in range(3))
    shards = plan.shards if persons else tuple(shard[:1] for shard in plan.shards)
    plan = replace(plan, shards=shards, units=one, clip_norm=1e-6)
    task = replace(TASK, unit="patient", train=replace(TASK.train, units=torch.arange(40) // 4)) if persons else TASK
    clients, seen = stack(random_adapter(TASK, 2, 1.0, 0), 3), {}
    active = clients.keys(kinds)
    engine = Engine(task, 1.0, max_samples=chunk)
    step = local.private_step(plan, engine, task.train, clients, active, 1, 1, lambda c, t, k, v: seen.update({c: v}))
    assert float(step.values["clipped"]) == 1
    heads = clients.size("") // 3
    for client in range(3):
        release = seen[client] * plan.divisor(client)
        factors, head = release[:-heads].norm(), release[-heads:].norm()
        lengths = [1e-6 * math.sqrt(0.7), 1e-6 * math.sqrt(0.3)] if kinds else [0.0, 1e-6]
        assert [float(factors), float(head)] == pytest.approx(lengths, rel=2e-6)


def test_a_round_on_a_device_waits_for_nothing_more(monkeypatch):
    one, two = (round_on(TASKS["2 layers"](), 2, monkeypatch, clip_head_share=share) for share in (0.0, 0.5))
    assert one == two


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_its_epsilon_and_head_only_its_record(method):
    apart = replace(FAST, clip_head_share=0.5, clip_norm=0.1)
    one, two = (list(federated_rounds(TASK, METHODS[method], s)) for s in (replace(apart, clip_head_share=0), apart))
    assert [r.epsilon for r in one] == [r.epsilon for r in two]
    assert [r.noise_multipliers for r in one] == [r.noise_multipliers for r in two]
    assert identical(one[-1].adapter, two[-1].adapter) == (method == "head-only")


def test_a_lesson_clips_as_a_step_does():
    adapter, random = random_adapter(TASK, 2, 1.0, 0), np.random.default_rng(0)
    one, alone = TASK.train.select(torch.arange(1)), {}
    found = noised_gradient(
        Engine(TASK, 1.0), adapter, one, clip_norm=1e-4, noise_std=0.0, generator=random, clip_head_share=0.2
    )
    for (kind, _), value in found.items():
        alone[kind == "head"] = math.hypot(alone.get(kind == "head", 0.0), float(value.norm()))
    assert alone == pytest.approx({False: 1e-4 * math.sqrt(0.8), True: 1e-4 * math.sqrt(0.2)}, rel=1e-5)


# ---- under attack ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["la-lora", "dp-lora"])
def test_the_attack_does_not_contradict_epsilon(method):
    """At 99.9 %: a right loop is contradicted once in a thousand times at most. Seed 1."""
    found = audit(METHODS[method], confidence=0.999, seed=1, clip_head_share=0.5)
    assert not found.contradicts and found.epsilon_lower > 0.2, str(found)
    assert 0.99 * 3 < found.epsilon <= 3


def test_the_attacker_expects_what_a_canary_leaves():
    task = ordinary_task(6, np.random.default_rng(0))
    settings_ = Settings(
        clients=6, rounds=1, local_steps=2, rank=2, sample_rate=1.0, seed=0, delta=1e-3, clip_head_share=0.2
    )
    plan = make_plan(task, METHODS["la-lora"], settings_, Ledger())
    signal = Server(METHODS["la-lora"], plan, Engine(task, 1.0)).signal(tuple(plan.start.keys("B")))
    heads = plan.start.size("")
    assert float(signal[:-heads].norm()) == pytest.approx(math.sqrt(0.8), rel=2e-6)
    assert float(signal[-heads:].norm()) == pytest.approx(math.sqrt(0.2), rel=2e-6)


# ---- as it is told --------------------------------------------------------------------------------------------


def test_one_clip_goes_without_saying_so_that_earlier_runs_are_the_same_runs():
    joint, apart = Settings(), Settings(clip_head_share=0.5)
    earlier = {name: value for name, value in joint.to_json().items() if name != "clip_head_share"}
    assert computed(joint.to_json()) == computed(earlier) and computed(apart.to_json())["clip_head_share"] == 0.5
    assert Settings.from_json(earlier) == joint and Settings.from_json(apart.to_json()) == apart


def test_a_run_keeps_its_share_and_its_statement_tells_it(tmp_path):
    quick = replace(FAST, sample_rate=1.0, epsilon=1.0, clip_head_share=0.5)
    [first, *_] = save_rounds(TASK, METHODS["la-lora"], quick, tmp_path / "apart")
    assert first.state.identity["settings.clip_head_share"] == "0.5"
    said = statement(tmp_path / "apart")
    assert said.clip_head_shares == (0.5, 0.5)
    assert "clipped to L2 norm 1 (head and adapter apart where both train: 0.5 of its square is the head's" in said.text
    with pytest.raises(ValueError, match=r"its settings\.clip_head_share is 0\.5, not"):
        list(
            save_rounds(TASK, METHODS["la-lora"], replace(quick, clip_head_share=0.25), tmp_path / "apart", resume=True)
        )
    list(save_rounds(TASK, METHODS["la-lora"], replace(quick, clip_head_share=0.0), tmp_path / "joint"))
    assert "apart" not in statement(tmp_path / "joint").text
