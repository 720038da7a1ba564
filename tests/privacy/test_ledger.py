"""The ledger: nothing is forgotten, nothing is charged twice, and ε comes from it alone."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lalora_kit import federated, local
from lalora_kit.base import files
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.privacy import BudgetExceeded, Ledger, Release, composed_epsilon, merged, noise_multiplier
from lalora_kit.privacy import ledger as ledger_module
from tests.tiny import FAST, linear_task

DELTA = 1e-3


def release(
    client: int = 0, round: int = 1, step: int = 1, *, q=0.1, sigma=2.0, run="r", shard="s", task="t"
) -> Release:
    return Release(client, round, step, q, sigma, 1.0, 10.0, run, shard, task)


def steps(client: int, count: int, **given) -> list[Release]:
    return [release(client, 1, k, **given) for k in range(1, count + 1)]


def test_epsilon_is_that_of_the_recorded_releases_by_client():
    ledger = Ledger()
    assert ledger.charge([*steps(0, 30), *steps(1, 50, q=0.3)]) == 80
    assert len(ledger) == 80
    assert ledger.epsilon(DELTA, 0, "r", "s") == composed_epsilon(((0.1, 2.0, 30),), DELTA)
    assert ledger.epsilon(DELTA, 1, "r", "s") == composed_epsilon(((0.3, 2.0, 50),), DELTA)
    assert ledger.epsilon(DELTA, 7, "r", "s") == 0.0  # never took part
    assert ledger.epsilon(DELTA) == ledger.epsilon(DELTA, 1, "r", "s") > ledger.epsilon(DELTA, 0, "r", "s") > 0


def test_a_replay_is_recognised_and_not_charged_twice():
    ledger = Ledger()
    first = steps(0, 4)
    assert ledger.charge(first) == 4 and ledger.charge(first) == 0
    assert ledger.charge([first[0], release(0, 2, 1)]) == 1
    assert first[2] in ledger and release(1) not in ledger and release(run="other") not in ledger
    assert ledger.composition(0, "r", "s") == ((0.1, 2.0, 5),)


def test_runs_on_the_same_split_add_up_client_by_client():
    ledger = Ledger()
    ledger.charge([*steps(0, 10), *steps(1, 3), *steps(0, 5, run="again"), *steps(1, 5, run="again", sigma=4.0)])
    assert ledger.composition(0, "r", "s") == ((0.1, 2.0, 15),)
    assert ledger.composition(1, "again", "s") == ((0.1, 2.0, 3), (0.1, 4.0, 5))
    assert ledger.composition(0, "third", "s") == ((0.1, 2.0, 15),)


def test_under_another_split_the_costliest_client_counts():
    """A sample of client 0 here may have been anyone's there."""
    ledger = Ledger()
    ledger.charge([*steps(0, 2, shard="old", run="one"), *steps(1, 40, shard="old", run="one")])
    ledger.charge(steps(0, 10, shard="new", run="two"))
    assert ledger.composition(0, "two", "new") == ((0.1, 2.0, 50),)
    assert ledger.composition(5, "two", "new") == ((0.1, 2.0, 40),)
    assert ledger.epsilon(DELTA) == composed_epsilon(((0.1, 2.0, 50),), DELTA)


COUNTS = st.dictionaries(st.integers(0, 3), st.integers(1, 20), min_size=1)


@settings(max_examples=40)
@given(runs=st.lists(st.tuples(st.sampled_from(["s", "u"]), COUNTS), min_size=1, max_size=3))
def test_more_runs_never_cost_less(runs):
    """By the fast bound: the ledger's rows grow with every run, whichever way it split the data."""
    ledger = Ledger()
    before = 0.0
    for number, (shard, counts) in enumerate(runs):
        for client, count in counts.items():
            ledger.charge(steps(client, count, run=f"run {number}", shard=shard))
        rows = ledger.composition(0, "run 0", runs[0][0])
        after = composed_epsilon(rows, DELTA, tight=False)
        assert after >= before
        before = after


