"""The privacy core's cases: P1 (a NaN moves nobody else) and P14 (an ended run's randomness is deleted)."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lalora_kit.cli import app as cli
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, clipped_sum, summed_by_unit
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.saved import load
from lalora_kit.tasks import Task, load_task
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


def test_p1_a_unit_over_three_chunks_and_an_empty_one_is_whole_or_nothing():
    owner, units = torch.zeros(7, dtype=torch.long), torch.tensor([0, 1, 1, 1, 1, 2, 2])
    gradients = torch.arange(7.0)[:, None] + 1
    for bad in (None, 1, 2, 4):
        given_ = gradients.clone()
        if bad is not None:
            given_[bad] = math.inf
        pieces = [slice(0, 2), slice(2, 2), slice(2, 3), slice(3, 5), slice(5, 5), slice(5, 7)]
        found = list(summed_by_unit([(owner[p], [given_[p]]) for p in pieces], units))
        sums = torch.cat([part[0] for _, part in found])[:, 0]
        middle = [14.0] if bad is None else []
        assert len(sums) == 3 and sums[sums.isfinite()].tolist() == [1.0, *middle, 13.0]


def test_p1_where_every_sample_is_bad_the_sum_is_zero():
    gradients, ids = torch.full((4, 2), math.nan), torch.arange(4)
    total, norms = sums_by_unit([gradients], torch.tensor([0, 0, 1, 1]), ids, 2, 1.0, 3)
    assert total.tolist() == [[0.0, 0.0]] * 2 and norms.isnan().all()


@settings(max_examples=300, deadline=None)
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
        backbone = randomised(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)))
        task = Task.from_arrays(
            backbone, {"input": x}, labels, head="2", classes=("a", "b", "c"), units=patients, unit="patient",
            test_inputs={"input": x[:4] * 0}, test_labels=labels[:4],
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


# ---- P14: the secret goes when its run has ended ------------------------------------------------------------------

UNSEEDED = replace(FAST, seed=None, epsilon=math.inf)


def secrets_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*secret*"))


def test_p14_a_finished_run_keeps_no_secret_and_is_still_read_and_resumed(tmp_path):
    task, run = linear_task(), tmp_path / "run"
    rounds = save_rounds(task, LA_LORA, UNSEEDED, run)
    first = next(rounds)
    assert secrets_below(run) == ["secret.json"]
    last = next(rounds)  # gone before the last round is handed on, for a caller may stop there
    assert secrets_below(run) == []
    rounds.close()
    for path in run.rglob("*"):
        assert not path.is_file() or first.state.secret not in path.read_bytes()
        assert not path.is_file() or first.state.secret.hex().encode() not in path.read_bytes()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert list(save_rounds(task, LA_LORA, UNSEEDED, run, resume=True)) == []
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"} == before
    saved = load(run)
    assert saved.ended and saved.state.secret == b"" and saved.rounds[-1]["round"] == 2
    plan = make_plan(task, LA_LORA, UNSEEDED, Ledger(), saved.state)
    whole = make_plan(task, LA_LORA, UNSEEDED, Ledger(), last.state)
    assert plan.identity == whole.identity and plan.schedule == whole.schedule and plan.run == whole.run
    assert all(np.array_equal(one, two) for one, two in zip(plan.shards, whole.shards, strict=True))
    with pytest.raises(ValueError, match=r"randomness was deleted when its last round was on disk.*start a new run"):
        plan.streams.generator("noise", 0, 1, 1)


@pytest.mark.parametrize("moment", ["before", "half-written"])
def test_p14_a_crash_before_the_deletion_is_made_good_at_the_next_opening(tmp_path, monkeypatch, moment):
    from lalora_kit.runs import checkpoint

    task, run = linear_task(), tmp_path / "run"

    def crash(directory: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "forget", crash, raising=False)
        patch.setattr(checkpoint, "set_aside", lambda directory: None)
        with contextlib.suppress(KeyboardInterrupt):
            list(save_rounds(task, LA_LORA, UNSEEDED, run))
    if moment == "half-written":
        (run / "secret.json").rename(run / ".secret.json.new")
    assert secrets_below(run)
    assert list(save_rounds(task, LA_LORA, UNSEEDED, run, resume=True)) == []
    assert secrets_below(run) == []


def test_p14_a_finished_run_whose_last_state_is_damaged_says_why_it_cannot_do_it_again(tmp_path):
    task, run = linear_task(), tmp_path / "run"
    list(save_rounds(task, LA_LORA, UNSEEDED, run))
    (run / "state" / "round-000002.safetensors").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"000002.*damaged.*stays until the last round is on disk, and is deleted then"
    ):
        save_rounds(task, LA_LORA, UNSEEDED, run, resume=True)


def test_p14_a_report_is_an_opening_too(tmp_path):
    from lalora_kit.runs.results import open_run

    task, run = load_task("digits"), tmp_path / "run"
    quick = replace(UNSEEDED, rounds=1, local_steps=1, sample_rate=0.01)
    list(save_rounds(task, METHODS["head-only"], quick, run))
    (run / "secret.json").write_text('{"secret": "' + 32 * "ab" + '"}', "utf-8")
    opened = open_run(run)
    assert secrets_below(run) == [] and sum(map(len, opened.plan.shards)) == len(task.train)


def test_p14_a_run_that_another_takes_the_place_of_has_ended(tmp_path):
    """Set aside, it cannot be gone on with; nor can its baselines, nor what an older kit left in runs/."""
    task, run = linear_task(), tmp_path / "run"
    next(save_rounds(task, LA_LORA, UNSEEDED, run))
    for place in ("runs/007", "baselines/0123/pooled"):
        (run / place).mkdir(parents=True)
        (run / place / "secret.json").write_text("{}", "utf-8")
    assert len(secrets_below(run)) == 3
    next(save_rounds(task, LA_LORA, UNSEEDED, run))
    assert secrets_below(run) == ["secret.json"]
    assert (run / "runs" / "008" / "state").exists()


def test_p14_baselines_keep_no_secret_and_are_read_again(tmp_path):
    from lalora_kit.runs.results import open_run
    from lalora_kit.runs.yardsticks import yardsticks

    task, run = load_task("digits"), tmp_path / "run"
    quick = replace(UNSEEDED, rounds=1, local_steps=1, sample_rate=0.01, clients=2)
    list(save_rounds(task, METHODS["head-only"], quick, run))
    first = yardsticks(open_run(run), run)
    assert len(first) == 6 and not any(y.refused for y in first)
    assert secrets_below(run) == []
    told: list[str] = []
    assert yardsticks(open_run(run), run, told.append) == first
    assert all("trained before" in line for line in told)


def test_p14_a_finished_run_is_not_extended(tmp_path):
    """Not offered: more rounds are a new run, with fresh randomness and a charge."""
    task, run = linear_task(), tmp_path / "run"
    list(save_rounds(task, LA_LORA, UNSEEDED, run))
    longer = replace(UNSEEDED, rounds=4)
    with pytest.raises(ValueError, match=r"its settings\.rounds is 2, not 4.*start a new run"):
        save_rounds(task, LA_LORA, longer, run, resume=True)
    held = len(Ledger(run / "ledger.jsonl"))
    list(save_rounds(task, LA_LORA, longer, run))
    assert len(Ledger(run / "ledger.jsonl")) == held + 4 * 4 * 2 and secrets_below(run) == []


def test_p14_a_resume_of_a_finished_run_says_so(tmp_path, capsys, monkeypatch):
    options = ["--task", "digits", "--clients", "2", "--rounds", "1", "--local-steps", "1", "--epsilon", "inf"]
    options += ["--sample-rate", "0.01"]
    said = []
    for words in ([*options, "--method", "head-only", "--out", str(tmp_path)], ["--resume", str(tmp_path)]):
        monkeypatch.setattr(sys, "argv", ["lalora", "train", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        said.append(capsys.readouterr().out)
    assert "this run has ended: round 1 was its last" in said[1] and "has ended" not in said[0]
