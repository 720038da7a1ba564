"""Figures of the two lessons at scale: how privacy gets cheap in crowds, and who pays for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lalora_kit.figures.common import LOOKS, NEUTRAL, TEMPLATE

COLOURS = (LOOKS["la-lora"][0], LOOKS["dp-lora"][0], LOOKS["ffa-lora"][0])
DASHES, MARKERS = ("solid", "dash", "dot"), ("circle", "square", "diamond")


def crowd_figure(lines: Mapping[str, Mapping[int, float]], here: Sequence[int], title: str) -> go.Figure:
    """σ by people per client, both on log axes, a line for each ε; `here` marks the clients of a run."""
    figure = go.Figure()
    for place, (name, points) in enumerate(lines.items()):
        figure.add_trace(
            go.Scatter(
                x=list(points), y=list(points.values()), name=name, mode="lines+markers",
                line={"color": COLOURS[place % 3], "dash": DASHES[place % 3], "width": 2.5},
                marker={"symbol": MARKERS[place % 3], "size": 8}, hovertemplate="%{x:,} people: σ = %{y:.3g}",
            )
        )  # fmt: skip
    for size in sorted(set(here)):
        figure.add_vline(size, line={"color": NEUTRAL, "width": 1, "dash": "dot"}, opacity=0.5)
    figure.update_layout(template=TEMPLATE, title_text=title, showlegend=True)
    sizes = [*here, *(size for points in lines.values() for size in points)]
    ends = [math.log10(min(sizes) * 0.8), math.log10(max(sizes) * 1.25)]
    figure.update_xaxes(type="log", title_text="people per client (log scale)", range=ends, dtick=1)
    figure.update_yaxes(type="log", title_text="noise multiplier σ (log scale)", dtick=1)
    return figure


def owners_figure(
    sizes: Sequence[int],
    accuracies: Mapping[str, Sequence[float]],
    means: Mapping[str, Mapping[float, float]],
    title: str,
) -> go.Figure:
    """A faint dot an owner, by its training samples; a line through the means of owners of like size."""
    figure = go.Figure()
    for place, (name, values) in enumerate(accuracies.items()):
        colour, symbol = COLOURS[place % 3], MARKERS[place % 3]
        figure.add_trace(
            go.Scatter(
                x=list(sizes), y=list(values), mode="markers", showlegend=False, hovertemplate="%{x}: %{y:.0%}",
                marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.25},
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=list(means[name]), y=list(means[name].values()), name=name, mode="lines+markers",
                line={"color": colour, "dash": DASHES[place % 3], "width": 2.5},
                marker={"color": colour, "symbol": symbol, "size": 10}, hovertemplate="about %{x:.0f}: %{y:.1%}",
            )
        )  # fmt: skip
    figure.update_layout(template=TEMPLATE, title_text=title)
    figure.update_xaxes(type="log", title_text="training samples of the owner (log scale)", dtick=1)
    figure.update_yaxes(title_text="accuracy on the owner's test samples", range=[0, 1.02], tickformat=".0%")
    return figure
