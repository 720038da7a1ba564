"""The loop: against SGD worked by hand, reproducible, resumable, and fed by nothing but noised releases."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lalora_kit import federated, local
from lalora_kit import plan as plan_module
from lalora_kit.base import threefry
from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, federated_rounds, rounds
from lalora_kit.methods import METHODS
from lalora_kit.methods.optimisers import Optimisers
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, composed_epsilon, noise_multiplier
from lalora_kit.records import NO_NOISE, SEED_KNOWN, Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task
from tests.tiny import FAST, distance, identical, linear_task, roberta_task, swin_task, vit_task

TASK = linear_task()
LA = METHODS["la-lora"]
FREE = replace(FAST, epsilon=math.inf)
#: Everybody, every time, unclipped, without noise: private training becomes gradient descent.
DESCENT = replace(FREE, clients=1, sample_rate=1.0, clip_norm=1e6, rounds=1)


def run_all(method=LA, settings: Settings = FAST, task: Task = TASK, **options) -> list[Round]:
    return list(federated_rounds(task, method, settings, **options))


def same(left: Round, right: Round) -> bool:
    """Equal bit for bit, times aside."""
    shown = [{**r.to_json(), "seconds": None} for r in (left, right)]
    return shown[0] == shown[1] and identical(left.adapter, right.adapter) and left.teaching == right.teaching


# ---- by hand --------------------------------------------------------------------------------------------------


def smooth_by_hand(values: np.ndarray, axis: int) -> np.ndarray:
    widths = [(2, 2) if a == axis % values.ndim else (0, 0) for a in range(values.ndim)]
    padded = np.pad(values, widths, mode="symmetric")
    return np.apply_along_axis(lambda v: np.convolve(v, np.array([1, 4, 6, 4, 1]) / 16, mode="valid"), axis, padded)


def gradients_by_hand(task: Task, p: dict[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    """Mean gradients of the cross-entropy of head(tanh((W0 + s·B·A)x + b)), by the chain rule in NumPy."""
    body = task.backbone.body
    X, y = task.train.inputs["x"].double().numpy(), task.train.labels.numpy()
    W = body.weight.double().numpy() + scale * p["B"] @ p["A"]
    H = np.tanh(X @ W.T + body.bias.double().numpy())
    scores = H @ p["w"].T + p["b"]
    chance = np.exp(scores - scores.max(1, keepdims=True))
    chance /= chance.sum(1, keepdims=True)
    error = (chance - np.eye(len(p["b"]))[y]) / len(y)
    G = ((error @ p["w"]) * (1 - H**2)).T @ X  # ∂L/∂W
    return {"A": scale * p["B"].T @ G, "B": scale * G @ p["A"].T, "w": error.T @ H, "b": error.sum(0)}


@pytest.mark.parametrize(("method", "steps"), [("la-lora", 2), ("la-lora", 5), ("dp-lora", 3), ("ffa-lora", 2)])
def test_without_noise_and_clip_one_client_does_sgd_worked_by_hand(method, steps):
    settings = replace(DESCENT, local_steps=steps, rank=2, alpha=3.0, learning_rate=0.4, head_learning_rate=0.7)
    start = make_plan(TASK, METHODS[method], settings, Ledger()).start
    names = {"A": ("A", "body"), "B": ("B", "body"), "w": ("head", "weight"), "b": ("head", "bias")}
    p = {name: start.tensors[key].double().numpy().copy() for name, key in names.items()}
    for k in range(1, steps + 1):
        g = gradients_by_hand(TASK, p, scale=1.5)
        moved = {"la-lora": "B" if k % 2 else "A", "dp-lora": "AB", "ffa-lora": "B"}[method]
        for factor in moved:
            smoothed = smooth_by_hand(g[factor], -1 if factor == "A" else -2) if method == "la-lora" else g[factor]
            p[factor] = p[factor] - 0.4 * smoothed
        p["w"], p["b"] = p["w"] - 0.7 * g["w"], p["b"] - 0.7 * g["b"]
    [r] = run_all(METHODS[method], settings)
    for name, key in names.items():
        np.testing.assert_allclose(r.adapter.tensors[key].double().numpy(), p[name], rtol=2e-5, atol=1e-6)


def test_learning_rates_decay_by_the_round_and_the_head_has_its_own():
    """Constant unit gradients: each round moves the factors by rate · decay^(t−1)."""
    settings = replace(FREE, lr_decay=0.5, learning_rate=0.4, head_learning_rate=0.2, rounds=3)
    for t, factor in ((1, 1.0), (2, 0.5), (3, 0.25)):
        stacked = Adapter({("B", "body"): torch.zeros(2, 5, 2), ("head", "bias"): torch.zeros(2, 3)}, 1.0)
        ones = {key: torch.ones_like(value) for key, value in stacked.tensors.items()}
        Optimisers(stacked, settings, t).apply(ones, METHODS["dp-lora"])
        torch.testing.assert_close(stacked.tensors["B", "body"], torch.full((2, 5, 2), -0.4 * factor))
        torch.testing.assert_close(stacked.tensors["head", "bias"], torch.full((2, 3), -0.2 * factor))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_moves_only_what_is_active(optimizer):
    settings = replace(FREE, weight_decay=0.1, learning_rate=0.5, head_learning_rate=0.5, optimizer=optimizer)
    keys = [("A", "body"), ("B", "body"), ("head", "bias")]
    stacked = Adapter({key: torch.ones(2, 4, 4) for key in keys}, 1.0)
    zero = {key: torch.zeros(2, 4, 4) for key in keys if key[0] != "A"}
    Optimisers(stacked, settings, 1).apply(zero, METHODS["dp-lora"])
    assert torch.equal(stacked.tensors["A", "body"], torch.ones(2, 4, 4))
    torch.testing.assert_close(stacked.tensors["B", "body"], torch.full((2, 4, 4), 0.95))


def test_adamw_does_not_count_the_steps_of_a_factor_at_rest():
    """After B, B, B the first step of A is AdamW's first: −rate · sign(g), bias-corrected as such."""
    settings = replace(FREE, optimizer="adamw", learning_rate=0.01)
    stacked = Adapter({("A", "body"): torch.zeros(1, 2, 6), ("B", "body"): torch.zeros(1, 5, 2)}, 1.0)
    optimisers = Optimisers(stacked, settings, 1)
    for _ in range(3):
        optimisers.apply({("B", "body"): torch.full((1, 5, 2), 3.0)}, METHODS["dp-lora"])
    optimisers.apply({("A", "body"): torch.full((1, 2, 6), -7.0)}, METHODS["dp-lora"])
    torch.testing.assert_close(stacked.tensors["A", "body"], torch.full((1, 2, 6), 0.01))


