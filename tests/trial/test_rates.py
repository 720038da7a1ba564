"""Accuracy against the adapter's rate, on made-up runs: the table, the picture, and how far a method holds."""

from lalora_kit.figures.collapse import collapse_figure
from lalora_kit.trial import rates


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
        "ε = 1, rank 16: la-lora until rate 4 and dp-lora until rate 4; at their best rates 80.0% and 80.0%; "
        "head-only 60.0%."
    )
