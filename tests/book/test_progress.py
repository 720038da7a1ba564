"""Which notebook runs and what is left: lines and a bar, with durations from earlier runs and from nowhere else."""

from __future__ import annotations

import io
import json
import math
import re
import sys

import pytest

from lalora_kit.book import sweep
from lalora_kit.book.progress import FILE, Part, Progress, read_seconds, write_seconds
from tests.book.test_book import write

PARTS = [Part("01_one", 3, {}), Part("02_two", 5, {"rank": 4}), Part("03_three", 2, {})]
KNOWN = {PARTS[0].key: 10.0, PARTS[1].key: 20.0, PARTS[2].key: 300.0}


def walked(kept, seconds, *, terminal=False, fails=()):
    """What three notebooks say that take so many seconds each, and the estimate half way through each."""
    said, halves, now = [], [], [0.0]
    progress = Progress(PARTS, said.append, kept, terminal=terminal, clock=lambda: now[0])
    for place, (part, took) in enumerate(zip(PARTS, seconds, strict=True)):
        with progress.running(place) as cell:
            now[0] += took / 2
            for _ in range(part.cells):
                cell()
            halves.append(progress.left())
            now[0] += took / 2
        progress.ended(took, part.name not in fails, f"{took} s")
    progress.close()
    return said, halves


def test_without_earlier_runs_there_is_no_estimate(tmp_path):
    said, halves = walked(tmp_path / FILE, [1, 2, 3])
    assert said == [
        "[1/3] 01_one ...", "[1/3] 01_one: 1 s", "[2/3] 02_two ...", "[2/3] 02_two: 2 s",
        "[3/3] 03_three ...", "[3/3] 03_three: 3 s",
    ]  # fmt: skip
    assert all(map(math.isnan, halves))
    assert read_seconds(tmp_path / FILE) == {PARTS[0].key: 1, PARTS[1].key: 2, PARTS[2].key: 3}


def test_the_estimate_is_of_earlier_runs_at_the_pace_of_this_one(tmp_path):
    write_seconds(tmp_path / FILE, KNOWN)
    said, halves = walked(tmp_path / FILE, [20, 40, 600])
    assert said[0] == "[1/3] 01_one ..., about 6 min left"
    assert said[4] == "[3/3] 03_three ..., about 10 min left"
    # 10 s are over of a notebook that took 10, at the old pace; then all takes twice as long
    assert halves == [320, 20 + 600, 300]


def test_what_failed_is_no_estimate_and_takes_none_away(tmp_path):
    write_seconds(tmp_path / FILE, KNOWN)
    walked(tmp_path / FILE, [1, 2, 3], fails=["02_two"])
    assert read_seconds(tmp_path / FILE) == {**KNOWN, PARTS[0].key: 1, PARTS[2].key: 3}


@pytest.mark.parametrize(
    "content", [b"", b"{broken", b"[1]", b"\xff", b'{"01_one {}": "ten"}', b'{"01_one {}": -1}', b'{"01_one {}": NaN}']
)
def test_a_damaged_file_is_no_error_and_no_estimate(content, tmp_path):
    (tmp_path / FILE).write_bytes(content)
    said, halves = walked(tmp_path / FILE, [1, 2, 3])
    assert said[0] == "[1/3] 01_one ..." and math.isnan(halves[0])
    assert len(read_seconds(tmp_path / FILE)) == 3, "and it is whole again"


def test_a_place_that_cannot_be_written_to_is_no_error(tmp_path):
    said, _ = walked(tmp_path / "not there" / FILE, [1, 2, 3])
    assert len(said) == 6


def test_other_parameters_are_another_duration(tmp_path):
    write_seconds(tmp_path / FILE, {Part("02_two", 5, {"rank": 8}).key: 20.0, PARTS[0].key: 1.0, PARTS[2].key: 1.0})
    assert math.isnan(walked(tmp_path / FILE, [1, 2, 3])[1][0])