def test_a_file_remembers_everything(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.charge([*steps(0, 3), *steps(2, 2, q=0.2, sigma=1.5)])
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert {"client", "round", "step", "sample_rate", "noise_multiplier", "clip_norm"} <= json.loads(lines[0]).keys()
    again = Ledger(path)
    assert len(again) == 5 and again.epsilon(DELTA) == ledger.epsilon(DELTA)
    assert again.charge(steps(0, 3)) == 0 and path.read_text().splitlines() == lines
    again.charge([release(0, 2, 1)])
    assert path.read_text().splitlines()[:5] == lines  # lines are never changed or removed


def test_lines_are_on_disk_before_charge_returns(tmp_path, monkeypatch):
    synced = []
    plain = os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda fd: synced.append((tmp_path / "l.jsonl").read_text()) or plain(fd))
    Ledger(tmp_path / "l.jsonl").charge(steps(0, 3))
    assert any(len(text.splitlines()) == 3 for text in synced)


def test_a_last_line_cut_short_was_never_released(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).charge(steps(0, 3))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:37])
    ledger = Ledger(path)
    assert len(ledger) == 3
    assert path.read_bytes() == whole + whole[:37]  # reading changes nothing: another process may be writing there
    ledger.charge([release(0, 2, 1)])
    assert path.read_bytes().startswith(whole) and len(Ledger(path)) == 4


@pytest.mark.parametrize("bad", [b"{}\n", b"not json\n", b'{"client": 1}\n', b"[1, 2]\n", b"\xff\xfe\n", b"\n"])
def test_a_damaged_ledger_is_refused_and_never_guessed_at(tmp_path, bad):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).charge(steps(0, 3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + bad + lines[2])
    with pytest.raises(ValueError, match=r"line 2 is not a release.*restore it from a copy"):
        Ledger(path)


def test_a_ledger_belongs_to_one_data_set():
    ledger = Ledger()
    ledger.charge([release()])
    with pytest.raises(ValueError, match="records releases of task 't', not of 'other'"):
        ledger.charge([release(run="x", task="other")])
    assert len(ledger) == 1


def test_a_run_without_noise_spends_everything():
    ledger = Ledger()
    ledger.charge([release(sigma=0.0)])
    assert ledger.epsilon(DELTA) == math.inf


# ---- with real runs -------------------------------------------------------------------------------------------

TASK = linear_task()


class Watched(Ledger):
    """A ledger that keeps its releases, for a test to look at."""

    def __init__(self, path=None) -> None:
        self.kept: list[Release] = []
        super().__init__(path)

    def charge(self, releases):
        releases = list(releases)
        self.kept += [r for r in releases if r not in self]
        return super().charge(releases)


def test_a_run_records_every_step_of_every_participant():
    """Row 12: K·R_i entries a client, whoever joined how often."""
    ledger, settings_ = Watched(), replace(FAST, participation=0.5, rounds=3)
    records = list(federated_rounds(TASK, METHODS["la-lora"], settings_, ledger=ledger))
    joined = Counter(client for r in records for client in r.participants)
    counts = Counter(release.client for release in ledger.kept)
    assert {client: 2 * times for client, times in joined.items()} == counts
    assert len({release.key for release in ledger.kept}) == len(ledger.kept) == len(ledger)
    for client, epsilon in enumerate(records[-1].epsilons):
        sigma = records[-1].noise_multipliers[client]
        assert epsilon == composed_epsilon(merged([(0.3, sigma, counts[client])]), DELTA)


def test_different_rates_are_kept_apart():
    """Row 12: with a batch size, each client has its own q and its own σ."""
    ledger, settings_ = Watched(), replace(FAST, sample_rate=None, batch_size=2, dirichlet_beta=0.5, rounds=1, seed=1)
    [r] = federated_rounds(linear_task(), METHODS["dp-lora"], settings_, ledger=ledger)
    by_client = {c: {(x.sample_rate, x.noise_multiplier) for x in ledger.kept if x.client == c} for c in range(4)}
    assert all(len(pairs) == 1 for pairs in by_client.values())
    assert len({q for pairs in by_client.values() for q, _ in pairs}) > 1
    for client, [(q, sigma)] in by_client.items():
        assert sigma == r.noise_multipliers[client]
        assert all(x.divisor == pytest.approx(2.0) for x in ledger.kept if x.client == client)
        assert 0.98 * 3 <= composed_epsilon(((q, sigma, 2),), DELTA) <= 3
    order = sorted(by_client, key=lambda client: next(iter(by_client[client])))
    sigmas = [r.noise_multipliers[client] for client in order]
    assert sigmas == sorted(sigmas)  # who samples more often needs more noise


def test_an_empty_draw_is_charged_like_any_other():
    """Row 8: nobody draws anyone, and every step is on record."""
    ledger = Ledger()
    rare = replace(FAST, sample_rate=1e-9, epsilon=0.5, rounds=1)
    [r] = federated_rounds(TASK, METHODS["la-lora"], rare, ledger=ledger)
    assert len(ledger) == 4 * 2
    assert all(norm > 0 for norm in r.update_norms.values())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("moment", [0, 1, 5, 9, 15])
def test_whenever_a_run_is_stopped_at_least_as_much_is_on_record_as_was_released(tmp_path, moment, error):
    """Row 14, at the moments where something has just been released."""
    seen = []

    def observe(client, round, step, value):
        seen.append((client, round, step))
        if len(seen) > moment:
            raise error

    path = tmp_path / "ledger.jsonl"
    with pytest.raises(error):
        list(federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=Ledger(path), observe=observe))
    recorded = {(r.client, r.round, r.step) for r in ledger_module.read(path)}
    assert set(seen) <= recorded and len(seen) == moment + 1


