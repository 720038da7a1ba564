"""Checkpoints: stop at any instant, resume, and nothing finished is lost or charged twice."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lalora_kit import METHODS, Settings, federated_rounds, load_task
from lalora_kit.base.files import write_atomically
from lalora_kit.runs import adapterfile
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.saved import load

FAST = Settings(epsilon=3.0, rounds=4, local_steps=2, clients=3, sample_rate=0.03, seed=7)
METHOD = METHODS["la-lora"]


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    """An uninterrupted run's directory and records."""
    directory = tmp_path_factory.mktemp("whole")
    return directory, list(save_rounds(task, METHOD, FAST, directory))


def records(directory: Path) -> list[dict]:
    lines = [json.loads(line) for line in (directory / "rounds.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_run_leaves_what_it_promises(whole):
    directory, rounds = whole
    assert [r.round for r in rounds] == [1, 2, 3, 4]
    assert {p.name for p in (directory / "adapter").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    ledger = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    assert len(ledger) == 4 * 2 * 3
    assert {"client", "round", "step", "sample_rate", "noise_multiplier", "clip_norm"} <= ledger[0].keys()
    assert json.loads((directory / "adapter" / "privacy.json").read_text())["epsilon"] == rounds[-1].epsilon
    assert json.loads((directory / "settings.json").read_text())["settings"]["seed"] == 7
    assert not (directory / "secret.json").exists()


def test_saving_changes_nothing(task, whole):
    plain = list(federated_rounds(task, METHOD, FAST))
    for a, b in zip(plain, whole[1], strict=True):
        assert all(torch.equal(a.adapter.tensors[key], b.adapter.tensors[key]) for key in a.adapter.tensors)


@pytest.mark.parametrize("spoilt", ["", "adapter/adapter_model.safetensors", "adapter/privacy.json", "adapter.new"])
def test_a_resume_writes_the_adapter_again_only_if_it_is_not_there(task, tmp_path, monkeypatch, spoilt):
    """PEFT takes seconds to load, and the next round writes it anyway; what lacks, or is another's, is seen."""
    rounds = save_rounds(task, METHOD, FAST, tmp_path)
    next(rounds)
    rounds.close()
    if spoilt == "adapter.new":
        (tmp_path / spoilt).mkdir()
    elif spoilt:
        path = tmp_path / spoilt
        held = path.read_bytes()
        path.write_bytes(
            held[:-1] + bytes([held[-1] ^ 1]) if spoilt.endswith("tensors") else held.replace(b": 1,", b": 0,")
        )
    seen = []
    real = adapterfile.save
    monkeypatch.setattr(adapterfile, "save", lambda *given: seen.append("written") or real(*given))
    rest = save_rounds(task, METHOD, FAST, tmp_path, resume=True, told=lambda line: seen.append(line["round"]))
    next(rest)
    rest.close()
    assert seen == [*["written"][: bool(spoilt)], 2, "written"]


@pytest.mark.parametrize("stop_after", [0, 1, 3, 4])
def test_resume_equals_the_uninterrupted_run(task, whole, tmp_path, stop_after):
    rounds = save_rounds(task, METHOD, FAST, tmp_path)
    for _ in range(stop_after):
        next(rounds)
    rounds.close()
    rest = list(save_rounds(task, METHOD, FAST, tmp_path, resume=True))
    assert [r.round for r in rest] == list(range(stop_after + 1, 5))
    assert records(tmp_path) == records(whole[0])
    assert (tmp_path / "ledger.jsonl").read_bytes() == (whole[0] / "ledger.jsonl").read_bytes()


def test_a_replayed_round_is_not_charged_twice(task, whole, tmp_path):
    """The crash that comes after a round is on record and before it is finished."""
    rounds = save_rounds(task, METHOD, FAST, tmp_path)
    next(rounds)
    second = [line for line in (whole[0] / "ledger.jsonl").read_text().splitlines() if json.loads(line)["round"] == 2]
    rounds.close()
    with open(tmp_path / "ledger.jsonl", "a") as file:
        file.writelines(line + "\n" for line in second[:4])
        file.write(second[4][:20])  # the write itself was cut short
    list(save_rounds(task, METHOD, FAST, tmp_path, resume=True))
    assert (tmp_path / "ledger.jsonl").read_bytes() == (whole[0] / "ledger.jsonl").read_bytes()


def test_without_a_seed_the_randomness_is_kept_apart_and_hidden(task, tmp_path):
    settings = Settings(epsilon=3.0, rounds=2, local_steps=2, clients=3, sample_rate=0.03)
    rounds = save_rounds(task, METHOD, settings, tmp_path)
    next(rounds)
    rounds.close()
    secret = tmp_path / "secret.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    value = json.loads(secret.read_text())["secret"]
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != secret:
            assert value.encode() not in path.read_bytes()
            assert bytes.fromhex(value) not in path.read_bytes()
    shutil.copytree(tmp_path, tmp_path / "copy")
    (tmp_path / "copy" / "secret.json").unlink()
    with pytest.raises(ValueError, match=r"secret\.json cannot be read.*stays until the last round is on disk"):
        load(tmp_path / "copy")
    assert [r.round for r in save_rounds(task, METHOD, settings, tmp_path, resume=True)] == [2]
    assert not secret.exists()  # whoever copies a finished run cannot take its noise away


def test_another_run_is_refused(task, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    other = Settings(epsilon=3.0, rounds=4, local_steps=2, clients=3, sample_rate=0.03, seed=7, clip_norm=0.5)
    with pytest.raises(ValueError, match=r"belongs to another run: its settings\.clip_norm is 1\.0, not 0\.5"):
        save_rounds(task, METHOD, other, tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="belongs to another run: its method is la-lora, not dp-lora"):
        save_rounds(task, METHODS["dp-lora"], FAST, tmp_path / "run", resume=True)


def test_weights_without_their_ledger_are_refused(task, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    (tmp_path / "run" / "ledger.jsonl").unlink()
    with pytest.raises(ValueError, match="ε spent is unknown"):
        save_rounds(task, METHOD, FAST, tmp_path / "run", resume=True)


@pytest.mark.parametrize("harm", ["cut short", "one byte flipped", "empty"])
def test_a_damaged_state_is_passed_over_for_the_one_before(task, whole, tmp_path, harm):
    shutil.copytree(whole[0], tmp_path / "run")
    newest = tmp_path / "run" / "state" / "round-000004.safetensors"
    data = bytearray(newest.read_bytes())
    data[-100] ^= 1
    newest.write_bytes({"cut short": data[: len(data) // 2], "one byte flipped": data, "empty": b""}[harm])
    with pytest.warns(UserWarning, match=r"round-000004\.safetensors is damaged.*going on from round-000003"):
        assert load(tmp_path / "run").state.round == 3
    with pytest.warns(UserWarning, match="is damaged"):
        assert [r.round for r in save_rounds(task, METHOD, FAST, tmp_path / "run", resume=True)] == [4]
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes() == (whole[0] / "ledger.jsonl").read_bytes()
    assert records(tmp_path / "run") == records(whole[0])


def test_no_readable_state_is_said_clearly(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    for path in (tmp_path / "run" / "state").iterdir():
        path.write_bytes(b"not a state")
    with pytest.raises(ValueError, match="no state that can be read"):
        load(tmp_path / "run")
    with pytest.raises(ValueError, match="holds no run"):
        load(tmp_path / "elsewhere")


def test_a_second_run_in_the_directory_keeps_the_first_and_pays_for_both(task, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    directory = tmp_path / "run"
    spent = whole[1][-1].epsilon
    more = Settings(epsilon=4.0, rounds=1, local_steps=2, clients=3, sample_rate=0.03, seed=8)
    (second,) = save_rounds(task, METHOD, more, directory)
    assert spent < second.epsilon <= 4.0  # σ left room for what the first run had released
    assert (directory / "runs" / "001" / "adapter" / "adapter_model.safetensors").exists()
    assert len((directory / "ledger.jsonl").read_text().splitlines()) == 4 * 2 * 3 + 2 * 3
    before = sorted(path.name for path in directory.iterdir())
    with pytest.raises(ValueError, match="earlier runs on the same data cost"):
        save_rounds(task, METHOD, dataclasses.replace(more, seed=9), directory)
    assert sorted(path.name for path in directory.iterdir()) == before  # refused before anything was moved


def test_two_runs_cannot_share_a_directory(task, tmp_path):
    first = save_rounds(task, METHOD, FAST, tmp_path)
    next(first)
    with pytest.raises(ValueError, match="is in use by another run"):
        save_rounds(task, METHOD, FAST, tmp_path, resume=True)
    first.close()
    save_rounds(task, METHOD, FAST, tmp_path, resume=True).close()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "value"
    write_atomically(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, full)
            with pytest.raises(OSError, match="No space left"):
                write_atomically(path, "new")
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["value"]


def test_kill_minus_nine(whole, tmp_path):
    """SIGKILL while a real process trains; then resume in another one, as the command line does."""
    options = [
        "--epsilon",
        "3",
        "--rounds",
        "4",
        "--task",
        "digits",
        "--local-steps",
        "2",
        "--clients",
        "3",
        "--sample-rate",
        "0.03",
        "--seed",
        "7",
        "--json",
    ]
    command = [sys.executable, "-m", "lalora_kit", "train", *options, "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # one round is done
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    resume = [sys.executable, "-m", "lalora_kit", "train", "--resume", str(tmp_path), "--json"]
    done = subprocess.run(resume, capture_output=True, text=True, check=True)
    assert [json.loads(line)["round"] for line in done.stdout.splitlines()] == [1, 2, 3, 4]
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 4 * 2 * 3
    last = json.loads((tmp_path / "rounds.jsonl").read_text().splitlines()[-1])
    assert last["epsilon"] == whole[1][-1].epsilon
    assert last["accuracy"] == pytest.approx(whole[1][-1].accuracy, abs=0.01)