def test_adamw_is_torchs_own_for_each_client():
    settings = replace(FREE, optimizer="adamw", weight_decay=0.02, rounds=1, local_steps=3, learning_rate=0.05)
    seen: list[tuple[int, int, Tensor]] = []
    [r] = run_all(METHODS["dp-lora"], settings, observe=lambda c, t, k, v: seen.append((c, k, v)))
    plan = make_plan(TASK, METHODS["dp-lora"], settings, Ledger())
    uploads = []
    for client in range(4):
        tensors = {key: value.clone() for key, value in plan.start.tensors.items()}
        keys = plan.start.keys({"A", "B"})
        groups = [{"params": [tensors[key]], "lr": 0.2 if key[0] == "head" else 0.05} for key in keys]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
        for step in range(1, 4):
            [flat] = [value for c, k, value in seen if (c, k) == (client, step)]
            parts = flat.split([tensors[key].numel() for key in keys])
            for key, part in zip(keys, parts, strict=True):
                tensors[key].grad = part.reshape(tensors[key].shape).float()
            optimiser.step()
        uploads.append(Adapter(tensors, 1.0))
    expected = average(plan.start, uploads, plan.weights(range(4)), frozenset("AB"))
    assert distance(r.adapter, expected) < 1e-6


# ---- only releases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_made_of_nothing_but_the_noised_releases(method):
    """Replaying the observed releases alone, without any data, gives the same adapter."""
    chosen, seen = METHODS[method], {}
    settings = replace(FAST, participation=0.7, lr_decay=0.9)

    def observe(client, t, k, value):
        assert (client, t, k) not in seen
        seen[client, t, k] = value

    records = run_all(chosen, settings, observe=observe)
    plan = make_plan(TASK, chosen, settings, Ledger())
    server = plan.start
    for r in records:
        uploads = []
        for client in r.participants:
            mine = server
            for k in (1, 2):
                keys = server.keys(chosen.trains(r.round, k))
                parts = seen.pop((client, r.round, k)).split([mine.tensors[key].numel() for key in keys])
                for key, part in zip(keys, parts, strict=True):
                    gradient = part.reshape(mine.tensors[key].shape).float()
                    rate = 0.9 ** (r.round - 1) * (0.2 if key[0] == "head" else 0.3)
                    step = gradient if key[0] == "head" else chosen.smooth(gradient, key[0])
                    mine = mine.with_tensors({key: mine.tensors[key] - rate * step})
            uploads.append(mine)
        sizes = [len(plan.shards[client]) for client in r.participants]
        weights = [size / sum(sizes) for size in sizes]
        server = average(server, uploads, weights, chosen.trained_in(r.round, 2))
        assert distance(r.adapter, server) < 1e-6
    assert not seen


