"""The rivals in the grid: which runs there are, whose rate is chosen on which seeds, and which setting is nearest."""

from __future__ import annotations

import json
import math

import pytest

from lalora_kit.methods import METHODS
from lalora_kit.trial import grid, rivals
from lalora_kit.trial.designs import DIGITS
from lalora_kit.trial.rivals import bare_run, best_rate, fill, known, places, rival, told, told_of_run
from lalora_kit.trial.study import lines
from tests.fakes import free_runs

HEAD_RATES, TUNING_SEEDS, AXES = DIGITS.head_rates, DIGITS.tuning_seeds, DIGITS.axes
MADE = {"made": "m", "command": "c", "task": {"task": "small", "data": "d"}, "settings": {}, "untrained": 0.25}


def level(cell):
    """Best at the head's rate 2 on the seeds that choose, at 8 on the reported ones; less with more clients."""
    top = 2.0 if cell.seed in TUNING_SEEDS else 8.0
    strong = 0.2 * (cell.method == "linear-hog") - 0.1 * (cell.method == "head-only")
    return round(0.5 + strong + 0.05 * (cell.head_learning_rate == top) - 0.001 * cell.clients, 6)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A grid of rivals, filled with runs that cost nothing; the path, and the cells that were run."""
    folder = tmp_path_factory.mktemp("grid")
    path = folder / "small.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        ran = free_runs(patch, lambda cell: {"curve": [0.1, level(cell)]})
        fill(path, MADE, ["linear", "linear-hog", "head-only"], DIGITS)
        patch.setattr(rivals, "file_of", lambda task: folder / f"{task}.jsonl")
        for kept in (rivals.shipped, rivals.nearest):
            kept.cache_clear()
        yield path, ran
    for kept in (rivals.shipped, rivals.nearest):
        kept.cache_clear()


def test_a_linear_model_is_run_at_every_place_and_the_head_along_each_axis(filled):
    path, ran = filled
    across = len(AXES["epsilon"]) * len(AXES["clients"])
    along = len(AXES["epsilon"]) + len(AXES["clients"]) - 1
    assert (len(places("linear", DIGITS)), len(places("head-only", DIGITS))) == (across, along)
    each = len(HEAD_RATES) * len(TUNING_SEEDS) + len(DIGITS.drawn)
    assert len(ran) == len(set(ran)) == (2 * across + along) * each and set(ran) <= known(design=DIGITS)
    assert len({(cell.rank, cell.learning_rate) for cell in ran}) == 1, "a rival has neither rank nor adapter's rate"
    before = lines(path)
    fill(path, MADE, ["linear", "linear-hog", "head-only"], DIGITS)
    assert len(ran) == len(set(ran)) and lines(path) == before, "a second call finds all done"


def test_what_is_written_is_read_again(filled):
    path, ran = filled
    assert grid.load(path) == {cell: [0.1, level(cell)] for cell in ran} and rivals.guess_in(path) == 0.25
    assert grid.task_in(path) == "small" and all(line["made"] == "m" for line in lines(path).values())
    text = [json.loads(line) for line in path.read_text().splitlines()]
    assert any(line.get("epsilon", 0) is None for line in text), "an infinite ε is null"


def test_the_rate_is_chosen_on_other_seeds_than_are_reported(filled):
    runs = grid.load(filled[0])
    assert best_rate(runs, "linear", 3.0, 8, DIGITS) == 2.0
    one = rival(runs, "linear", 3.0, 8, DIGITS)
    assert one.rate == 2.0 and one.accuracy == pytest.approx(0.492) and len(one.curves) == len(DIGITS.drawn)
    del runs[bare_run("linear", 0.5, 3.0, TUNING_SEEDS[0], DIGITS)]
    assert math.isnan(best_rate(runs, "linear", 3.0, 8, DIGITS)) and rival(runs, "linear", 3.0, 8, DIGITS) is None
    runs[bare_run("linear", DIGITS.usual.head_learning_rate, 3.0, 0, DIGITS)] = [0.1, 0.4]
    assert rival(runs, "linear", 3.0, 8, DIGITS).text == "linear, usual rate 40.0%", (
        "what nobody chose is said to be so"
    )


def test_the_nearest_place_is_named_and_holds_the_stronger_linear_model(filled):
    found = rivals.nearest("small", 3.0, 8)
    assert [one.name for one in found] == ["head-only", "linear-hog", "untrained"]
    far = rivals.nearest("small", 0.4, 40)
    assert [(one.name, one.epsilon, one.clients) for one in far[:1]] == [("linear-hog", 1.0, 32)]
    assert "ε 1, 32 clients, 2 rounds, 5 seeds" in told("small", far) and "untrained 25.0%" in told("small", far)
    assert math.isinf(rivals.nearest("small", math.inf, 8)[0].epsilon)
    assert "No run of a baseline on large is shipped" in told("large", rivals.nearest("large", 3.0, 8))


def test_a_run_is_told_what_it_is_not_ahead_of(filled):
    found = rivals.nearest("small", 3.0, 8)
    accuracy = {one.name: one.accuracy for one in found}
    behind = told_of_run(METHODS["dp-lora"], 0.3, 2000, found)
    assert [line.split(" (")[0] for line in behind] == ["head-only", "linear-hog"] and "ahead of dp-lora" in behind[0]
    level_with = told_of_run(METHODS["dp-lora"], accuracy["linear-hog"], 2000, found)
    assert len(level_with) == 1 and "linear-hog (69.2%) is level with dp-lora (69.2%)" in level_with[0]
    assert "ε 3, 8 clients" in level_with[0]
    assert told_of_run(METHODS["dp-lora"], 0.9, 2000, found) == []


def test_the_shipped_grid_of_digits_holds_linear_models_everywhere():
    runs, design = grid.load(grid.file_of("digits")), DIGITS
    names = ("linear", "linear-hog")
    assert all(rival(runs, name, *place, design) for name in names for place in places(name, design))
