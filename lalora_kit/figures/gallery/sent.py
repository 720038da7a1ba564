"""Accuracy against the numbers that a client sends and receives a round: a picture an ε, the baselines across.

The y axis has room for every seed of every method and for the strongest baselines; a baseline far below is written at
the foot of its picture, so that it does not press all methods into one line.
"""

from __future__ import annotations

import math
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
FAR, FOOT, ROOM = 0.1, 0.03, 0.01  # a baseline so far below all else is written, not drawn; free at either end
SIDE = 0.25  # free at either end of a logarithmic axis, for names
#: A method has its name beside it if no other is so near: a factor in numbers, about as wide as a name, and accuracy.
BESIDE, NEAR = 3.2, 0.015


def sent_figure(found: Sequence[Place], title: str) -> go.Figure:
    """A marker a method at its mean, with all its seeds as a bar; x counts both ways, y axes are one.

    An ε at which no method was run has no picture.
    """
    found = [place for place in found if place.methods]
    rows, floor = -(-len(found) // COLUMNS), floor_of(found)
    above = max((value for place in found for entry in place.methods for value in entry.values), default=1.0)
    names = [f"ε = {epsilon_text(place.epsilon)}" for place in found]
    figure = make_subplots(
        rows,
        COLUMNS,
        subplot_titles=names,
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.05,
        vertical_spacing=0.16,
    )
    named = set[str]()
    for place, (row, column) in zip(found, product(range(1, rows + 1), range(1, COLUMNS + 1)), strict=False):
        span = [entry.up + entry.down for entry in place.methods]
        drawn = [dot(entry, number, alone(entry, place.methods)) for number, entry in enumerate(place.methods)]
        low = [entry for entry in place.baselines if entry.accuracy < floor]
        across = [level(entry, [min(span), max(span)]) for entry in place.baselines if entry not in low]
        for trace in (*drawn, *across):
            trace.showlegend = trace.name not in named
            named.add(trace.name)
            figure.add_trace(trace, row=row, col=column)
        if low:
            told = ", ".join(f"{entry.name} {entry.accuracy:.1%}" for entry in low)
            foot = {"text": f"below: {told}", "x": 0.02, "y": 0.02, "xanchor": "left", "yanchor": "bottom"}
            at = {"xref": "x domain", "yref": "y domain", "row": row, "col": column}
            figure.add_annotation(**foot, **at, showarrow=False)
    both = [entry.up + entry.down for place in found for entry in place.methods] or [1.0]
    wide = [math.log10(min(both)) - SIDE, math.log10(max(both)) + SIDE]
    sent = "numbers sent and received, a client and a round (log)"
    figure.update_xaxes(type="log", range=wide, showticklabels=True, title=sent)
    figure.update_yaxes(range=[floor - FOOT, above + ROOM])
    figure.update_yaxes(title=ACCURACY, tickformat=".0%", col=1)
    figure.update_layout(template=TEMPLATE, title=title, height=240 + 380 * rows, margin={"t": 110, "b": 220})
    return figure


def floor_of(found: Sequence[Place]) -> float:
    """The lowest value drawn: of every method's seeds, and of each baseline that is not `FAR` below these."""
    lowest = min((value for place in found for entry in place.methods for value in entry.values), default=0.0)
    means = [entry.accuracy for place in found for entry in place.baselines]
    return min([lowest, *(mean for mean in means if mean >= lowest - FAR)])


def alone(entry: Entry, others: Sequence[Entry]) -> bool:
    """Whether no other method stands so near that a name would not say whose it is."""

    def near(other: Entry) -> bool:
        times = (entry.up + entry.down) / (other.up + other.down)
        return 1 / BESIDE < times < BESIDE and abs(entry.accuracy - other.accuracy) < NEAR

    return not any(near(other) for other in others if other is not entry)


def dot(entry: Entry, number: int, named: bool) -> go.Scatter:
    """A method; those of the paper in their own look, others by colour and symbol in turn."""
    colours = [colour for colour, _, _ in LOOKS.values()]
    colour, symbol = colours[number % len(colours)], SYMBOLS[number // len(colours) % len(SYMBOLS)]
    own = {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2}}
    return go.Scatter(
        x=[entry.up + entry.down], y=[entry.accuracy], name=entry.name, legendgroup=entry.name,
        mode="markers+text" if named else "markers", text=[entry.name], textposition="bottom center",
        textfont={"size": 11}, marker=look(entry.name)["marker"] if entry.name in LOOKS else own,
        error_y={
            "type": "data", "symmetric": False, "array": [max(entry.values) - entry.accuracy],
            "arrayminus": [entry.accuracy - min(entry.values)], "thickness": 1, "width": 3,
        },
        hovertemplate=f"{entry.name}: %{{y:.1%}}, {entry.up:,.0f} up, {entry.down:,.0f} down",
    )  # fmt: skip


def level(entry: Entry, span: Sequence[float]) -> go.Scatter:
    """A baseline, which lies across: it sends a head, or nothing."""
    return go.Scatter(
        x=list(span), y=[entry.accuracy] * 2, name=entry.name, legendgroup=entry.name, mode="lines",
        line={"color": NEUTRAL, "width": 1.5, "dash": DASHES.get(entry.name, "dot")}, hovertemplate="%{y:.1%}",
    )  # fmt: skip