def test_releases_are_clipped_sums_plus_keyed_noise_over_a_constant():
    """σ=0 leaves norms of at most C·|S|/b; the private run differs from it by exactly its own noise."""
    from lalora_kit.privacy import gaussian

    quiet, noisy = [], []
    settings = replace(FAST, rounds=1, clip_norm=0.5)
    plan = make_plan(TASK, LA, settings, Ledger())
    run = Run(TASK, LA, settings, plan, Engine(TASK, 1.0), Ledger(), lambda c, t, k, v: noisy.append((c, k, v)))
    list(rounds(run))
    still = replace(plan, sigmas=(0.0,) * 4)
    list(rounds(replace(run, plan=still, settings=replace(settings, epsilon=math.inf), ledger=Ledger(),
                        observe=lambda c, t, k, v: quiet.append((c, k, v)))))  # fmt: skip
    for (c, k, private), (_, _, plain) in zip(noisy[:4], quiet[:4], strict=True):  # the first step: same factors
        noise = gaussian(len(private), plan.sigmas[c] * 0.5, plan.streams.generator("noise", c, 1, k))
        torch.testing.assert_close(private - plain, noise / plan.divisor(c), rtol=1e-9, atol=1e-12)
        assert plan.divisor(c) == pytest.approx(0.3 * len(plan.shards[c]))


# ---- the same again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [linear_task, swin_task, roberta_task], ids=["linear", "swin", "roberta"])
def test_the_same_seed_gives_the_same_records_bit_for_bit(make):
    settings = replace(FAST, teaching=True)
    one, two = run_all(LA, settings, make()), run_all(LA, settings, make())
    assert all(same(left, right) for left, right in zip(one, two, strict=True))
    other = run_all(LA, replace(settings, seed=1), make())
    assert not any(same(left, right) for left, right in zip(one, other, strict=True))


@pytest.mark.parametrize("max_samples", [1, 3, 1000])
@pytest.mark.parametrize("make", [linear_task, swin_task, vit_task], ids=["linear", "swin", "vit"])
def test_the_chunk_size_moves_the_factors_by_rounding_only(make, max_samples):
    settings = replace(FAST, rounds=1)
    [whole], [chunked] = run_all(LA, settings, make()), run_all(LA, replace(settings, max_samples=max_samples), make())
    assert distance(chunked.adapter, whole.adapter) <= 1e-5


@pytest.mark.parametrize("make", [linear_task, swin_task], ids=["linear", "swin"])
def test_clients_one_after_another_are_the_clients_together(make):
    """Each client alone in its round, then the server's mean by hand, against one ragged batch of all."""
    task, settings = make(), replace(FAST, rounds=1, dirichlet_beta=1.0, seed=2)
    plan = make_plan(task, LA, settings, Ledger())
    sizes = [len(shard) for shard in plan.shards]
    assert len(set(sizes)) > 1

    def result(schedule) -> Adapter:
        changed = replace(plan, schedule=schedule)
        [r] = rounds(Run(task, LA, settings, changed, Engine(task, 1.0), Ledger(), None))
        return r.adapter

    together = result(((0, 1, 2, 3),))
    alone = [result(((client,),)) for client in range(4)]
    expected = average(plan.start, alone, [size / sum(sizes) for size in sizes], frozenset("AB"))
    assert distance(expected, together) <= 1e-5
    assert distance(result(((3, 1, 0, 2),)), together) <= 1e-5
    assert distance(alone[0], together) > 1e-2  # the comparison can fail


