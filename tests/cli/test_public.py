"""`lalora train --public`: pictures and texts without labels, told of, and refused where private."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lalora_kit.cli.app import main
from lalora_kit.tasks.own.sources import load_source
from tests.own_data import records, write_csv, write_images

OPTIONS = ["--rounds", "1", "--local-steps", "2", "--delta", "1e-2", "--sample-rate", "0.5", "--seed", "0"]
COLUMNS = {"text": "note", "label": "class", "owner": "site", "unit": "patient_id", "backbone": "roberta-pico"}
CSV = [word for name, value in COLUMNS.items() for word in (f"--{name}", value)]


def lalora(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["lalora", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return (ended.value.code, *capsys.readouterr())


def texts(path: Path, words: str = "cloud") -> Path:
    return write_csv(path, [{"note": f"{words} over the hill, {n} times", "who": "x"} for n in range(30)])


def test_texts_are_told_of_resumed_with_and_switched_off(monkeypatch, capsys, tmp_path):
    data, free, out = write_csv(tmp_path / "notes.csv"), texts(tmp_path / "free.csv"), tmp_path / "run"
    words = ["train", "--csv", data, *CSV, "--public", free, *OPTIONS]
    code, printed, _ = lalora(monkeypatch, capsys, *words, "--out", out)
    assert code == 0 and "30 public inputs of free.csv" in printed
    assert "statistics of public inputs: no ε (of 30 without labels" in printed
    about = json.loads((out / "settings.json").read_text())
    assert about["source"]["public"] == str(free) and about["public_inputs"] == 30
    assert "statistics of public inputs: no ε" in lalora(monkeypatch, capsys, "statement", out)[1]
    assert lalora(monkeypatch, capsys, "report", out)[0] == 0  # loaded again with the same statistics
    code, _, err = lalora(monkeypatch, capsys, "train", "--resume", out, "--no-standardise")
    assert code == 2 and "standardise='no' differs from None" in err
    code, printed, _ = lalora(monkeypatch, capsys, *words, "--no-standardise", "--out", tmp_path / "off")
    assert code == 0 and "no ε (" not in printed
    about = json.loads((tmp_path / "off" / "settings.json").read_text())
    assert about["source"]["standardise"] == "no" and "public_inputs" not in about
    assert load_source(about["source"]).statistics is None
    code, _, err = lalora(monkeypatch, capsys, "train", "--csv", data, *CSV, "--no-standardise", *OPTIONS)
    assert code == 2 and "brings no public inputs" in err
    free.write_text(free.read_text().replace("cloud", "clouds", 1))
    code, _, err = lalora(monkeypatch, capsys, "report", out)
    assert code == 2 and "notes.public" in err


def test_pictures_in_folders_of_any_name(monkeypatch, capsys, tmp_path):
    data, free = write_images(tmp_path / "pics"), write_images(tmp_path / "free", classes=("x", "train"), seed=5)
    words = ["train", "--images", data, "--backbone", "swin-pico", "--public", free, "--clients", "2", *OPTIONS]
    code, printed, _ = lalora(monkeypatch, capsys, *words)
    assert code == 0 and "20 public inputs of free" in printed
    shutil.copy(data / "dark" / "test [3].png", free / "train" / "same.png")
    code, _, err = lalora(monkeypatch, capsys, *words)
    assert code == 2 and "free/train/same.png is dark/test [3].png too" in err
    (free / "notes.txt").write_text("no picture")
    assert "free/notes.txt cannot be read as an image" in lalora(monkeypatch, capsys, *words)[2]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda place: place / "nowhere.csv", "is no file"),
        (lambda place: write_csv(place / "free.csv", [{"said": "a", "who": "b"}] * 3), "is no column of free.csv"),
        (lambda place: write_csv(place / "free.csv", [{"note": " ", "who": "b"}] * 3), "line 2 has an empty text"),
        (lambda place: write_csv(place / "free.csv", records()[:2]), "free.csv line 2 is notes.csv line 2"),
    ],
)  # fmt: skip
def test_bad_public_texts_are_named(make, words, tmp_path):
    data = write_csv(tmp_path / "notes.csv")
    with pytest.raises(ValueError, match=words):
        load_source({"csv": str(data), **COLUMNS, "public": str(make(tmp_path))})


def test_public_inputs_are_about_data_of_ones_own(monkeypatch, capsys, tmp_path):
    code, _, err = lalora(monkeypatch, capsys, "train", "--task", "digits", "--public", tmp_path, *OPTIONS)
    assert code == 2 and "is about data of your own" in err
