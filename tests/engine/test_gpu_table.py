"""The table of a card: its small form at tiny sizes holds every row, and what fails in one part leaves the others."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.benchmarks import cards, cases, gpu, gpu_parts
from tests.benchmarks.gpu_table import missing, verdicts

TINY = replace(
    gpu_parts.SMALL,
    models={"swin-pico": (2, 2, 4)},
    together=(8,),
    each=1,
    memory=("swin-pico", 2, 2, 4),
    noise=(2, 100),
    pairs=1,
    seconds=0.0,
)
PARTS = {"rate", "step", "waits", "together", "memory", "noise"}


@pytest.fixture
def here(monkeypatch):
    """Peaks are taken in this process, and nothing is asked of a network."""

    def in_this_process(command, **_):
        assert command[:3] == [sys.executable, "-m", cases.__name__]
        return subprocess.CompletedProcess(command, 0, json.dumps(cases.resident_peak(json.loads(command[3]))))

    def refused(*_):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(cases, "subprocess", SimpleNamespace(run=in_this_process))
    monkeypatch.setattr(socket.socket, "connect", refused)


def result(form, said=None):
    return gpu.result(form, time.perf_counter(), [].append if said is None else said.append)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_small_form_makes_a_whole_table(here, device):
    said = []
    found = result(replace(TINY, device=device), said)
    rows = found["rows"]
    assert {row["part"] for row in rows} == PARTS and len(said) == 1 + len(rows)
    bf16 = cards.bf16_in_hardware(device)
    silent = [row for row in rows if missing(row) and (bf16 or row.get("precision") != "bf16")]
    assert {row["not_measured"] for row in silent if row["part"] != "rate"} == {
        "the kit takes all at once here, as above"
    }
    steps = [row for row in rows if row["part"] == "step"]
    assert [(row["precision"], row["trains"]) for row in steps] == [
        (p, f) for p in ("bf16", "fp32") for f in ("B", "AB")
    ]
    assert all(row["ratio"] > 0 and 1 <= row["pairs"] <= TINY.pairs for row in steps if not missing(row))
    private, plain = (next(row for row in rows if row.get("way") == way) for way in ("private", "PEFT's"))
    assert private["MiB"] >= 0 and plain["MiB"] >= 0
    tables = [line for line in found["table"].splitlines() if line.startswith("|")]
    assert len(tables) == 2 * 2 + len(rows) and {line.count("|") for line in tables} == {12, 3}
    assert len(found["verdicts"]) == 3 and all(verdict in found["table"] for verdict in found["verdicts"])
    json.dumps(found, allow_nan=False)


def test_what_fails_in_a_part_is_told_in_its_row_and_the_others_go_on(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    def wrong(*_):
        raise KeyError("owner")

    def slow(*_):
        while True:
            time.sleep(0.01)

    good = {"ratio": 6.0, "turns_seconds": 6.0, "seconds": 1.0, "pairs": 1}
    parts = {
        "step_over_peft": full,
        "host_waits": wrong,
        "peak": slow,
        "in_turn": lambda *_: good,
        "noise": lambda _: good,
    }
    for name, what in parts.items():
        monkeypatch.setattr(gpu_parts, name, what)
    found = result(replace(TINY, most=0.3))
    told = {row["part"]: missing(row) for row in found["rows"]}
    assert told["step"] == "not measured: out of memory" and told["waits"] == "failed: KeyError: 'owner'"
    assert "more than its 0 s" in told["memory"] and not told["together"] and not told["noise"]
    assert all(reason in found["table"] for reason in told.values())
    assert "8 pico clients ≥ 5 times faster together: **met**" in found["table"]


def test_no_row_begins_when_all_the_time_is_over():
    started = time.perf_counter()
    rows = result(replace(TINY, total=0))["rows"]
    assert {missing(row) for row in rows} == {"not measured: the 0 s of all parts were over"}
    assert time.perf_counter() - started < 5


def test_without_a_card_it_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    assert "no CUDA card" in capsys.readouterr().err


def test_waits_on_a_card_are_torchs_own_warnings(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def step():
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    assert cards.warned(step) == 3 and modes == ["warn", "default"]


def test_rates_are_those_of_the_card_that_it_is():
    known = {
        "NVIDIA H100 80GB HBM3": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100 NVL": 835, "NVIDIA H200": 989,
        "NVIDIA A100-SXM4-80GB": 312, "NVIDIA L4": 121, "Tesla T4": 65,
        "NVIDIA L40S": None, "NVIDIA GH200 480GB": None, "NVIDIA H100 80GB HBM3 MIG 1g.10gb": None,
    }  # fmt: skip
    for name, rate in known.items():
        assert (cards.data_sheet(name) or (None,))[0] == rate, name


def test_a_target_is_met_only_if_every_row_was_measured_and_holds():
    def rows(*ratios):
        step = {"part": "step", "model": "swin-b", "precision": "bf16", "seconds": 0.01, "operations": 5.5e12}
        each = [{**step, "trains": t} | ({"not_measured": "no"} if r is None else {"ratio": r})
                for t, r in zip(("B", "AB"), ratios, strict=True)]  # fmt: skip
        return [{"part": "rate", "precision": "bf16", "tflops": 800.0}, *each]

    for ratios, word in (
        ((1.0, 1.15), "met"),
        ((1.0, 1.16), "missed"),
        ((1.0, None), "not settled"),
        ((1.2, None), "missed"),
    ):
        assert f"**{word}**" in verdicts(rows(*ratios), "NVIDIA H200")[0]
    _, together, share = verdicts(rows(1.0, 1.0), "NVIDIA H200")
    assert "not measured here" in together
    assert "**met** (Swin-B, B: 69% of the measured rate, 56% of the data sheet's" in share
