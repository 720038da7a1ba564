"""The audit: canaries that are what ε speaks of, the likelihood ratio against torch's own, right and wrong loops."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

import lalora_kit
from lalora_kit import local
from lalora_kit.auditing.attack import audit
from lalora_kit.auditing.canaries import FEATURES, HELD, Server, canary, ordinary_task, with_canaries
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.records import SEED_KNOWN
from lalora_kit.settings import Settings
from tests.faults import epsilon_is_not_contradicted
from tests.tiny import random_adapter

LA = METHODS["la-lora"]
SMALL = Settings(
    epsilon=3.0, delta=1e-3, clients=6, rounds=2, local_steps=2, rank=2, sample_rate=1.0, learning_rate=0.01,
    head_learning_rate=0.01, seed=0,
)  # fmt: skip


def ordinary(clients: int = 6):
    return ordinary_task(clients, np.random.default_rng(0))


# ---- the virtual clients ----------------------------------------------------------------------------------------


def test_a_blank_is_the_neighbour_and_a_canary_is_longer_than_C():
    """Zeroed out, in every factor and in the head: which is a neighbour; at any adapter."""
    plan = make_plan(ordinary(), LA, SMALL, Ledger())
    held = np.array([True, False] * 3)
    task = with_canaries(ordinary(), plan.shards, held)
    first = torch.tensor([int(shard[0]) for shard in plan.shards])
    batch = task.train.select(first)
    engine = Engine(task, 1.0)
    for adapter in (plan.start, random_adapter(task, 2, 1.0, seed=1)):
        local_stack = stack(adapter, 1)
        for kinds in ("", "A", "B", "AB"):
            keys = local_stack.keys(kinds)
            [(_, gradients)] = engine.gradients(local_stack, keys, batch.inputs, batch.labels, torch.zeros(6).long())
            norms = torch.cat([g.flatten(1) for g in gradients], dim=1).norm(dim=1)
            assert not norms[1::2].any() and norms[::2].all()
            assert adapter is not plan.start or (norms[::2] > 3 * SMALL.clip_norm).all()


def test_a_canary_has_its_feature_to_itself_and_nothing_else_differs():
    plan = make_plan(ordinary(), LA, SMALL, Ledger())
    held = np.array([True, True, False, False, True, False])
    one, other = (with_canaries(ordinary(), plan.shards, mask) for mask in (held, ~held))
    assert all(len(shard) == HELD for shard in plan.shards)
    assert ((one.train.inputs["input"][:, 0] != 0).sum(), (other.train.inputs["input"][:, 0] != 0).sum()) == (3, 3)
    rows = (one.train.inputs["input"] != other.train.inputs["input"]).any(1).nonzero()[:, 0]
    assert set(rows.tolist()) == {int(shard[0]) for shard in plan.shards}
    assert torch.equal(one.train.labels, other.train.labels)
    # Who holds which row does not depend on what is in it: the attacker's plan is the loop's.
    again = make_plan(one, LA, SMALL, Ledger())
    assert all((a == b).all() for a, b in zip(again.shards, plan.shards, strict=True))
    assert (again.sigmas, again.schedule) == (plan.sigmas, plan.schedule)


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("kinds", ["B", "A"])
def test_the_score_is_the_log_likelihood_ratio(rate, kinds):
    """Along the canary's gradient, release·divisor is N(0, σ²C²), or moved by ‖signal‖ with probability q."""
    task = ordinary()
    method = replace(LA, trains=lambda t, k: frozenset(kinds))
    plan = replace(make_plan(task, method, SMALL, Ledger()), rates=(rate,) * 6, sigmas=(0.7,) * 6, clip_norm=1.5)
    server = Server(method, plan, Engine(task, 1.0))
    signal = server.signal(tuple(plan.start.keys(kinds)))
    length = float(signal.norm())
    assert length == pytest.approx(1.5, rel=1e-5)
    release = torch.randn(len(signal), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    server.observe(2, 1, 1, release)
    server.observe(2, 1, 2, release)
    seen = (release @ signal) / length * rate * HELD
    noise = torch.tensor([0.7 * 1.5, 0.7 * 1.5]).double()
    mixed = MixtureSameFamily(
        Categorical(torch.tensor([1 - rate, rate])), Normal(torch.tensor([0.0, length]).double(), noise)
    )
    ratio = mixed.log_prob(seen) - Normal(0.0, noise[0]).log_prob(seen)
    assert server.scores.tolist() == pytest.approx([0, 0, 2 * float(ratio), 0, 0, 0], rel=1e-6)
    assert server.heard == 2


def test_the_attacker_follows_the_model_that_is_sent():
    task = ordinary()
    plan = make_plan(task, LA, SMALL, Ledger())
    server = Server(LA, plan, Engine(task, 1.0))
    keys = tuple(plan.start.keys("A"))
    before = server.signal(keys)
    assert not before[: 2 * FEATURES].any(), "while B is zero, A's gradient is, and the head carries the canary"
    server.broadcast(random_adapter(task, 2, 1.0, seed=1))
    after = server.signal(keys)
    assert after[: 2 * FEATURES].any() and float(after.norm()) <= 1.0
    assert canary().inputs["input"].shape == (1, FEATURES)


# ---- the audit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_as_it_is_keeps_its_claim(method):
    """At 99.9 %: a right loop is contradicted once in a thousand times at most. Seed 1."""
    found = epsilon_is_not_contradicted(seed=1, method=method)
    assert found.epsilon_lower > 0.2, "the attack sees nothing, so that passing it says nothing"
    assert 0.99 * 3 < found.epsilon <= 3 and found.method == method


def test_a_wrong_loop_is_caught_by_a_hook_and_the_ledger_does_not_know():
    """As a notebook does it: `rounds=` takes any loop."""

    def without_noise(task, method, settings, **options):
        with patch.object(local, "gaussian", lambda size, scale, stream: torch.zeros(size, dtype=torch.float64)):
            yield from federated_rounds(task, method, settings, **options)

    right = audit(LA, trials=1000, seed=0, confidence=0.95)
    wrong = audit(LA, trials=1000, seed=0, confidence=0.95, rounds=without_noise)
    assert wrong.epsilon == right.epsilon and wrong.noise_multiplier == right.noise_multiplier
    assert wrong.contradicts and wrong.saturated and (wrong.tpr, wrong.fpr) == (1.0, 0.0)
    assert not right.contradicts and not right.saturated
    assert wrong.epsilon_lower == wrong.ceiling
    assert "≥" in str(wrong) and "CONTRADICTED" in str(wrong) and "proves nothing" in str(right)
    assert right.scores[right.held].mean() > right.scores[~right.held].mean()
    assert right.held.sum() == 500


def test_more_noise_shows_less():
    lower = {epsilon: audit(LA, epsilon=epsilon, seed=3, trials=1000).epsilon_lower for epsilon in (0.5, 30.0)}
    assert lower[0.5] < 0.5 < lower[30.0]


def test_a_rate_below_one_is_audited_too():
    found = audit(METHODS["ffa-lora"], epsilon=8.0, sample_rate=0.3, trials=1000, seed=0)
    assert 0 < found.epsilon_lower <= found.epsilon <= 8.0


def test_the_same_seed_is_the_same_audit_and_none_is_another_each_time():
    one, two = (audit(LA, trials=100, seed=5) for _ in range(2))
    assert (one.scores == two.scores).all() and (one.held == two.held).all()
    fresh = [audit(LA, trials=100) for _ in range(2)]
    assert not (fresh[0].scores == fresh[1].scores).any()
    assert one.to_json().keys() >= {"epsilon_lower", "confidence", "epsilon", "seconds"}
    assert not {"scores", "held"} & one.to_json().keys() and json.dumps(one.to_json())


def test_trials_need_not_fill_a_crowd(monkeypatch):
    """Federations of unequal size, with whatever share of canaries fell to each."""
    monkeypatch.setattr("lalora_kit.auditing.attack.CROWD", 48)
    found = audit(LA, trials=130, seed=0)
    assert found.scores.shape == found.held.shape == (130,) and found.held.sum() == 65 and found.trials == 130
    assert (found.scores != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": math.inf}, r"epsilon=inf is not possible: without noise nothing is claimed"),
        ({"epsilon": math.nan}, r"epsilon=nan is not possible: it must be a number"),
        ({"epsilon": 0.0}, r"epsilon=0\.0 is not possible"),
        ({"delta": 0.5}, r"delta=0\.5 is larger than one over a client's 8 samples"),
        ({"trials": 98}, r"trials=98 is not possible.*at least 100"),
        ({"trials": 101}, r"trials=101 is not possible: half of them hold the canary; use 102"),
        ({"trials": 10**9}, r"trials=1000000000 is not possible.*at most"),
        ({"trials": 100.0}, r"trials=100\.0 is not possible: it must be a whole number"),
        ({"confidence": 1.0}, r"confidence=1\.0 is not possible: it is a probability"),
        ({"confidence": 0.5}, r"confidence=0\.5 is not possible"),
        ({"sample_rate": 1.5}, r"sample_rate=1\.5 is not possible"),
        ({"seed": -1}, r"seed=-1 is not possible"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(options, message, monkeypatch):
    monkeypatch.setattr(local, "poisson_draw", lambda *given: pytest.fail("drew a sample"))
    with pytest.raises(ValueError, match=message):
        audit(LA, **options)


def test_a_loop_that_hides_its_releases_or_its_ledger_is_refused():
    def hides(task, method, settings, **options):
        return federated_rounds(task, method, settings)

    with pytest.raises(ValueError, match="put 0 releases on record and showed 0 to the observer"):
        audit(LA, trials=100, seed=0, rounds=hides)


def test_the_public_names():
    assert lalora_kit.audit is audit and lalora_kit.AuditResult is type(audit(LA, trials=100, seed=0))


# ---- the command ------------------------------------------------------------------------------------------------


def test_the_command_prints_what_it_found(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lalora", "audit", "--trials", "100", "--seed", "0"])
    run_command()
    out, err = capsys.readouterr()
    for word in ("epsilon_lower", "confidence 0.99", "epsilon 2.99", SEED_KNOWN, "this attack cannot tell at this ε"):
        assert word in out
    assert err == ""
    monkeypatch.setattr("sys.argv", ["lalora", "audit", "--trials", "100", "--seed", "0", "--json"])
    run_command()
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["method"] == "la-lora" and found["epsilon_lower"] <= found["epsilon"] <= 3
    assert SEED_KNOWN in err


def run_command() -> None:
    from lalora_kit.cli.app import main

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "7"], "trials=7 is not possible"),
        (["--epsilon", "inf"], "epsilon=inf is not possible"),
        (["--method", "lalora"], "did you mean 'la-lora'"),
        (["--confidence", "2"], "confidence=2.0 is not possible"),
        (["--delta", "0"], "delta=0.0 is not possible"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments, words, capsys, monkeypatch):
    from lalora_kit.cli.app import main

    monkeypatch.setattr("sys.argv", ["lalora", "audit", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and words in err and err.count("\n") == 1
