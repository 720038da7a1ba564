"""Pooling: results of a class's notebooks, read from the files that were handed in."""

from __future__ import annotations

import json
import statistics

import nbformat
import pytest
from scipy import stats

from lalora_kit.cli import app as cli
from lalora_kit.figures.pool import pooled_figure
from lalora_kit.lessons.lesson import RESULT_MIME
from lalora_kit.trial.pool import pool


def handed_in(directory, seed, accuracy, name=None, notebook="00_start_here", **parameters):
    """An executed notebook, as a student would save it."""
    record = {
        "notebook": notebook,
        "parameters": {"epsilon": 3.0, "rank": 4, "seed": seed, **parameters},
        "result": "done",
        "figures": {"accuracy": accuracy, "noise_multiplier": 1.2},
        "seen": {},
    }
    output = nbformat.v4.new_output("display_data", {RESULT_MIME: record, "text/plain": "done"})
    cells = [nbformat.v4.new_markdown_cell("# Mine"), nbformat.v4.new_code_cell("result()", outputs=[output])]
    path = directory / (name or f"student {seed}.ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def values(count):
    return [0.4 + 0.01 * ((7 * seed) % 13) for seed in range(count)]


def test_forty_seeds_become_one_mean_with_its_interval(tmp_path):
    for seed, accuracy in enumerate(values(40)):
        handed_in(tmp_path, seed, accuracy)
    pooled = pool([tmp_path])
    [effect] = pooled.effects.values()
    assert (effect.seeds, pooled.notebook, pooled.left_out) == (40, "00_start_here", [])
    assert effect.mean == pytest.approx(statistics.fmean(values(40)))
    low, high = stats.t.interval(0.95, 39, effect.mean, stats.sem(values(40)))
    assert (effect.low, effect.high) == pytest.approx((low, high))
    figure = pooled_figure(pooled)
    assert len(figure.data[0].y) == 40 and figure.data[1].y == (effect.mean,)
    assert "over 40 seeds" in figure.layout.title.text


def test_what_differs_makes_groups(tmp_path):
    for seed in range(3):
        handed_in(tmp_path, seed, 0.4 + seed / 100)
        handed_in(tmp_path, seed, 0.3, name=f"low {seed}.ipynb", epsilon=1.0)
    pooled = pool([tmp_path])
    assert set(pooled.groups) == {"epsilon = 3", "epsilon = 1"}
    assert pooled.effects["epsilon = 1"].mean == pytest.approx(0.3)
    groups = json.loads(json.dumps(pooled.to_json(), allow_nan=False))["groups"]
    assert groups["epsilon = 3"]["seeds"]["2"] == pytest.approx(0.42)


def test_a_file_that_jupyterlab_saved_is_pooled_with_one_that_papermill_wrote(tmp_path):
    handed_in(tmp_path, 0, 0.5)  # its parameters say 3.0
    lab = handed_in(tmp_path, 1, 0.6)
    lab.write_text(lab.read_text().replace('"epsilon": 3.0', '"epsilon": 3'))
    assert pool([tmp_path]).groups == {"": {0: 0.5, 1: 0.6}}


def test_what_cannot_count_is_left_out_with_the_reason(tmp_path):
    for seed in range(2):
        handed_in(tmp_path, seed, 0.5)
    handed_in(tmp_path, 0, 0.5, name="twice.ipynb")
    handed_in(tmp_path, 1, 0.9, name="z another.ipynb")
    (tmp_path / "text.ipynb").write_text("hello")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), tmp_path / "not run.ipynb")
    pooled = pool([tmp_path])
    [effect] = pooled.effects.values()
    assert effect.seeds == 2 and effect.mean == 0.5
    reasons = "\n".join(pooled.left_out)
    assert len(pooled.left_out) == 3 and "text.ipynb: it is no notebook" in reasons
    assert "not run.ipynb: it holds no result: it was not run to its end" in reasons
    assert "z another.ipynb: seed 1 is there with another value already" in reasons


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"does not exist; name executed notebooks"):
        pool([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"nothing to pool: no result was found"):
        pool([tmp_path])
    handed_in(tmp_path, 0, 0.5)
    with pytest.raises(ValueError, match=r"figure='acuracy' is in none .*they have accuracy, noise_multiplier"):
        pool([tmp_path], "acuracy")
    handed_in(tmp_path, 1, 0.5, notebook="01_gradient_coupling")
    with pytest.raises(ValueError, match=r"they are of 00_start_here, 01_gradient_coupling; hand in .*of one notebook"):
        pool([tmp_path])


def test_the_command_writes_one_page_that_needs_no_network(tmp_path, monkeypatch, capsys):
    for seed, accuracy in enumerate(values(3)):
        handed_in(tmp_path, seed, accuracy)
    monkeypatch.setattr("sys.argv", ["lalora", "pool", str(tmp_path), "--out", str(tmp_path / "pool.html")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "00_start_here: accuracy 0.4" in capsys.readouterr().out
    text = (tmp_path / "pool.html").read_text("utf-8")
    assert "over 3 seeds" in text and "cdn.plot.ly" not in text.split("<body>")[0]
