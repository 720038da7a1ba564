"""Accuracy against the adapter's rate, on made-up runs: the table, the picture, and how far a method holds."""

from pathlib import Path

import pytest

from lalora_kit.figures.collapse import collapse_figure
from lalora_kit.trial import rates
from lalora_kit.trial.study import curves

RESULTS = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8")


def made_up():
    """Every run, with an accuracy that falls beyond rate 4, and a baseline that is best at head's rate 2."""
    done = {cell: [0.8 if cell.learning_rate <= 4 else 0.3] for cell in rates.adapter_cells(rates.SEEDS)}
    done |= {cell: [0.6 if cell.head_learning_rate == 2 else 0.5] for cell in rates.tuning_cells()}
    return done | {cell: [0.6] for cell in rates.baseline_cells(done, rates.SEEDS)}


def test_no_seed_chooses_a_baselines_rate_and_is_reported():
    assert not set(rates.SEEDS) & set(rates.TUNING_SEEDS)
    assert all(rates.baseline_rate(made_up(), name, 1.0) == 2 for name in rates.BASELINES)


def test_the_table_tells_where_each_method_breaks_down():
    told = rates.table(made_up()).splitlines()
    assert "| 1 | 16 | dp-lora | 0.800 | 0.800 | 0.800 | 0.300 | 0.300 | 0.800 | 4 |" in told
    assert "| 3 |  | linear |  |  |  |  |  | 0.600 |  |" in told
    assert len(told) == 2 + 4 * len(rates.METHOD_NAMES) + 2 * len(rates.BASELINES)


def test_a_run_that_is_missing_is_left_out():
    done = made_up()
    del done[rates.adapter_cell("la-lora", 1.0, 4, 16.0, 0)]
    assert len(rates.line(done, "la-lora", 1.0, 4)[16.0]) == len(rates.SEEDS) - 1


def test_a_method_holds_from_its_best_rate_on():
    assert rates.holds_until({1.0: 0.2, 2.0: 0.8, 4.0: 0.75, 8.0: 0.3}) == 4.0
    assert rates.holds_until({1.0: 0.8}) == 1.0


def test_the_picture_has_a_place_for_each_epsilon_and_rank():
    figure = collapse_figure(*rates.pictures(made_up()), title="made up")
    assert len(figure.data) == 4 * (3 * len(rates.METHOD_NAMES) + len(rates.BASELINES))
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert len(shown) == len(set(shown)) == len(rates.METHOD_NAMES) + len(rates.BASELINES)
    assert {trace.line.dash for trace in figure.data if trace.name in rates.BASELINES} == {"dot", "dash", "longdashdot"}


def test_a_sentence_tells_where_two_methods_hold_and_what_is_left():
    said = rates.told(made_up())
    assert len(said) == len(rates.EPSILONS) * len(rates.RANKS)
    assert said[1] == (
        "ε = 1, rank 16: la-lora holds until rate 4 and dp-lora until rate 4. At their best rates they reach 80.0% "
        "and 80.0%; the best baseline, head-only, 60.0%."
    )


def test_the_finding_counts_the_places_where_one_method_is_ahead():
    done = made_up()
    assert rates.finding(done) == (
        "la-lora bears larger rates than dp-lora at 0 of 4 places; <br>"
        "its best rate reaches more than dp-lora's at 0 of 4"
    )
    done[rates.adapter_cell("la-lora", 1.0, 4, 8.0, 0)] = [2.5]  # lifts the mean over three seeds to the best of all
    assert "at 1 of 4 places" in rates.finding(done) and rates.finding(done).endswith("at 1 of 4")
    assert rates.finding({cell: run for cell, run in done.items() if cell.epsilon == 3}).endswith("at 0 of 2")


@pytest.fixture(scope="module")
def kept():
    """The runs that ship."""
    return curves(rates.FILE)


def test_results_tell_what_the_kept_runs_say(kept):
    assert set(rates.adapter_cells(rates.SEEDS)) <= set(kept) and set(rates.tuning_cells()) <= set(kept)
    assert rates.table(kept) in RESULTS
    assert [line for line in rates.told(kept) if f"- {line}" not in RESULTS] == []


def test_what_results_conclude_is_in_the_kept_runs(kept):
    """Each sentence below the table, as numbers."""
    for epsilon in rates.EPSILONS:
        bare = max(sum(v) / len(v) for n in rates.BASELINES if (v := rates.baseline_values(kept, n, epsilon)))
        for rank in rates.RANKS:
            means = {
                name: {x: sum(v) / len(v) for x, v in rates.line(kept, name, epsilon, rank).items()}
                for name in rates.METHOD_NAMES
            }
            until = {name: rates.holds_until(line) for name, line in means.items()}
            best = {name: max(line.values()) for name, line in means.items()}
            assert until["la-lora"] / until["dp-lora"] in (2, 4)
            assert until["dp-lora-filter"] == 2 * until["dp-lora"]
            assert until["la-lora"] == 2 * until["la-lora-nofilter"]
            assert 0.002 <= round(best["dp-lora"] - best["la-lora"], 3) <= 0.008
            assert min(best.values()) - bare > 0.1
            for plain, filtered in (("dp-lora", "dp-lora-filter"), ("la-lora-nofilter", "la-lora")):
                assert 0.015 <= means[plain][1.0] - means[filtered][1.0] <= 0.055
    turned = [
        rates.holds_until({x: sum(v) / len(v) for x, v in rates.line(kept, "la-lora-nofilter", e, r).items()})
        / rates.holds_until({x: sum(v) / len(v) for x, v in rates.line(kept, "dp-lora", e, r).items()})
        for e in rates.EPSILONS for r in rates.RANKS
    ]  # fmt: skip
    assert sorted(turned) == [1, 1, 2, 2]
