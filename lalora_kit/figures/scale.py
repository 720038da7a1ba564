"""Figures of the two lessons at scale: how privacy gets cheap in crowds, and who pays for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import LOOKS, NEUTRAL, TEMPLATE

COLOURS = (LOOKS["la-lora"][0], LOOKS["dp-lora"][0], LOOKS["ffa-lora"][0])
DASHES, MARKERS = ("solid", "dash", "dot"), ("circle", "square", "diamond")
Points = Sequence[tuple[float, float]]
CROWDS = (100, 100_000)  # people per client, the ends of the panel's axes


def line_of(place: int, points: Points, name: str, hover: str) -> dict[str, Any]:
    """A trace's data and look: a colour, dash and marker of its own."""
    x, y = zip(*points, strict=True) if points else ((), ())
    return {
        "x": list(x), "y": list(y), "name": name, "mode": "lines+markers", "hovertemplate": hover,
        "line": {"color": COLOURS[place % 3], "dash": DASHES[place % 3], "width": 2.5},
        "marker": {"symbol": MARKERS[place % 3], "size": 8, "color": COLOURS[place % 3]},
    }  # fmt: skip


def crowd_figure(lines: Mapping[str, Mapping[int, float]], here: Sequence[int], title: str) -> go.Figure:
    """σ by people per client, both on log axes, a line for each ε; `here` marks the clients of a run."""
    figure = go.Figure()
    for place, (name, points) in enumerate(lines.items()):
        figure.add_trace(go.Scatter(line_of(place, list(points.items()), name, "%{x:,} people: σ = %{y:.3g}")))
    for size in sorted(set(here)):
        figure.add_vline(size, line={"color": NEUTRAL, "width": 1, "dash": "dot"}, opacity=0.5)
    figure.update_layout(template=TEMPLATE, title_text=title, showlegend=True)
    sizes = [*here, *(size for points in lines.values() for size in points)]
    ends = [math.log10(min(sizes) * 0.8), math.log10(max(sizes) * 1.25)]
    figure.update_xaxes(type="log", title_text="people per client (log scale)", range=ends, dtick=1)
    figure.update_yaxes(type="log", title_text="noise multiplier σ (log scale)", dtick=1)
    return figure


@dataclass(frozen=True)
class CrowdView:
    """What the panel of lesson 07 shows, each as `(people per client, value)`.

    sigmas: the noise multiplier. fixed, growing: noise in one averaged step, in units of C, where a step draws as many
    people whatever the client's size, and where it draws the same share of them. people: where the slider stands.
    """

    sigmas: Points
    fixed: Points
    growing: Points
    people: int
    batch: int

    def here(self, points: Points) -> list[tuple[float, float]]:
        """The point at the slider's place."""
        return [point for point in points if point[0] == self.people]


def crowd_data(view: CrowdView) -> list[dict[str, Any]]:
    """What changes in the panel's traces: each line, and its point at the slider's place."""
    lines = (
        (0, view.sigmas, "σ", "%{x:,} people: σ = %{y:.3g}"),
        (1, view.fixed, f"{view.batch} people a step", "%{x:,} people: %{y:.3g} C"),
        (2, view.growing, "the same share a step", "%{x:,} people: %{y:.3g} C"),
    )
    data = [line_of(*line) for line in lines]
    for points in (view.sigmas, view.fixed, view.growing):
        x, y = zip(*view.here(points), strict=True) if view.here(points) else ((), ())
        data.append({"x": list(x), "y": list(y)})
    return data


def crowd_panel_figure(view: CrowdView, title: str) -> go.Figure:
    """Left σ, right the noise in one averaged step, by people per client; rings where the slider stands."""
    figure = make_subplots(1, 2, horizontal_spacing=0.16)
    for place, data in enumerate(crowd_data(view)):
        ring = {
            "mode": "markers", "marker": {"symbol": "circle-open", "size": 18, "color": "#000", "line": {"width": 3}},
            "showlegend": False, "hoverinfo": "skip",
        }  # fmt: skip
        figure.add_trace(go.Scatter(data if place < 3 else {**ring, **data}), 1, 1 if place in (0, 3) else 2)
    ends = [math.log10(CROWDS[0] * 0.8), math.log10(CROWDS[1] * 1.25)]
    figure.update_layout(template=TEMPLATE, title_text=title, height=430, margin={"t": 80})
    figure.update_xaxes(type="log", title_text="people per client", range=ends, dtick=1)
    figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(title_text="noise multiplier σ", col=1)
    figure.update_yaxes(title_text="noise in a step, in C", col=2)
    return figure


@dataclass(frozen=True)
class PaysView:
    """What the panel of lesson 08 shows, by group of owners, those who brought least first.

    names: of the groups. clear, noisy: accuracy of the shipped runs without and with noise. lost: points lost between
    the two, and `error`, half an interval. run: accuracy of the newest run made here, empty without one.
    """

    names: Sequence[str]
    clear: Sequence[float]
    noisy: Sequence[float]
    lost: Sequence[float]
    error: Sequence[float]
    run: Sequence[float] = ()
    noise: str = ""

    @property
    def cost(self) -> list[float]:
        """Points that the newest run is below the shipped runs without noise."""
        return [100 * (a - b) for a, b in zip(self.clear, self.run, strict=False)]


def pays_data(view: PaysView) -> list[dict[str, Any]]:
    """What changes in the panel's traces."""
    mine = list(view.names[: len(view.run)])
    names = list(view.names)
    return [
        {"x": names, "y": list(view.clear)},
        {"x": names, "y": list(view.noisy), "name": f"shipped, {view.noise}"},
        {"x": mine, "y": list(view.run)},
        {"x": names, "y": list(view.lost), "error_y": {"array": list(view.error)}},
        {"x": mine, "y": view.cost},
    ]


def pays_figure(view: PaysView, title: str) -> go.Figure:
    """Left accuracy by group of owners, right the points that each group lost."""
    figure = make_subplots(1, 2, horizontal_spacing=0.16)
    cross = {"mode": "markers", "marker": {"symbol": "x", "size": 12, "color": "#000"}}
    styles: list[dict[str, Any]] = [
        line_of(1, (), "shipped, without noise", "%{x}: %{y:.1%}"),
        line_of(0, (), "", "%{x}: %{y:.1%}"),
        {**cross, "name": "your run", "hovertemplate": "%{x}: %{y:.1%}"},
        {"type": "bar", "marker": {"color": COLOURS[0]}, "showlegend": False, "hovertemplate": "%{x}: %{y:.1f}"},
        {**cross, "showlegend": False, "hovertemplate": "%{x}: %{y:.1f}"},
    ]
    for place, (style, data) in enumerate(zip(styles, pays_data(view), strict=True)):
        merged = {**style, **data}
        kind = go.Bar if merged.pop("type", "") == "bar" else go.Scatter
        figure.add_trace(kind(**merged), 1, 1 if place < 3 else 2)
    figure.update_layout(template=TEMPLATE, title_text=title, height=430, margin={"t": 80, "b": 130})
    figure.update_xaxes(title_text="sentences of an owner", categoryorder="array", categoryarray=list(view.names))
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", col=1)
    figure.update_yaxes(title_text="points lost to the noise", zeroline=True, zerolinecolor=NEUTRAL, col=2)
    return figure
