"""`lalora report`: numbers against scikit-learn's own by hand, baselines that are kept and charged apart."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lalora_kit.cli.app import main
from lalora_kit.runs.results import Results, Scores, open_run, results, scores, text
from lalora_kit.runs.spent import Spent, spent
from lalora_kit.runs.yardsticks import cost
from tests.own_data import records, write_csv, write_images

OPTIONS = ["--rounds", "2", "--local-steps", "2", "--delta", "1e-2", "--sample-rate", "0.5", "--seed", "0"]
CSV = ["--text", "note", "--label", "class", "--owner", "site", "--unit", "patient_id", "--backbone", "roberta-pico"]


def test_scores_by_hand():
    """Three of four right at the common class, none of one at the rare; the third class has no sample."""
    found = scores(torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 0]), 3)
    assert (found.samples, found.accuracy, found.balanced_accuracy) == (5, pytest.approx(0.6), pytest.approx(0.375))
    assert found.recalls[:2] == (0.75, 0.0) and math.isnan(found.recalls[2])
    part = scores(torch.tensor([0, 1]), torch.tensor([0, 0]), 2, torch.tensor([True, False]))
    assert (part.samples, part.accuracy, part.balanced_accuracy) == (1, 1.0, 1.0)
    nobody = scores(torch.tensor([0, 1]), torch.tensor([0, 0]), 2, torch.tensor([False, False]))
    assert nobody.samples == 0 and math.isnan(nobody.accuracy)


def test_the_text_has_a_dash_where_there_is_nothing_to_tell():
    some, none = Scores(4, 0.5, 0.5, (1.0, 0.0)), Scores(0, np.nan, np.nan, (np.nan, np.nan))
    found = Results("t", "la-lora", 3, "patient", 1e-5, ("no", "yes"), some, {"a": some, "b": none}, {"a": 9, "b": 2},
                    {"a": 3.0, "b": math.inf})  # fmt: skip
    lines = text(found).splitlines()
    assert "4 test samples, which are not protected" in lines[0] and "0.500" in lines[0]
    assert lines[1].split()[-1] == "patients"
    assert lines[2].split() == ["a", "4", "0.500", "0.500", "3.000", "9"]
    assert lines[3].split() == ["b", "0", "–", "–", "∞", "2"]
    assert found.to_json()["sites"]["b"]["accuracy"] is None
    assert cost("patient", Spent(3.0, 3.0, 1e-5, ())).count("ε = 3.000 at δ = 1e-05") == 1


def lalora(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["lalora", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return (ended.value.code, *capsys.readouterr())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run by the command line, killed after its first round and resumed, on a table with sites and patients."""
    place = tmp_path_factory.mktemp("own")
    table, out = write_csv(place / "notes.csv", records(persons=6)), place / "run"
    train = [sys.executable, "-m", "lalora_kit", "train"]
    words = [*train, "--csv", table.name, *CSV, *OPTIONS, "--rounds", "12", "--out", str(out)]
    process = subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(3000):
        if (out / "adapter" / "privacy.json").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said
    done = len((out / "rounds.jsonl").read_text().splitlines())
    assert 1 <= done < 12
    again = [*train, "--resume", str(out), "--csv", str(table), "--json"]
    resumed = subprocess.run(again, cwd="/", capture_output=True, text=True)  # from another folder: the path was kept
    assert resumed.returncode == 0, resumed.stderr
    assert "per patient_id of one client" in resumed.stderr and "3 owners" in resumed.stderr
    lines = [json.loads(line) for line in resumed.stdout.splitlines()]
    assert [line["round"] for line in lines] == list(range(1, 13)) and len(lines[0]["epsilons"]) == 3
    assert lines[-1]["epsilon"] <= 3
    return out


def test_a_report_tells_sites_and_classes(run, monkeypatch, capsys):
    """What the report says overall is what the run measured itself; sites add up to the whole."""
    code, out, _ = lalora(monkeypatch, capsys, "report", str(run), "--json")
    found, last = json.loads(out), json.loads((run / "rounds.jsonl").read_text().splitlines()[-1])
    assert code == 0 and found["overall"]["accuracy"] == pytest.approx(last["accuracy"])
    assert found["round"] == 12 and found["unit"] == "patient_id" and "baselines" not in found
    sites = found["sites"].values()
    assert sum(site["samples"] for site in sites) == found["overall"]["samples"]
    right = sum(site["samples"] * (site["accuracy"] or 0) for site in sites)
    assert right == pytest.approx(found["overall"]["samples"] * found["overall"]["accuracy"])
    assert sum(found["held"].values()) == len(open_run(run).task.train) / 3  # persons, of three sentences each
    assert set(found["epsilons"].values()) == {last["epsilon"]}


def test_data_that_changed_are_refused(run, monkeypatch, capsys, tmp_path):
    table = run.parent / "notes.csv"
    before = table.read_bytes()
    try:
        table.write_bytes(before.replace(b"beach", b"shore", 1))
        code, out, err = lalora(monkeypatch, capsys, "report", str(run))
    finally:
        table.write_bytes(before)
    assert (code, out) == (2, "") and "its data is" in err
    assert lalora(monkeypatch, capsys, "report", str(tmp_path))[0] == 2


def test_baselines_are_kept_and_charged_apart(monkeypatch, capsys, tmp_path):
    """Without owners the clients are the sites; one whose settings do not fit says so; a second call trains nothing."""
    data, out = write_images(tmp_path / "pics"), tmp_path / "run"
    words = ("train", "--images", str(data), "--backbone", "swin-pico", "--clients", "2", "--out", str(out), *OPTIONS)
    assert lalora(monkeypatch, capsys, *words)[0] == 0
    ledger = (out / "ledger.jsonl").read_bytes()
    code, printed, told = lalora(monkeypatch, capsys, "report", str(out), "--baselines", "--json")
    found = {line["name"]: line for line in json.loads(printed)["baselines"]}
    assert code == 0 and list(found) == [
        "head-only", "linear", "linear-hog", "pooled, no privacy", "client 1 alone", "client 2 alone",
    ]  # fmt: skip
    assert found["pooled, no privacy"]["epsilon"] is None and all(not line["refused"] for line in found.values())
    assert all(2.9 < found[name]["epsilon"] <= 3 for name in found if name != "pooled, no privacy")
    assert (out / "ledger.jsonl").read_bytes() == ledger and told.count("...") == 6
    [home] = (out / "baselines").iterdir()
    written = {path: path.read_bytes() for path in home.rglob("ledger.jsonl")}
    assert len(written) == 6
    code, again, told = lalora(monkeypatch, capsys, "report", str(out), "--baselines")
    assert told.count("trained before") == 6 and "nothing that is told of it is private" in again
    total = spent(out, 1e-2)
    assert f"ε = {total.noised:.3f} at δ = 0.01" in again and 3 < total.noised < 15 and total.epsilon == math.inf
    assert {path: path.read_bytes() for path in written} == written
    assert results(open_run(out)).sites == {}
    (home / "alone-0001" / "ledger.jsonl").unlink()  # weights whose cost is forgotten are not told of
    code, again, err = lalora(monkeypatch, capsys, "report", str(out), "--baselines")
    assert (code, again) == (2, "") and "alone-0001/ledger.jsonl holds no release, yet rounds were finished" in err