def test_without_a_seed_every_run_is_another_and_the_secret_stays_hidden():
    settings = replace(FREE, seed=None, rounds=1)
    [one], [two] = run_all(LA, settings), run_all(LA, settings)
    assert not identical(one.adapter, two.adapter)
    assert one.state.secret != two.state.secret and len(one.state.secret) == 32
    for shown in (repr(one), repr(one.state), str(one.to_json()), repr(make_plan(TASK, LA, settings, Ledger()))):
        assert repr(one.state.secret) not in shown and one.state.secret.hex() not in shown
        assert "secret=" not in shown
    assert "state" not in one.to_json() and "adapter" not in one.to_json()


def test_cautions():
    assert run_all(LA, FREE)[0].caution == NO_NOISE
    assert run_all(LA, replace(FREE, seed=None))[0].caution == NO_NOISE
    assert run_all(LA, FAST)[0].caution == SEED_KNOWN
    assert run_all(LA, replace(FAST, seed=None))[0].caution == ""
    assert SEED_KNOWN == "seed known: reproducible, not private" and "not private" in NO_NOISE


def test_infinite_epsilon_is_no_noise_and_null_in_json():
    seen = []
    records = run_all(LA, FREE, observe=lambda c, t, k, v: seen.append(v))
    for r in records:
        assert r.epsilon == math.inf and r.noise_multiplier == 0.0
        assert r.to_json()["epsilon"] is None
    # No noise: without a drawn sample there would be nothing at all.
    none = replace(FREE, sample_rate=1e-12)
    kept = []
    run_all(LA, none, observe=lambda c, t, k, v: kept.append(v))
    assert not any(value.any() for value in kept) and any(value.any() for value in seen)


def test_what_is_not_private_is_recorded_only_when_asked_for():
    quiet, taught = run_all(LA, FAST), run_all(LA, replace(FAST, teaching=True))
    for left, right in zip(quiet, taught, strict=True):
        assert left.teaching is None and right.teaching is not None
        assert 0 <= right.teaching.clip_fraction <= 1 and right.teaching.batch > 0
        assert right.teaching.signal_to_noise > 0
        assert identical(left.adapter, right.adapter)
        assert "teaching" not in right.to_json() and "clip_fraction" not in str(right.to_json())


def test_closing_early_leaves_nothing_behind(tmp_path):
    path = tmp_path / "ledger.jsonl"
    walk = federated_rounds(TASK, LA, FAST, ledger=Ledger(path))
    first = next(walk)
    walk.close()
    assert list(walk) == []
    assert len(Ledger(path)) == 4 * 2  # the round that was made, and no other
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.jsonl"]
    assert torch.is_grad_enabled()
    assert same(first, run_all(LA, FAST)[0])


def test_nothing_happens_before_the_first_round_is_asked_for(monkeypatch):
    monkeypatch.setattr(local, "poisson_draw", lambda *given: pytest.fail("drew a sample"))
    ledger = Ledger()
    federated_rounds(TASK, LA, FAST, ledger=ledger)
    assert len(ledger) == 0


# ---- who joins, and how often -----------------------------------------------------------------------------------


def test_partial_participation_is_charged_and_calibrated_by_the_rounds_joined():
    settings = replace(FAST, clients=5, participation=0.4, rounds=4, seed=4)
    records = run_all(LA, settings)
    joined = Counter(client for r in records for client in r.participants)
    assert all(len(r.participants) == 2 for r in records)
    most = max(joined.values())
    assert most < 4  # else this seed tests nothing
    assert records[-1].noise_multipliers == (noise_multiplier(3.0, 1e-3, 0.3, most * 2),) * 5
    for client, epsilon in enumerate(records[-1].epsilons):
        row = (0.3, records[-1].noise_multiplier, joined[client] * 2)
        assert epsilon == (composed_epsilon((row,), 1e-3) if joined[client] else 0.0)
    assert 0.98 * 3 <= records[-1].epsilon <= 3


