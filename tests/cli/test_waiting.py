"""What a command says before its first result: at once what it will do, then what takes long; results stay apart."""

from __future__ import annotations

import gc
import json
import math
import subprocess
import sys
import threading

import pytest

from lalora_kit.base import steps
from lalora_kit.base.threads import usable_cores
from lalora_kit.cli import train
from lalora_kit.cli.waiting import loading

#: Runs the command line where nothing heavy can be imported: what is asked for first ends it.
WITHOUT = """
import sys
class Heavy:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "numpy", "scipy", "sklearn", "timm", "transformers", "opacus", "peft", "pandas"):
            sys.stderr.write(f"IMPORT {name}\\n")
            raise SystemExit(9)
sys.meta_path.insert(0, Heavy())
from lalora_kit.cli.app import main
main()
"""

FIRST = {
    "train": "training mnist by la-lora: ε=3, 4 clients, 10 rounds",
    "train --task stdlib-docs --method rolora --epsilon inf --clients 2": (
        "training stdlib-docs by rolora: no noise, 2 clients, 10 rounds"
    ),
    "train --json --epsilon 0.5": "training mnist by la-lora: ε=0.5, 4 clients, 10 rounds",
    "train --csv a.csv --text t --label l --owner o": (
        "training a.csv by la-lora: ε=3, each owner a client, 10 rounds"
    ),
    "train --preset paper/swin-t-cifar100 --epsilon 1": (
        "preset paper/swin-t-cifar100: training cifar100 by la-lora: ε=1, 8 clients, 100 rounds"
    ),
    "train --resume run": "going on in run: training digits by rolora: no noise, 3 clients, 4 rounds",
    "train --resume nowhere": "going on in nowhere",
    "audit --method rolora --epsilon 2": "attacking the loop of rolora, which claims ε=2 at δ=0.001: 2000 trials",
    "claims --out c": (
        f"putting the paper's claims on trial on mnist: its own seeds, {usable_cores()} processes, kept in c"
    ),
    "compare la-lora rolora --epsilon 1 3 --task digits --seeds 6": (
        f"comparing la-lora with rolora on digits at ε=1, 3: 6 seeds, {usable_cores()} processes, "
        "kept in runs/compare-digits"
    ),
}


@pytest.mark.parametrize("words", FIRST)
def test_the_first_line_comes_before_anything_heavy_is_imported(words, tmp_path):
    (tmp_path / "run").mkdir()
    saved = {"epsilon": None, "clients": 3, "rounds": 4}
    about = {"task": "digits", "source": {"task": "digits"}, "method": "rolora", "settings": saved}
    (tmp_path / "run" / "settings.json").write_text(json.dumps(about))
    command = [sys.executable, "-c", WITHOUT, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, encoding="utf-8")
    said = done.stderr.splitlines()
    assert said[0] == FIRST[words] and said[1].startswith("IMPORT "), done.stderr
    assert done.stdout == "" and done.returncode == 9


@pytest.mark.parametrize(("words", "answer"), [("--epsilon 0", "epsilon=0"), ("--preset paper/swin", "did you mean")])
def test_what_can_be_refused_at_once_is_refused_in_one_sentence(words, answer):
    done = subprocess.run([sys.executable, "-c", WITHOUT, "train", *words.split()], capture_output=True, text=True)
    assert done.returncode == 2 and answer in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


QUICK = {"task": "digits", "epsilon": math.inf, "clients": 2, "rounds": 1, "local_steps": 2, "seed": 0}


def slowed(monkeypatch, module, name, said):
    """Make a function wait until the line about it was heard, so that no clock decides."""
    heard, whole = threading.Event(), getattr(module, name)

    def slow(*arguments, **named):
        assert heard.wait(60)
        return whole(*arguments, **named)

    monkeypatch.setattr(module, name, slow)
    return lambda line: (said.append(line), heard.set())


def test_a_trial_that_takes_its_time_is_told_while_it_lasts(monkeypatch, capsys):
    from lalora_kit.privacy import soundcheck

    monkeypatch.setattr(steps, "LONG", 0.05)
    said = []
    hear = slowed(monkeypatch, soundcheck, "try_out", said)

    def only_the_trial(line):
        if "trying" in line:
            hear(line)

    with steps.telling(only_the_trial):
        train.run(dict(QUICK), True, None, None)
    assert said[0] == "trying the backbone on made-up samples ..."
    assert said[1].startswith("trying the backbone on made-up samples: ")
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["round"] == 1


def test_every_wait_before_the_first_round_has_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr(steps, "LONG", -1.0)  # all steps, however quick, are told when they are done
    monkeypatch.setattr(steps.threading, "Timer", lambda *_: threading.Thread())
    monkeypatch.setattr(threading.Thread, "cancel", lambda _: None, raising=False)
    said = []
    with steps.telling(said.append):
        train.run({**QUICK, "epsilon": 3.0}, True, tmp_path / "run", None)
    told = [line.rpartition(":")[0] for line in said]
    assert told == [
        "loading torch",
        "reading the data",
        "loading the backbone",
        "trying the backbone on made-up samples",
        "taking a fingerprint of the data and the backbone",
        "taking a fingerprint of what is computed",
        "finding the noise that ε asks for",
        "loading peft, which writes the adapter",
    ], "each once: a fresh run is planned once"


def test_steps_go_to_standard_error_and_json_stays_alone(monkeypatch, capsys):
    from lalora_kit.cli import app

    monkeypatch.setattr(steps, "LONG", -1.0)
    words = [
        "train",
        "--task",
        "digits",
        "--json",
        "--epsilon",
        "inf",
        "--clients",
        "2",
        "--rounds",
        "1",
        "--local-steps",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["lalora", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 0 and [json.loads(line)["round"] for line in out.splitlines()] == [1]
    assert "loading the backbone: " in err and "trying the backbone on made-up samples: " in err


def test_the_collector_is_as_it_was_after_loading():
    assert gc.isenabled()
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="bad"), loading():
        raise ValueError("bad")
    assert gc.isenabled()
