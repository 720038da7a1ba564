"""What newcomers get wrong, and what they are told: each ends in one sentence and an exit code, and nothing is lost.

python -m tests.mistakes     # prints the table
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

from lalora_kit.cli import app as cli

QUICK = ["--epsilon", "inf", "--rounds", "1", "--local-steps", "2", "--seed", "0", "--max-samples", "128"]
CSV = ["--csv", "notes.csv", "--text", "note", "--label", "class", "--backbone", "swin-pico"]

#: what happened -> (arguments, words that the answer must hold). `run` holds a finished run, `notes.csv` a few rows.
MISTAKES: dict[str, tuple[list[str], str]] = {
    "a command misspelled": (["trian"], "No such command"),
    "an option misspelled": (["train", "--epsilom", "3"], "No such option"),
    "a task misspelled": (["train", "--task", "digts"], "did you mean 'digits'"),
    "a method misspelled": (["train", "--method", "la_lora"], "la-lora"),
    "a preset misspelled": (["train", "--preset", "paper/swin"], "did you mean"),
    "ε of zero": (["train", "--epsilon", "0"], "a privacy budget is above 0"),
    "ε below zero": (["train", "--epsilon", "-1"], "a privacy budget is above 0"),
    "ε in words": (["train", "--epsilon", "three"], "a valid number"),
    "ε that is no number": (["train", "--epsilon", "nan"], "it must be a number"),
    "ε below what can be accounted": (["train", "--epsilon", "0.001"], "use at least"),
    "δ that gives a whole sample away": (["train", "--delta", "0.5"], "use delta below"),
    "no clients": (["train", "--clients", "0"], "a whole number of at least 1"),
    "more clients than samples": (["train", "--clients", "9000"], "use at most 8000 clients"),
    "rank zero": (["train", "--rank", "0"], "a whole number of at least 1"),
    "half a rank": (["train", "--rank", "4.5"], "a valid integer"),
    "a rank beyond the layers": (["train", "--rank", "256"], "choose a rank of at most"),
    "nobody takes part": (["train", "--participation", "0"], "use 0 < p <= 1"),
    "a rate above one": (["train", "--sample-rate", "2"], "lies in (0, 1]"),
    "rate and batch at once": (["train", "--sample-rate", "0.1", "--batch-size", "16"], "set one of them"),
    "a batch above a client's data": (["train", "--batch-size", "3000"], "use batch_size of at most"),
    "alternation without a second step": (["train", "--local-steps", "1"], "local_steps"),
    "no rounds": (["train", "--rounds", "0"], "a whole number of at least 1"),
    "a learning rate below zero": (["train", "--learning-rate", "-1"], "a finite number above 0"),
    "too uneven a split": (["train", "--dirichlet-beta", "1e-9"], "between 0.001 and 1e+06"),
    "a GPU that is not there": (["train", "--device", "cuda:7"], "use cpu, or cuda where there is a GPU"),
    "another precision": (["train", "--precision", "fp16"], "known are fp32, bf16"),
    "a seed below zero": (["train", "--seed", "-1"], "a whole number of at least 0"),
    "no sample at a time": (["train", "--max-samples", "0"], "a whole number of at least 1"),
    "a resume of nothing": (["train", "--resume", "nowhere"], "holds no run"),
    "a resume with another ε": (["train", "--resume", "run", "--epsilon", "1"], "start a new run with --out"),
    "a resume to another place": (["train", "--resume", "run", "--out", "other"], "drop --out"),
    "output where a file is": (["train", "--task", "digits", *QUICK, "--out", "notes.csv"], "is a file"),
    "a statement of nothing": (["statement", "nowhere"], "holds no run"),
    "a report of nothing": (["report", "nowhere"], "holds no run"),
    "a task of the hub without network": (["train", "--task", "cifar100"], "use an embedded task: mnist"),
    "a preset without network": (["train", "--preset", "paper/roberta-base-sst2"], "use an embedded task: mnist"),
    "another backbone for an embedded task": (["train", "--backbone", "vit_tiny_patch16_224"], "leave it out"),
    "a table that is not there": (["train", *CSV[:1], "none.csv", *CSV[2:]], "none.csv"),
    "a column that is not there": (["train", *CSV[:3], "nota", *CSV[4:]], "note"),
    "a table without a label": (["train", *CSV[:4]], "--label"),
    "people who come twice, unnamed": (["train", *CSV, *QUICK], "--unit"),
    "people of a study who come twice, unnamed": (["train", "--csv", "study.csv", *CSV[2:], *QUICK], "--unit USUBJID"),
    "a table with semicolons": (["train", "--csv", "semicolons.csv", *CSV[2:], *QUICK], "separated by semicolons"),
    "a quote that stays open": (["train", "--csv", "quote.csv", *CSV[2:], *QUICK], "quote.csv line 3"),
    "a folder of images that is not there": (["train", "--images", "none"], "none"),
    "sizes in words": (["plan", "--sizes", "a,b", "--epsilon", "3"], "sizes"),
    "a notebook that is not there": (["ci", "99"], "99"),
    "a notebook's parameter misspelled": (["handout", "00", "--epsilom", "1"], "epsilon"),
    "a notebook's parameter of another kind": (["ci", "00", "--rank", "four"], "rank"),
    "a comparison with oneself": (["compare", "la-lora", "la-lora", "--epsilon", "3"], "two or more different ones"),
    "a method of one's own that is not there": (["compare", "la-lora", "mine.py:MINE", "--epsilon", "3"], "mine.py"),
    "an audit of no method": (["audit", "--method", "none"], "none"),
    "a class's files that are not there": (["pool", "nowhere"], "does not exist"),
    "results that are not there": (["drift", "old.json", "new.json"], "old.json"),
    "copies over one's own work": (["notebooks", "mine"], "would be overwritten"),
}


def prepare(directory: Path) -> None:
    """A finished run, a table with people who come twice, and a notebook that somebody has worked in."""
    with contextlib.chdir(directory):
        (directory / "notes.csv").write_text("note,class,patient\nfine,a,1\nbad,b,1\nwell,a,2\npoor,b,2\n")
        (directory / "study.csv").write_text("note,class,USUBJID\nfine,a,1\nbad,b,1\nwell,a,2\npoor,b,2\n")
        (directory / "semicolons.csv").write_text("note;class\nfine, and well;a\nbad;b\n")
        (directory / "quote.csv").write_text('note,class\nfine,a\nbad,"b\nwell,a\n')
        assert run(["train", "--task", "digits", *QUICK, "--out", "run"])[0] == 0
        (directory / "mine").mkdir()
        (directory / "mine" / "00_start_here.ipynb").write_text("my own work")


def run(arguments: list[str]) -> tuple[int, str]:
    """Exit code and what stands on standard error."""
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["lalora", *arguments]),
        mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", True),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            cli.main()
        except SystemExit as ended:
            return int(ended.code or 0), said.getvalue()
    return 0, said.getvalue()


def kept(directory: Path) -> dict[str, bytes]:
    """Every file, by its name."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def main() -> None:
    """Print the table."""
    print("| mistake | `lalora ...` | exit | what it says |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        prepare(directory)
        with contextlib.chdir(directory):
            for what, (arguments, _) in MISTAKES.items():
                code, said = run(arguments)
                line = said.strip().splitlines()[-1] if said.strip() else ""
                print(f"| {what} | `{' '.join(arguments)}` | {code} | {line.replace('|', '/')} |", flush=True)


if __name__ == "__main__":
    main()