def test_the_schedule_is_fixed_up_front_and_independent_of_the_data():
    settings = replace(FREE, clients=6, participation=0.5, rounds=6)
    plans = [make_plan(linear_task(seed=seed), LA, settings, Ledger()) for seed in (0, 1)]
    assert plans[0].schedule == plans[1].schedule
    assert len(set(plans[0].schedule)) > 1
    assert all(len(set(clients)) == 3 and list(clients) == sorted(clients) for clients in plans[0].schedule)


def test_a_batch_size_gives_each_client_its_own_noise_and_everyone_the_target():
    settings = replace(FAST, sample_rate=None, batch_size=3, dirichlet_beta=0.7, clients=3, seed=3)
    plan = make_plan(TASK, LA, settings, Ledger())
    sizes = [len(shard) for shard in plan.shards]
    assert len(set(sizes)) == 3
    assert plan.rates == tuple(3 / size for size in sizes)
    assert sorted(plan.sigmas, reverse=True) == [plan.sigmas[c] for c in np.argsort(sizes)]
    [*_, last] = run_all(LA, settings)
    assert all(0.98 * 3 <= epsilon <= 3 for epsilon in last.epsilons)
    assert last.noise_multiplier == max(plan.sigmas)


@pytest.mark.parametrize("clients", [1, 2, 7, 33, 64])
def test_every_number_of_clients_works(clients):
    task = linear_task(samples=64)
    [r] = run_all(LA, replace(FAST, clients=clients, rounds=1), task)
    assert r.participants == tuple(range(clients)) and len(r.epsilons) == clients
    assert math.isfinite(r.loss)


# ---- resuming ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, None])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_run_is_the_uninterrupted_one(optimizer, seed):
    settings = replace(FAST, rounds=3, participation=0.6, optimizer=optimizer, seed=seed, learning_rate=0.01)
    ledger = Ledger()
    records = list(federated_rounds(TASK, LA, settings, ledger=ledger))
    for done in (0, 1):
        before = len(ledger)
        again = list(federated_rounds(TASK, LA, settings, state=records[done].state, ledger=ledger))
        assert len(ledger) == before  # a replay is not charged twice
        assert [r.round for r in again] == list(range(done + 2, 4))
        assert all(identical(l.adapter, r.adapter) for l, r in zip(again, records[done + 1 :], strict=True))
        assert {r.epsilon for r in again} == {records[-1].epsilon}  # what was released stays released


def test_a_resume_with_the_ledger_so_far_goes_on_counting():
    settings = replace(FAST, rounds=3)
    whole = run_all(LA, settings)
    ledger = Ledger()
    walk = federated_rounds(TASK, LA, settings, ledger=ledger)
    first = next(walk)
    walk.close()
    rest = list(federated_rounds(TASK, LA, settings, state=first.state, ledger=ledger))
    assert all(same(left, right) for left, right in zip([first, *rest], whole, strict=True))


def test_weights_without_their_ledger_are_refused():
    """Else the ε that they cost would be forgotten."""
    state = run_all(LA, FREE)[0].state
    for ledger in (None, Ledger()):
        with pytest.raises(ValueError, match="state is of round 1 but the ledger is empty"):
            federated_rounds(TASK, LA, FREE, state=state, ledger=ledger)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"clip_norm": 2.0}, r"settings\.clip_norm is 1\.0, not 2\.0"),
        ({"epsilon": 1.0}, r"settings\.epsilon"),
        ({"sample_rate": 0.4}, r"settings\.sample_rate"),
        ({"rounds": 5}, r"settings\.rounds"),
        ({"rank": 1}, r"settings\.rank"),
        ({"seed": 1}, "seed|shards"),
        ({"clients": 3}, "shards|clients"),
    ],
    ids=lambda part: str(part),
)
def test_a_state_of_other_settings_is_refused(changes, named):
    ledger = Ledger()
    state = next(federated_rounds(TASK, LA, FREE, ledger=ledger)).state
    with pytest.raises(ValueError, match=f"belongs to another run: its .*({named}).*start a new run"):
        federated_rounds(TASK, LA, replace(FREE, **changes), state=state, ledger=ledger)


