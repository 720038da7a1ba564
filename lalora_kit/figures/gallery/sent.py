"""Accuracy against the numbers that a client sends and receives a round: a picture an ε, the baselines across."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import ACCURACY, LOOKS, NEUTRAL, TEMPLATE, look
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.trial.gallery.table import Entry, Place

DASHES = {"head-only": "dot", "linear": "dash", "linear-hog": "longdashdot", "untrained": "dashdot"}
SYMBOLS = ("diamond-open", "circle-open", "square-open", "x-thin-open")
COLUMNS = 2


def sent_figure(found: Sequence[Place], title: str) -> go.Figure:
    """A marker a method at its mean, with all its seeds as a bar; x counts both ways, y axes are one."""
    rows = -(-len(found) // COLUMNS)
    names = [f"ε = {epsilon_text(place.epsilon)}" for place in found]
    figure = make_subplots(
        rows, COLUMNS, subplot_titles=names, shared_yaxes="all", horizontal_spacing=0.05, vertical_spacing=0.16
    )
    named = set[str]()
    for place, (row, column) in zip(found, product(range(1, rows + 1), range(1, COLUMNS + 1)), strict=False):
        span = [entry.up + entry.down for entry in place.methods]
        drawn = [dot(entry, number) for number, entry in enumerate(place.methods)]
        across = [level(entry, [min(span), max(span)]) for entry in place.baselines] if span else []
        for trace in (*drawn, *across):
            trace.showlegend = trace.name not in named
            named.add(trace.name)
            figure.add_trace(trace, row=row, col=column)
    figure.update_xaxes(type="log", title="numbers sent and received, a client and a round (log)")
    figure.update_yaxes(title=ACCURACY, tickformat=".0%", col=1)
    figure.update_layout(template=TEMPLATE, title=title, height=240 + 380 * rows, margin={"b": 220})
    return figure


def dot(entry: Entry, number: int) -> go.Scatter:
    """A method; those of the paper in their own look, others by colour and symbol in turn."""
    colours = [colour for colour, _, _ in LOOKS.values()]
    colour, symbol = colours[number % len(colours)], SYMBOLS[number // len(colours) % len(SYMBOLS)]
    own = {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2}}
    return go.Scatter(
        x=[entry.up + entry.down], y=[entry.accuracy], name=entry.name, legendgroup=entry.name, mode="markers",
        marker=look(entry.name)["marker"] if entry.name in LOOKS else own,
        error_y={
            "type": "data", "symmetric": False, "array": [max(entry.values) - entry.accuracy],
            "arrayminus": [entry.accuracy - min(entry.values)], "thickness": 1,
        },
        hovertemplate=f"{entry.name}: %{{y:.1%}}, {entry.up:,.0f} up, {entry.down:,.0f} down",
    )  # fmt: skip


def level(entry: Entry, span: Sequence[float]) -> go.Scatter:
    """A baseline, which lies across: it sends a head, or nothing."""
    return go.Scatter(
        x=list(span), y=[entry.accuracy] * 2, name=entry.name, legendgroup=entry.name, mode="lines",
        line={"color": NEUTRAL, "width": 1.5, "dash": DASHES.get(entry.name, "dot")}, hovertemplate="%{y:.1%}",
    )  # fmt: skip
