"""A run's page: what its directory says, drawn in one file that opens offline."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest

from lalora_kit.book.runpage import FILE, run_page
from lalora_kit.cli.own import tell_page
from lalora_kit.methods import METHODS
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.statement import statement
from tests.tiny import FAST, linear_task

SETTINGS = replace(FAST, rounds=3, evaluate_every=2)


def made(place, **changed):
    list(save_rounds(linear_task(), METHODS["la-lora"], replace(SETTINGS, **changed), place))
    return run_page(place).read_text("utf-8")


def figures(page):
    found = re.findall(r'<figure class="plotly".*?<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(one) for one in found]


def test_the_page_draws_what_the_directory_holds(tmp_path):
    page = made(tmp_path)
    records = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    accuracy, epsilon, noise = figures(page)
    assert accuracy["data"][0]["x"] == [2, 3], "rounds that were tested"
    assert accuracy["data"][0]["y"] == [r["accuracy"] for r in records[1:]]
    assert epsilon["data"][0]["y"] == [r["epsilon"] for r in records]
    assert {trace["name"] for trace in noise["data"]} == {"A", "B", "head"}
    assert statement(tmp_path).text.replace("'", "&#39;") in page
    assert f"{records[-1]['epsilon']:.3f} spent after round 3" in page


def test_the_page_needs_no_network_and_ends_no_script_early(tmp_path):
    page = made(tmp_path)
    head, _, rest = page.partition("<script>")
    ours = head + rest.partition("</script>")[2]  # plotly's own script speaks of addresses, and the policy keeps it in
    assert "Content-Security-Policy" in head and not re.search(r'(src|href)="(https?:)?//', ours)
    assert page.count("</html>") == 1 and 'aria-label="Accuracy by round' in page


def test_a_run_without_noise_says_so_and_draws_no_epsilon(tmp_path):
    page = made(tmp_path, epsilon=math.inf)
    assert len(figures(page)) == 2 and "ε is infinite: at least one release has no noise" in page


def test_a_directory_without_a_run_is_refused_and_gets_no_page(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        run_page(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_run_in_the_directory_is_not_disturbed_by_an_old_page(tmp_path):
    made(tmp_path, seed=1)
    page = made(tmp_path, seed=2, epsilon=9.0)  # of which the first run has spent a part
    assert "in 2 runs" in page and (tmp_path / "runs" / "001").is_dir()


def test_a_page_that_cannot_be_written_is_told_and_stops_nothing(tmp_path, capsys, monkeypatch):
    made(tmp_path)
    monkeypatch.setattr("lalora_kit.book.runpage.write_atomically", lambda *_: (_ for _ in ()).throw(OSError("full")))
    tell_page(tmp_path, None, as_json=False)
    out, err = capsys.readouterr()
    assert out == "" and err == "no page was written (full); make room there, or give --no-page\n"


@pytest.mark.parametrize(
    ("page", "as_json", "out", "err"), [(None, False, 1, 0), (True, True, 0, 1), (False, False, 0, 0)]
)
def test_the_page_is_named_where_it_does_not_disturb(page, as_json, out, err, tmp_path, capsys):
    made(tmp_path)
    (tmp_path / FILE).unlink()
    tell_page(tmp_path, page, as_json)
    said = capsys.readouterr()
    assert (said.out.count(f"open {tmp_path / FILE}"), said.err.count(f"open {tmp_path / FILE}")) == (out, err)
    assert (tmp_path / FILE).exists() is (page is not False)