def test_a_terminal_gets_a_bar_with_notebook_seconds_and_estimate(tmp_path, monkeypatch):
    write_seconds(tmp_path / FILE, KNOWN)
    drawn = io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    said, _ = walked(tmp_path / FILE, [10, 20, 300], terminal=True)
    shown = drawn.getvalue().split("\r")
    assert any("[1/3] 01_one 0 s |" in look and "0/10 cells, about 6 min left" in look for look in shown)
    assert any("[3/3] 03_three 0 s |" in look and "8/10 cells, about 5 min left" in look for look in shown)
    assert said == ["[1/3] 01_one: 10 s", "[2/3] 02_two: 20 s", "[3/3] 03_three: 300 s"]


def test_a_log_gets_no_carriage_return(tmp_path, monkeypatch):
    drawn = io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    said, _ = walked(tmp_path / FILE, [1, 2, 3])
    assert drawn.getvalue() == "" and not any("\r" in line for line in said)


def test_a_sweep_keeps_what_each_job_took_and_says_when_it_starts(tmp_path, monkeypatch):
    notebook = write(tmp_path, "mine.ipynb", "1 + 1")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    jobs = sweep.plan([str(notebook), "--rank", "8"])
    said = []
    [(_, run)] = sweep.run(jobs, tmp_path / "out", said.append, kept=tmp_path / FILE)
    assert run.ok and said[0] == "[1/1] mine ..." and said[1].startswith("[1/1] mine: ")
    assert list(json.loads((tmp_path / FILE).read_text())) == ['mine {"rank": 8}']


def test_the_benchmark_fills_the_tables_of_results_and_paper_and_nothing_else():
    from tests.benchmarks.walkthrough import PAPER, RESULTS, WAYS, in_paper, in_results, missing

    names = [path.stem for path in sweep.choose([])]
    machine = {"machine": "M, 2 cores", "cores": 2, "torch": "9.9", "load_before": 0.1}
    lines = [
        {"notebook": name, "way": way, "seconds": 100.0 + number + 50 * (way == "busy"), **machine}
        for number, name in enumerate(names)
        for way in WAYS
    ]
    text = RESULTS.read_text("utf-8")
    made = in_results(text, lines)
    rows = [line for line in made.splitlines() if line.startswith(("| [0", "| [1"))]
    assert [row.rsplit("|", 3)[1:3] for row in rows] == [[f" {100 + n} ", f" {150 + n} "] for n in range(len(names))]
    assert "M, 2 cores" in made and in_results(made, lines) == made
    changed = [one for one, other in zip(text.splitlines(), made.splitlines(), strict=False) if one != other]
    assert all(line.startswith(("| [0", "| [1", "Seconds")) for line in changed[: len(names) + 1])
    with pytest.raises(ValueError, match="2 machines"):
        in_results(text, [{**lines[0], "machine": "N"}, *lines[1:]])
    assert missing(sweep.choose(["05"]), lines) == [] and len(missing(sweep.choose(["05"]), lines[:1])) == 2
    paper = in_paper(PAPER.read_text("utf-8"), lines)
    rows = [line for line in paper.splitlines() if line.startswith(("| 0", "| 1"))]
    assert [row.split("|")[3] for row in rows] == [f" {100 + n} s " for n in range(len(names))]


@pytest.mark.parametrize("path", sweep.choose([]), ids=lambda path: path.stem)
def test_a_card_has_the_seconds_of_the_table(path):
    from tests.benchmarks.walkthrough import CARD, RESULTS, on_card

    row = re.search(rf"\]\({path.stem}\.ipynb\) \| (\d+) \| (\d+) \|", RESULTS.read_text("utf-8"))
    text = path.read_text("utf-8")
    assert [tuple(found) for found in CARD.findall(text)] == [row.groups()]
    lines = [{"notebook": path.stem, "way": way, "seconds": s} for way, s in (("quiet", 1.0), ("busy", 2.0))]
    assert "1 s on two quiet CPU cores, 2 s on busy ones" in on_card(path.stem, text, lines)
