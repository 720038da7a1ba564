"""Two reports of `lalora ci`, of real notebooks that were changed in between, and what `lalora drift` says of them."""

import copy
import json

import pytest

from lalora_kit.book.drift import drift, read_report
from tests.book.test_book import write
from tests.cli.test_cli import lalora

TELLS = """from IPython.display import display
record = {{"notebook": "n", "parameters": {{"epsilon": epsilon}}, "result": "done",
          "figures": {{"accuracy": {accuracy}, "loss": 0.5, "zero": 0.0}}, "seen": {{"noise hurts": {seen}}}}}
display({{"application/vnd.lalora.result+json": record, "text/plain": "done"}}, raw=True)"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Before: both pass, the claim is seen. After: one tells another accuracy and no claim, the other fails."""
    folder, made = tmp_path_factory.mktemp("drift"), []
    for when, first, second in (
        ("old", TELLS.format(accuracy=0.8, seen=True), "1"),
        ("new", TELLS.format(accuracy=0.7, seen=False), "raise ValueError('gone')"),
    ):
        paths = [str(write(folder, f"0{n}.ipynb", source)) for n, source in ((1, first), (2, second))]
        made.append(folder / f"{when}.json")
        lalora("ci", *paths, "--rank", "2", "--json", str(made[-1]))
    return made


def test_a_claim_that_is_lost_and_a_notebook_that_fails_are_exit_code_one(reports):
    done = lalora("drift", *map(str, reports))
    assert (done.returncode, done.stderr) == (1, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["where", "what", "old", "new", "moved", "by"]
    assert lines[1] == ["01", "figure:", "accuracy", "0.8", "0.7", "12.5%"]
    assert lines[2] == ["LOST", "01", "claim:", "noise", "hurts", "seen", "not", "seen"]
    assert lines[3] == ["LOST", "02", "run", "passed", "failed"]
    assert done.stdout.splitlines()[-1].endswith("3 differences, 2 lost") and len(lines) == 5


def test_backwards_is_no_loss(reports):
    done = lalora("drift", *map(str, reversed(reports)))
    assert done.returncode == 0 and "LOST" not in done.stdout and "3 differences, 0 lost" in done.stdout


def test_within_the_tolerance_a_figure_is_left_out(reports):
    done = lalora("drift", *map(str, reports), "--tolerance", "0.2")
    assert done.returncode == 1 and "accuracy" not in done.stdout and "2 differences, 2 lost" in done.stdout


def test_the_same_twice_is_no_difference(reports):
    told = read_report(reports[0])
    assert drift(told, told, 0.0) == []


def changed(reports, change):
    """The differences between the old report and a copy of it that `change` was called on, its first run named."""
    told = read_report(reports[0])
    other = copy.deepcopy(told)
    change(other, other["notebooks"][0])
    return [(line.where, line.what, line.old, line.new, line.lost) for line in drift(told, other)]


def test_versions_parameters_and_missing_runs_are_named(reports):
    torch = read_report(reports[0])["made_with"]["torch"]
    assert changed(reports, lambda told, run: told["made_with"].update(torch="9", Date="later")) == [
        ("versions", "torch", torch, "9", False)
    ]
    assert changed(reports, lambda told, run: run["parameters"].update(rank=3)) == [
        ("01", "parameter rank", 2, 3, True)
    ], "and what came out at other parameters is not compared"
    assert changed(reports, lambda told, run: told["notebooks"].remove(run)) == [("01", "run", "passed", "–", True)]
    assert changed(reports, lambda told, run: run["record"]["figures"].update(loss=None, zero=1e-9)) == [
        ("01", "figure: loss", 0.5, None, False),
        ("01", "figure: zero", 0.0, 1e-9, False),
    ]
    assert changed(reports, lambda told, run: run["record"]["seen"].clear()) == [
        ("01", "claim: noise hurts", True, "–", True)
    ], "a claim that is no longer made is lost too"


@pytest.mark.parametrize("text", ["", "[]", '{"notebooks": []}', '{"notebooks": [1], "made_with": {}}', None])
def test_what_is_no_report_is_refused(reports, tmp_path, text):
    path = tmp_path / "other.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"lalora ci --json FILE"):
        read_report(path)


def test_a_tolerance_that_can_be_none_is_refused(reports):
    told = json.loads(reports[0].read_text())
    for wrong in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"tolerance=.* is not possible"):
            drift(told, told, wrong)
