"""How the accuracy tables choose rates, on made-up runs; and that kept runs still make the tables of RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from lalora_kit.trial.study import Cell, curves
from tests.benchmarks import accuracy, language
from tests.benchmarks.study import HEAD_ONLY, METHOD_NAMES, REPORTED_SEEDS, Study
from tests.fakes import free_runs

RESULTS = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8")
GRIDS = {"inf": (1.0, 2.0, 4.0), "3": (0.5, 1.0, 2.0)}


def study(folder: Path, **changed) -> Study:
    parts = {
        "command": "made up", "task": "digits", "results": folder / "runs.jsonl", "rates": GRIDS,
        "head_rates": {"inf": (1.0, 2.0), "3": (0.5, 1.0)}, "tuning_seeds": {"inf": (5, 6), "3": (5, 6)},
    }  # fmt: skip
    return Study(**{**parts, **changed})


def accuracy_of(cell: Cell) -> float:
    """Best at head rate 1 and adapter rate 2; on reported seeds it would be the largest of both."""
    if cell.seed in REPORTED_SEEDS:
        return (cell.learning_rate + cell.head_learning_rate + cell.seed) / 100
    of_head = 0.1 * (cell.head_learning_rate == 1)
    return 0.4 + of_head + 0.1 * (cell.learning_rate == 2) * (cell.method != HEAD_ONLY)


def test_the_head_is_chosen_by_head_only_and_the_adapter_beside_it_on_seeds_that_are_not_reported(
    monkeypatch, tmp_path
):
    ran = free_runs(monkeypatch, lambda cell: {"curve": [0.0, accuracy_of(cell)]})
    made, seeds = study(tmp_path), (0, 1, 2)
    done = made.finished(["inf", "3"], ["la-lora", HEAD_ONLY], seeds, workers=1)
    assert made.best((HEAD_ONLY, "inf", 8), done)[1] == 1 and made.best(("la-lora", "3", 8), done) == (2, 1)
    assert {c.head_learning_rate for c in ran if c.method == "la-lora"} == {1}, "the same head for all"
    assert {(c.method, c.learning_rate) for c in ran if c.seed in seeds} == {("la-lora", 2), (HEAD_ONLY, 0.5)}
    assert len(ran) == len(set(ran)) and not made.finished(["3"], [HEAD_ONLY], seeds, workers=1).keys() - done.keys()
    told = made.report(["inf", "3"], ["la-lora", HEAD_ONLY], seeds, done)
    assert "| la-lora | 0.040 ± 0.010 (2, 1) | 0.040 ± 0.010 (2, 1) |" in told
    assert "| la-lora less head-only | +1.5 (0.0) | +1.5 (0.0) |" in told
    assert "best rate at an end of its grid: la-lora at ε = 3, head-only at ε = inf, head-only at ε = 3" in told


def test_the_ceiling_is_one_client_with_rates_of_its_own(monkeypatch, tmp_path):
    ran = free_runs(monkeypatch, lambda cell: {"curve": [0.1 * cell.clients + 0.01 * cell.learning_rate]})
    made = study(tmp_path, alone=("dp-lora", (8.0, 16.0)))
    done = made.finished(["inf"], [HEAD_ONLY], (0, 1), workers=1)
    assert {(c.method, c.epsilon, c.learning_rate) for c in ran if c.clients == 1} == {
        ("dp-lora", float("inf"), rate) for rate in (8.0, 16.0)
    }
    assert "not private: one client with all the data, as many steps: 0.260 ± 0.000 (16, " in made.report(
        ["inf"], [HEAD_ONLY], (0, 1), done
    )


@pytest.mark.parametrize("seeds", [["1"], ["1", "5"]])
def test_seeds_that_chose_are_refused(seeds, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["it", "--reported-seeds", *seeds])
    with pytest.raises(SystemExit) as ended:
        study(tmp_path).main(None)
    assert ended.value.code == 2 and "two or more are needed" in capsys.readouterr().err


@pytest.mark.parametrize("kept", [accuracy.STUDY, language.STUDY], ids=lambda kept: kept.task)
def test_the_table_of_results_is_what_the_kept_runs_say(kept):
    done = curves(kept.results)
    told = kept.report(list(kept.rates), list(METHOD_NAMES), REPORTED_SEEDS, done)
    lines = [line.replace(f" less {HEAD_ONLY} |", " |") for line in told.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 * len(METHOD_NAMES) + len(kept.shipped(list(kept.rates)))
    assert [line for line in lines if line not in RESULTS] == []
    said = kept.beside(list(kept.rates), list(METHOD_NAMES), REPORTED_SEEDS, done)
    assert said and [line for line in said if line not in " ".join(RESULTS.split())] == []


def test_a_linear_model_has_a_rate_of_its_own_and_a_gain_is_told_over_each_baseline(monkeypatch, tmp_path):
    best = {"head-only": 1.0, "linear": 0.5}
    free_runs(monkeypatch, lambda c: {"curve": [0.5 - 0.1 * (best.get(c.method, 1.0) != c.head_learning_rate)]})
    made = study(tmp_path, task="mnist", against=(HEAD_ONLY, "linear"))
    done = made.finished(["3"], ["dp-lora"], (0, 1), workers=1)
    assert {cell.clients for cell in done} == {4}, "as is usual on the task"
    told = made.report(["3"], ["dp-lora"], (0, 1), done)
    assert "| linear | 0.500 ± 0.000 (4, 0.5) |" in told and "| dp-lora less linear | +0.0 (0.0) |" in told
