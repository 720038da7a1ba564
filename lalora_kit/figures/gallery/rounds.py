"""Accuracy by round of several methods, with what has no adapter as grey lines across: lessons 10 and 11 end on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lalora_kit.figures.ablation import rival_lines, rival_style
from lalora_kit.figures.common import ACCURACY, TEMPLATE
from lalora_kit.trial.rivals import Rival

Look = tuple[str, str, str]  # colour, dash, marker


def accuracy_by_round(
    curves: Mapping[str, Sequence[float]], looks: Mapping[str, Look], rivals: Sequence[Rival], title: str
) -> go.Figure:
    """A line a method, in its look; `curves` has each one's accuracy after every round."""
    figure, last = go.Figure(), max(map(len, curves.values()))
    for name, accuracies in curves.items():
        colour, dash, symbol = looks[name]
        line, marker = {"color": colour, "dash": dash, "width": 2.5}, {"color": colour, "symbol": symbol, "size": 9}
        x = list(range(1, last + 1))
        trace = go.Scatter(x=x, y=list(accuracies), name=name, mode="lines+markers", line=line, marker=marker)
        figure.add_trace(trace)
    for across in rival_lines(rivals, (0.5, last + 0.5)):
        figure.add_trace(go.Scatter(**{**rival_style(), **across}))
    figure.update_layout(template=TEMPLATE, title_text=title, height=430)
    figure.update_xaxes(title_text="round", range=[0.5, last + 0.5], dtick=1)
    figure.update_yaxes(title_text=ACCURACY, range=span_of(curves, rivals), tickformat=".0%")
    return figure


def span_of(curves: Mapping[str, Sequence[float]], rivals: Sequence[Rival]) -> tuple[float, float]:
    """Ends of an axis that holds all accuracies with some room, so that baselines which are close are told apart."""
    found = [*(y for curve in curves.values() for y in curve), *(one.accuracy for one in rivals)]
    return max(0.0, min(found) - 0.08), min(1.0, max(found) + 0.08)