def test_a_state_of_another_method_or_other_data_is_refused():
    ledger = Ledger()
    state = next(federated_rounds(TASK, LA, FREE, ledger=ledger)).state
    with pytest.raises(ValueError, match="its method is la-lora, not dp-lora"):
        federated_rounds(TASK, METHODS["dp-lora"], FREE, state=state, ledger=ledger)
    with pytest.raises(ValueError, match="its data is"):
        federated_rounds(linear_task(seed=1), LA, FREE, state=state, ledger=ledger)


def test_where_a_run_is_computed_is_not_what_it_is(monkeypatch):
    """Another machine may round otherwise: the run goes on there, with fresh noise, and pays for it."""
    settings = replace(FAST, rounds=3, sample_rate=1.0)
    ledger, here, there, again = Ledger(), {}, {}, {}

    def keep(place):
        return lambda c, t, k, v: place.__setitem__((c, t, k), v)

    records = run_all(LA, settings, observe=keep(here))
    walk = federated_rounds(TASK, LA, settings, ledger=ledger)
    first = next(walk)
    walk.close()
    plain = plan_module.machine_of
    monkeypatch.setattr(plan_module, "machine_of", lambda s, chunk: {**plain(s, chunk), "device": "another"})
    moved = list(federated_rounds(TASK, LA, settings, state=first.state, ledger=ledger, observe=keep(there)))
    held = len(ledger)
    assert held == 3 * 4 * 2
    assert moved[-1].epsilon <= 3
    assert all(not torch.equal(there[key], here[key]) for key in there)
    assert not identical(moved[-1].adapter, records[-1].adapter)
    # From there it resumes as itself: same releases, nothing charged.
    rest = list(federated_rounds(TASK, LA, settings, state=moved[0].state, ledger=ledger, observe=keep(again)))
    assert identical(rest[-1].adapter, moved[-1].adapter) and len(ledger) == held
    assert all(torch.equal(again[key], there[key]) for key in again)


# ---- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 6}, r"rank=6 is larger than the narrowest adapted layer \(body, 5\); choose a rank of at most 5"),
        ({"clients": 41}, r"clients=41 is more than the 40 training samples.*at most 40"),
        ({"delta": 0.2}, r"delta=0\.2 is larger than one over a client's 10 samples.*use delta below"),
        ({"sample_rate": None, "batch_size": 11}, r"batch_size=11.*client 0 has 10.*at most 10, or set sample_rate"),
        ({"local_steps": 1}, r"local_steps=1 is too few for la-lora"),
        ({"dirichlet_beta": 1e-3, "clients": 30}, r"dirichlet_beta=0\.001 left a client without samples"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_what_does_not_fit_the_task_is_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        federated_rounds(TASK, LA, replace(FAST, **changes))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_data_that_is_not_finite_is_refused_with_its_row(bad):
    x = torch.zeros(5, 6)
    x[3, 2] = bad
    broken = Split({"x": x}, torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"holds NaN or an infinity in row 3"):
        replace(TASK, train=broken)


@pytest.mark.parametrize("labels", [[0, 1, 3], [0, -1, 2], [0.0, 1.0, 2.0], [[0], [1], [2]]])
def test_bad_labels_are_refused(labels):
    with pytest.raises(ValueError, match="labels"):
        replace(TASK, test=Split({"x": torch.zeros(3, 6)}, torch.tensor(labels)))


def test_the_public_name_is_the_loop():
    import lalora_kit

    assert lalora_kit.federated_rounds is federated.federated_rounds


@pytest.mark.gpu
def test_a_run_on_cuda_is_the_run_on_the_cpu_but_for_rounding(monkeypatch):
    """The CPU draws the GPU's noise here; else each has its own."""
    monkeypatch.setattr(local, "drawn_by", lambda device: threefry.NAME)
    settings = replace(FAST, rounds=1)
    task = swin_task()
    [here], [there] = run_all(LA, settings, task), run_all(LA, replace(settings, device="cuda"), task)
    assert distance(there.adapter, here.adapter) < 1e-3
    assert there.adapter.of("B")[task.targets[0]].device.type == "cpu"