@pytest.mark.parametrize("place", ["gaussian", "poisson_draw", "clipped_sum"])
def test_whenever_a_step_fails_its_round_is_on_record(tmp_path, monkeypatch, place):
    """Row 14, inside the step: before the draw, the clip and the noise."""

    def fails(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(local, place, fails)
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(KeyboardInterrupt):
        list(federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=Ledger(path)))
    assert {(r.round, r.client, r.step) for r in ledger_module.read(path)} == {
        (1, client, step) for client in range(4) for step in (1, 2)
    }


def test_nothing_is_drawn_when_the_ledger_cannot_be_written(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(local, "poisson_draw", lambda *given: drawn.append(given))

    def full(file):
        raise OSError("disk full")

    monkeypatch.setattr(files, "flush_to_disk", full)
    with pytest.raises(OSError, match="disk full"):
        list(federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=Ledger(tmp_path / "l.jsonl")))
    assert drawn == []


def test_over_budget_is_refused_before_a_sample_is_drawn(monkeypatch):
    """Row 15: the round whose last step would pass the target never starts."""
    drawn = []
    plain = local.poisson_draw
    monkeypatch.setattr(local, "poisson_draw", lambda *given: drawn.append(1) or plain(*given))
    ledger = Ledger()
    walk = federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=ledger)
    first = next(walk)
    assert len(drawn) == 8
    shard = first.state.identity["shards"]
    ledger.charge(
        [release(0, 1, k, q=0.3, sigma=2.0, run="elsewhere", shard=shard, task="linear") for k in range(1, 9)]
    )
    held = len(ledger)
    with pytest.raises(BudgetExceeded, match=r"round 2 would bring client 0 to ε=\d.*past the target epsilon=3"):
        next(walk)
    assert len(drawn) == 8 and len(ledger) == held
    assert list(walk) == []


def test_a_second_run_leaves_room_for_the_first_and_a_third_finds_nothing_left(monkeypatch):
    drawn = []
    plain = local.poisson_draw
    monkeypatch.setattr(local, "poisson_draw", lambda *given: drawn.append(1) or plain(*given))
    ledger, whole = Ledger(), replace(FAST, sample_rate=1.0)  # everybody: the accountant is quickest there
    [*_, first] = federated_rounds(TASK, METHODS["la-lora"], replace(whole, epsilon=1.0), ledger=ledger)
    [*_, second] = federated_rounds(TASK, METHODS["dp-lora"], replace(whole, seed=9), ledger=ledger)
    assert first.epsilon <= 1.0 < 0.98 * 3 <= second.epsilon <= 3.0
    sigmas = (first.noise_multiplier, second.noise_multiplier)
    assert sigmas[1] > noise_multiplier(3.0, DELTA, 1.0, 4)
    assert second.epsilon == composed_epsilon(merged([(1.0, sigma, 4) for sigma in sigmas]), DELTA)
    count = len(drawn)
    with pytest.raises(BudgetExceeded, match=r"epsilon=3\.0 is spent: earlier runs.*add"):
        list(federated_rounds(TASK, METHODS["la-lora"], replace(whole, seed=10), ledger=ledger))
    assert len(drawn) == count


