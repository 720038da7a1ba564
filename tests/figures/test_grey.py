"""Grey print: in every figure that compares methods, no two lines of one picture differ by their colour alone."""

import itertools
import math

import pytest
import torch

from lalora_kit.figures.ablation import axes_figure, rates_figure
from lalora_kit.figures.collapse import collapse_figure
from lalora_kit.figures.common import accuracy_figure
from lalora_kit.figures.noise import TERMS, growth_figure
from lalora_kit.figures.pictures.duel import duel_figure
from lalora_kit.figures.rate import RateView, rate_panel_figure
from lalora_kit.figures.sharpness import intruders_figure
from lalora_kit.lessons.intruders import Intruders
from lalora_kit.methods import METHODS
from lalora_kit.trial import grid, rates
from lalora_kit.trial.rivals import Rival
from tests.fakes import fake_round

ACROSS = [
    Rival("head-only", 3.0, 8, 1.0, [[0.4, 0.5]]),
    Rival("linear", 3.0, 8, 1.0, [[0.4, 0.6]]),
    Rival("untrained", math.nan, 0, math.nan, [[0.2, 0.2]]),
]
POINTS = {0.5: [0.3, 0.4], 1.0: [0.4, 0.5], 2.0: [0.2, 0.3]}


def figures():
    """Every figure that compares methods, by its name, with all the methods that it may hold."""
    series, own, half = list(grid.SERIES), list(METHODS), torch.full((10,), 0.5)
    along = dict.fromkeys([*own, "linear", "linear-hog", "untrained"], POINTS)
    kept = {epsilon: {name: [0.5] for name in rates.BASELINES} for epsilon in rates.EPSILONS}
    at = {(e, r): dict.fromkeys(rates.METHOD_NAMES, POINTS) for e in rates.EPSILONS for r in rates.RANKS}
    runs = {name: [fake_round(1, 0.2), fake_round(2, 0.5)] for name in own}
    view = RateView("la-lora", "this run", 2, [0.2, 0.5], POINTS, POINTS, [0.5, 1.0, 2.0], rivals=ACROSS)
    return {
        "by rate": rates_figure(dict.fromkeys(series, POINTS), ACROSS, "all"),
        "along two settings": axes_figure({"epsilon": along, "clients": along}, "all"),
        "where methods break down": collapse_figure(at, kept, "all"),
        "by round, in one duel": duel_figure({name: [[0.2, 0.5]] for name in own}, ACROSS, "all"),
        "by round": accuracy_figure(runs, "all"),
        "the rate panel": rate_panel_figure(view),
        "noise times noise by round": growth_figure({name: [0.1, 0.2] for name in own}, "all"),
        "intruders": intruders_figure({name: [Intruders(half, half, half, half)] for name in own}, "all"),
    }


def look(trace):
    """What grey print leaves of a line: its dash and, where it has any, its marker."""
    return (
        (trace.line.dash or "solid") if "lines" in trace.mode else None,
        (trace.marker.symbol or "circle") if "markers" in trace.mode else None,
    )


def lines(figure):
    """The lines that a reader tells apart, by the picture that they stand in; what is pale or a band's edge is not."""
    found = {}
    for trace in figure.data:
        if trace.type == "scatter" and trace.line.width != 0 and (trace.opacity or 1) >= 0.6 and any(trace.x or ()):
            found.setdefault(trace.xaxis, {})[trace.name] = look(trace)
    return found


FIGURES = figures()


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_lines_differ_by_colour_alone(name):
    for one in lines(FIGURES[name]).values():
        assert len(one) > 1, "a picture with nothing to tell apart proves nothing"
        same = [pair for pair in itertools.combinations(one, 2) if one[pair[0]] == one[pair[1]]]
        assert same == []


def test_no_two_terms_of_the_noise_differ_by_colour_or_width_alone():
    assert len({dash for _, _, dash, _ in TERMS.values()}) == len(TERMS)
