"""Sweeps over notebooks: what the words mean, what is refused before anything runs, and what CI is told."""

import json
import re
import sys
import xml.etree.ElementTree as ET

import pytest

from lalora_kit.book import reports, sweep
from tests.book.test_book import RESULT, write


def refused(monkeypatch, capsys, *arguments):
    """The one sentence with which the command line refuses, in this process to be quick."""
    from lalora_kit.cli.app import main

    monkeypatch.setattr(sys, "argv", ["lalora", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and err.startswith("lalora: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["02", "--epsilon", "0.5", "1", "--rank=8"], {"notebook": ["02"], "epsilon": ["0.5", "1"], "rank": ["8"]}),
        (["--notebook", "02", "04", "--learning-rate", "1e-3"], {"notebook": ["02", "04"], "learning_rate": ["1e-3"]}),
        (["--seed", "-1", "--epsilon", "-inf", "--seed", "2"], {"seed": ["-1", "2"], "epsilon": ["-inf"]}),
        ([], {}),
    ],
)
def test_words(words, read):
    assert sweep.read_words(words) == read


def test_values_keep_their_type():
    texts = ["8", "0.5", "1e-3", "inf", "true", "[1, 2]", "digits", "la-lora", "02"]
    assert [sweep.read_value(text) for text in texts] == [
        *(8, 0.5, 1e-3, float("inf"), True, [1, 2], "digits", "la-lora", 2.0),
    ]
    assert [type(sweep.read_value(text)) for text in ("8", "8.0")] == [int, float]


def test_notebooks_are_meant_by_number_name_or_path(tmp_path):
    mine = write(tmp_path, "mine.ipynb", RESULT)
    chosen = sweep.choose(["2", "04_la_lora", str(mine), "02"])
    assert [path.name for path in chosen] == ["02_noise_amplification.ipynb", "04_la_lora.ipynb", "mine.ipynb"]
    assert [path.name[:2] for path in sweep.choose([])][:5] == ["00", "01", "02", "03", "04"]


def test_a_sweep_is_every_combination_and_what_varies_is_in_the_name():
    jobs = sweep.plan(["00", "01", "--epsilon", "0.5", "1", "--rank", "8", "--learning-rate", "0.1", "1"])
    assert [job.name for job in jobs] == [
        "00_start_here_epsilon-0.5",
        "00_start_here_epsilon-1",
        *(f"01_gradient_coupling_epsilon-{e}_learning_rate-{r}" for e in ("0.5", "1") for r in ("0.1", "1")),
    ]
    assert jobs[-1].parameters == {"epsilon": 1, "rank": 8, "learning_rate": 1}, "00 has no rate, and is run without"
    assert jobs[0].told == "epsilon = 0.5, rank = 8"


REFUSED = {
    "misspelled": ("02 --epsilonn 1", r"--epsilonn is neither.*did you mean --epsilon\?"),
    "an option misspelled": ("02 --hide-cod", r"did you mean --hide-code\?"),
    "no notebook": ("12 --epsilon 1", "notebook '12' is unknown; .*04_la_lora"),
    "nearly a notebook": ("03_sharp", "did you mean 03_sharpness"),
    "no such file": ("nowhere.ipynb", "nowhere.ipynb does not exist"),
    "no value": ("02 --epsilon", "--epsilon has no value"),
    "of another type": ("02 --rank 2.5", "rank=2.5 is of type float"),
    "the last of three": ("02 --epsilon 1 3 abc", "epsilon='abc' is of type str"),
    "impossible": ("02 --epsilon 3 -1", "epsilon=-1 is not possible"),
    "unknown task": ("00 --task digit", "task='digit' is unknown; the tasks are mnist"),
    "papermill's way": ("02 -p epsilon 1", "-p is no option; .* --name value"),
    "only others have it": ("00 --dirichlet-beta 1", "neither an option nor a parameter of 00_start_here"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("command", ["handout", "ci"])
def test_what_cannot_run_is_refused_before_anything_runs(command, name, monkeypatch, capsys, tmp_path):
    words, said = REFUSED[name]
    if (command, name) == ("ci", "an option misspelled"):
        words, said = "02 --juni report.xml", r"did you mean --junit\?"
    monkeypatch.setattr(sweep, "run_notebook", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.chdir(tmp_path)
    assert re.search(said, refused(monkeypatch, capsys, command, *words.split()))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """`lalora ci` on one notebook that fails at one of two ranks, with a message that XML cannot hold."""
    from tests.cli.test_cli import lalora

    folder = tmp_path_factory.mktemp("ci")
    broken = write(folder, "mine.ipynb", "assert rank < 9, f'rank {rank} \\x00 <&> is too much'", RESULT)
    files = [str(folder / "reports" / name) for name in ("junit.xml", "report.json")]
    words = [str(broken), "--rank", "8", "9", "--epsilon", "inf", "--junit", files[0], "--json", files[1]]
    return lalora("ci", *words), *files


def test_exit_codes_mean_something(reported):
    done = reported[0]
    assert done.returncode == 1 and "[1/2] mine_rank-8: " in done.stdout
    assert re.search(r"\[2/2\] mine_rank-9: .*FAILED: In \[3\]: AssertionError: rank 9", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr


def test_junit_tells_time_memory_and_failures(reported):
    suites = ET.parse(reported[1]).getroot()
    [suite] = suites
    good, bad = suite.findall("testcase")
    assert suites.attrib["tests"] == suite.attrib["tests"] == "2" and suite.attrib["failures"] == "1"
    assert float(suite.attrib["time"]) == pytest.approx(
        float(good.attrib["time"]) + float(bad.attrib["time"]), abs=0.01
    )
    assert (good.attrib["classname"], good.attrib["name"]) == ("mine", "mine_rank-8")
    assert good.find("failure") is None and good.findtext("system-out") == "rank 8 at ε = inf"
    assert "rank 9" in bad.find("failure").attrib["message"] and "<&> is too much" in bad.findtext("failure")
    told = {line.attrib["name"]: line.attrib["value"] for line in good.find("properties")}
    assert told["rank"] == "8" and told["epsilon"] == "inf" and int(told["peak_memory_bytes"]) > 1e7
    assert "torch" in {line.attrib["name"] for line in suite.find("properties")}


def test_json_tells_the_same_and_the_notebooks_own_record(reported):
    with open(reported[2], encoding="utf-8") as file:
        told = json.load(file)
    good, bad = told["notebooks"]
    assert not told["ok"] and good["ok"] and not bad["ok"] and "too much" in bad["error"]
    assert good["parameters"] == {"rank": 8, "epsilon": None} and good["record"]["figures"] == {"accuracy": 0.81}
    assert told["peak_memory_bytes"] == max(good["peak_memory_bytes"], bad["peak_memory_bytes"])
    assert told["made_with"]["torch"]


def test_xml_holds_whatever_a_notebook_says():
    assert reports.clean("a\x00\x1b[31mb\ud800 ε") == "a��[31mb� ε"