def test_a_run_without_noise_leaves_no_budget_to_a_private_one():
    ledger = Ledger()
    list(federated_rounds(TASK, METHODS["la-lora"], replace(FAST, epsilon=math.inf), ledger=ledger))
    with pytest.raises(BudgetExceeded, match="cost inf"):
        list(federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=ledger))


def test_a_replay_after_another_run_is_the_very_same_release():
    """Another run in between asks for more noise; the same noise at another σ would give the gradient away."""
    ledger, seen = Ledger(), []
    low = replace(FAST, epsilon=2.0, sample_rate=1.0)
    other = replace(low, epsilon=1.9, seed=9)

    def keep(*release):
        seen.append(release)

    next(federated_rounds(TASK, METHODS["la-lora"], low, ledger=ledger, observe=keep))
    [*_] = federated_rounds(TASK, METHODS["la-lora"], other, ledger=ledger)
    first, held = list(seen), len(ledger)
    seen.clear()
    next(federated_rounds(TASK, METHODS["la-lora"], low, ledger=ledger, observe=keep))
    assert len(ledger) == held  # nothing charged, so nothing new may have been released
    assert all(
        left[:3] == right[:3] and torch.equal(left[3], right[3]) for left, right in zip(first, seen, strict=True)
    )


def test_the_last_round_of_a_calibrated_run_is_not_refused():
    records = list(federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=Ledger()))
    assert len(records) == FAST.rounds
    assert 0.98 * FAST.epsilon <= records[-1].epsilon <= FAST.epsilon
    assert [r.epsilon for r in records] == sorted(r.epsilon for r in records)


@pytest.mark.parametrize("changes", [{}, {"participation": 0.5, "rounds": 3}], ids=["all", "some"])
def test_epsilon_never_falls_and_never_passes_its_target(changes):
    """Of each client, round by round; who sat out spends nothing."""
    records = list(federated_rounds(TASK, METHODS["la-lora"], replace(FAST, **changes)))
    before = (0.0,) * FAST.clients
    for r in records:
        for client, (old, new) in enumerate(zip(before, r.epsilons, strict=True)):
            assert new > old if client in r.participants else new == old
        assert r.epsilon == max(r.epsilons) <= FAST.epsilon
        before = r.epsilons


def test_epsilon_comes_from_the_ledger_and_not_from_the_plan(monkeypatch):
    ledger = Ledger()
    records = list(federated_rounds(TASK, METHODS["la-lora"], FAST, ledger=ledger))
    for r in records:
        done = composed_epsilon(((0.3, r.noise_multiplier, 2 * r.round),), DELTA)
        assert r.epsilon == done and r.epsilons == (done,) * 4
    monkeypatch.setattr(federated, "charge", lambda run, t: None)
    [r, _] = federated_rounds(TASK, METHODS["la-lora"], replace(FAST, seed=5), ledger=Ledger())
    assert r.epsilon == 0.0


def test_who_was_costliest_alone_need_not_be_so_together():
    """A run split otherwise counts with rows that no choice of client can exceed, whatever else was released."""
    ledger, many, few = Ledger(), (0.001, 0.6), (1.0, 40.0)
    mixed = [release(0, 1, k, run="one", shard="old", q=many[0], sigma=many[1]) for k in range(300)]
    mixed += [release(1, 1, k, run="one", shard="old", q=few[0], sigma=few[1]) for k in range(60)]
    ledger.charge(mixed)
    counted = ledger.composition(0, "two", "new")
    for alone in ((*many, 300), (*few, 60)):
        beside = (0.001, 0.6, 10_000)
        assert composed_epsilon(merged([*counted, beside]), DELTA, False) >= composed_epsilon(
            merged([alone, beside]), DELTA, False
        )
