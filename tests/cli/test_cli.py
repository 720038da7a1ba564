"""The command line, run as a reader runs it: what it prints, where, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from unittest import mock

import pytest

from lalora_kit.cli import app as cli
from lalora_kit.cli import train

FAST = ["--task", "digits", "--rounds", "2", "--local-steps", "2", "--clients", "3", "--sample-rate", "0.03"]


def lalora(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lalora_kit", *arguments], capture_output=True, text=True)


def test_json_is_all_there_is_on_standard_output():
    done = lalora("train", "--json", "--seed", "0", *FAST)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [line["round"] for line in lines] == [1, 2]
    assert 0 < lines[0]["epsilon"] < lines[1]["epsilon"] <= 3.0
    assert lines[1]["caution"] == "seed known: reproducible, not private"
    assert "per sample of one client" in done.stderr
    assert "teaching" not in lines[0]


def test_text_says_what_the_epsilon_promises():
    done = lalora("train", "--seed", "0", "--method", "head-only", *FAST)
    assert done.returncode == 0
    assert "neighbouring data sets differ" in done.stdout
    assert "seed known: reproducible, not private" in done.stdout
    assert "round   2/2" in done.stdout


def test_infinite_epsilon_is_null_and_said_aloud():
    done = lalora("train", "--epsilon", "inf", "--json", "--method", "head-only", *FAST)
    assert done.returncode == 0
    assert [json.loads(line)["epsilon"] for line in done.stdout.splitlines()] == [None, None]
    assert "no noise is added, not private" in done.stderr


def test_out_then_resume_then_nothing_left_to_do(tmp_path):
    directory = str(tmp_path / "run")
    first = lalora("train", "--json", "--out", directory, *FAST)
    again = lalora("train", "--json", "--resume", directory)
    assert first.returncode == again.returncode == 0
    assert first.stdout == again.stdout
    other = lalora("train", "--resume", directory, "--rank", "8")
    assert other.returncode == 2
    assert "rank=8 differs from 4" in other.stderr


REFUSALS = {
    "epsilon below zero": (["--epsilon", "-1"], "epsilon=-1.0"),
    "epsilon zero": (["--epsilon", "0"], "epsilon=0.0"),
    "epsilon NaN": (["--epsilon", "nan"], "epsilon=nan"),
    "epsilon below resolution": (["--epsilon", "0.01"], "accountant's own resolution"),
    "delta one": (["--delta", "1"], "delta=1.0"),
    "delta zero": (["--delta", "0"], "delta=0.0"),
    "delta above one over n": (["--delta", "0.1"], "delta=0.1"),
    "rank too large": (["--rank", "256"], "narrowest adapted layer"),
    "more clients than samples": (["--clients", "9000"], "clients=9000"),
    "batch above a client's data": (["--batch-size", "3000"], "batch_size=3000"),
    "rate and batch": (["--batch-size", "8", "--sample-rate", "0.1"], "set one of them"),
    "unknown task": (["--task", "digit"], "did you mean 'digits'"),
    "unknown method": (["--method", "lalora"], "did you mean 'la-lora'"),
    "one local step": (["--local-steps", "1"], "would never train"),
    "not a number": (["--rank", "four"], "'--rank'"),
    "unknown option": (["--epsilonn", "3"], "--epsilonn"),
    "no run to resume": (["--resume", "nowhere"], "nowhere holds no run"),
    "a page of nothing that is kept": (["--page"], "give --out, or drop --page"),
    "no such device": (["--device", "abacus"], "device='abacus'"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_one_sentence_and_exit_code_two(name, capsys, monkeypatch, tmp_path):
    """In this process, to be quick; `test_the_entry_point_refuses_too` shows the real one."""
    from lalora_kit.cli.app import main

    arguments, said = REFUSALS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lalora", "train", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert said in err
    assert err.startswith("lalora: ")
    assert err.count("\n") == 1


def test_the_entry_point_refuses_too():
    done = lalora("train", "--epsilon", "nan")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lalora: epsilon=nan is not possible: it must be a number; give epsilon a number\n"


def test_a_place_that_cannot_be_written_to_is_one_sentence_and_exit_code_one(capsys, monkeypatch, tmp_path):
    from lalora_kit.cli.app import main

    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["lalora", "train", *FAST, "--out", str(tmp_path / "file" / "run")])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (out, ended.value.code) == ("", 1)
    assert "Not a directory" in err and err.startswith("lalora: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: Error code 12"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
    ids=["python", "cpu", "cuda"],
)
def test_memory_that_runs_out_is_one_sentence_and_exit_code_one(error, capsys, monkeypatch):
    monkeypatch.setattr(train, "run", mock.Mock(side_effect=error))
    monkeypatch.setattr(sys, "argv", ["lalora", "train"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.count("\n") == 1
    assert "memory ran out" in said and "--max-samples" in said


def test_an_error_of_another_kind_is_not_taken_for_memory(monkeypatch):
    monkeypatch.setattr(train, "run", mock.Mock(side_effect=RuntimeError("a fault of ours")))
    monkeypatch.setattr(sys, "argv", ["lalora", "train"])
    with pytest.raises(RuntimeError, match="a fault of ours"):
        cli.main()


def test_a_loss_that_is_no_number_is_shown_as_none(capsys):
    from lalora_kit.cli.train import show
    from lalora_kit.settings import Settings
    from tests.fakes import fake_round

    line = {**fake_round(1).to_json(), "loss": None, "epsilon": None}
    show(line, Settings(), as_json=False)
    assert "loss none  ε ∞" in capsys.readouterr().out


def test_lists():
    from lalora_kit import METHODS, TASKS

    listed = {command: lalora(command).stdout for command in ("methods", "tasks")}
    assert all(name in listed["methods"] for name in METHODS)
    assert all(name in listed["tasks"] for name in TASKS)


def test_importing_the_package_is_quick_and_loads_no_torch():
    """Quick as a ratio: against an import of json alone, in the same breath; the house's bound is 0.2 s."""
    code = "import sys, lalora_kit; print(any(m in sys.modules for m in ('torch', 'numpy', 'timm', 'transformers')))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import json"], check=True)
    bare = time.perf_counter() - start
    assert done.stdout.strip() == "False"
    assert ours < 10 * bare


def test_rounds_between_evaluations_say_so_and_a_resume_may_choose_others(tmp_path, capsys, monkeypatch):
    directory = str(tmp_path / "run")
    fast = [*FAST, "--method", "head-only", "--seed", "0", "--evaluate-every", "2"]

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lalora", "train", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    said = run(*fast, "--out", directory)
    assert "round   1/2  not evaluated  ε" in said and "round   2/2  accuracy 0." in said
    lines = [json.loads(line) for line in run("--resume", directory, "--evaluate-every", "1", "--json").splitlines()]
    assert [line["accuracy"] is None for line in lines] == [True, False] and lines[0]["loss"] is None
