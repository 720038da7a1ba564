"""Figures of the ablation: the adapter's learning rate against accuracy, a band over seeds for each line.

Head-only, which trains no adapter, is a rate of zero: its place is at the left end, and a line across.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures import ACCURACY, LOOKS, NEUTRAL, TEMPLATE, look, rounds_tick

RATE = "adapter's learning rate"
#: control -> (whose colour it has, dash, marker)
CONTROL_LOOKS = {
    "la-lora-permuted": ("la-lora", "dot", "star"),
    "la-lora-nofilter × 0.523": ("la-lora-nofilter", "dot", "star"),
    "dp-lora × 0.71": ("dp-lora", "dashdot", "star"),
    "dp-lora × 0.5": ("dp-lora", "dot", "star-square"),
}
Line = Mapping[float, Sequence[float]]  # rate -> final accuracies, one a seed


def series_look(name: str) -> dict[str, Any]:
    """Line and marker of a method, or of a control in the colour of what it controls."""
    if name not in CONTROL_LOOKS:
        return look(name)
    owner, dash, symbol = CONTROL_LOOKS[name]
    colour = LOOKS[owner][0]
    return {
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "symbol": symbol, "size": 9},
    }


def rates_figure(
    lines: Mapping[str, Line], head: Line, title: str, here: Mapping[str, tuple[float, float]] | None = None
) -> go.Figure:
    """Accuracy by rate, mean and range over seeds; `here` holds this notebook's own runs as `(rate, accuracy)`."""
    figure = go.Figure()
    for name, points in lines.items():
        low, high, mean = band(points)
        colour = series_look(name)["line"]["color"]
        figure.add_trace(go.Scatter(**low, **edge(colour)))
        figure.add_trace(go.Scatter(**high, **edge(colour, fill=True)))
        named = {"name": f"{name} ({seeds(points)})", "mode": "lines+markers", "hovertemplate": "rate %{x}: %{y:.1%}"}
        figure.add_trace(go.Scatter(**mean, **named, **series_look(name)))
    rates = sorted({rate for points in lines.values() for rate in points})
    for trace in head_traces(head, rates):
        figure.add_trace(trace)
    for name, (rate, accuracy) in (here or {}).items():
        figure.add_trace(go.Scatter(x=[rate], y=[accuracy], **dot(name), name=f"{name}, run here", showlegend=False))
    figure.update_layout(template=TEMPLATE, title_text=title, height=440, legend_traceorder="normal")
    figure.update_xaxes(title_text=f"{RATE} (log scale; 0 is head-only)", type="log", **rate_ticks(rates))
    figure.update_yaxes(title_text=ACCURACY, rangemode="tozero", tickformat=".0%")
    return figure


def band(points: Line) -> tuple[dict[str, Any], ...]:
    """x and y of the least, the largest and the mean accuracy over seeds."""
    x = sorted(points)
    return tuple({"x": x, "y": [of(points[rate]) for rate in x]} for of in (min, max, statistics.fmean))


def edge(colour: str, fill: bool = False) -> dict[str, Any]:
    """Look of a band's edge: none, but for what lies between the two."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    between = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},0.18)"} if fill else {}
    return {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, **between}


def seeds(points: Line) -> str:
    """How many seeds each point has: `5 seeds`, `2 to 5 seeds`."""
    counts = sorted({len(values) for values in points.values()})
    if not counts:
        return "not run yet"
    span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"{span} seed{'s' * (counts[-1] > 1)}"


def head_traces(head: Line, rates: Sequence[float]) -> list[go.Scatter]:
    """Head-only as a line across, from its own place at the left."""
    if not head or not rates:
        return []
    x, y = [rates[0] / 2, rates[-1]], statistics.fmean(next(iter(head.values())))  # the adapter's rate is nothing to it
    name = f"head-only ({seeds(head)})"
    style = {**look("head-only"), "line": {"color": LOOKS["head-only"][0], "dash": "dot", "width": 1.5}}
    return [go.Scatter(x=x, y=[y, y], name=name, mode="lines", hovertemplate="%{y:.1%}", **style)]


def dot(name: str) -> dict[str, Any]:
    """A run made here and now: the method's marker, large, with a dark rim."""
    marker = {**series_look(name)["marker"], "size": 12, "line": {"color": "#222222", "width": 1}}
    return {"mode": "markers", "marker": marker, "hovertemplate": "rate %{x}: %{y:.1%}"}


def rate_ticks(rates: Sequence[float]) -> dict[str, Any]:
    """A tick for each rate, and one for zero, where head-only begins."""
    if not rates:
        return {}
    return {
        "tickmode": "array",
        "tickvals": [rates[0] / 2, *rates],
        "ticktext": ["0", *(f"{rate:g}" for rate in rates)],
    }


@dataclass(frozen=True)
class RateView:
    """What the ablation's panel shows: a run by round, and where it lands in the grid.

    method, name: of the run on show, and its settings in short.
    accuracy, previous: by round, of this run and of the one before, which is called `previous_name`.
    grid: of the method chosen, accuracies by rate; `head` of head-only.
    dots: `(method, rate, accuracy)` of every run finished here.
    """

    method: str
    name: str
    rounds: int
    accuracy: Sequence[float]
    grid: Line
    head: Line
    rates: Sequence[float]
    previous: Sequence[float] = ()
    previous_name: str = "run before"
    dots: Sequence[tuple[str, float, float]] = ()


def rate_data(view: RateView) -> list[dict[str, Any]]:
    """What changes in the panel's seven traces, in the order of `rate_panel_figure`."""
    low, high, mean = band(view.grid)
    own = series_look(view.method)
    fill = edge(own["line"]["color"], fill=True)["fillcolor"]
    head = [{"x": list(t.x), "y": list(t.y)} for t in head_traces(view.head, view.rates)] or [{"x": [], "y": []}]
    marks = [series_look(name)["marker"] for name, *_ in view.dots]
    return [
        {"x": list(range(1, len(view.previous) + 1)), "y": list(view.previous), "name": view.previous_name},
        {"x": list(range(1, len(view.accuracy) + 1)), "y": list(view.accuracy), "name": view.name, **own},
        low,
        {**high, "fillcolor": fill},
        {**mean, "name": f"grid: {view.method} ({seeds(view.grid)})", **own},
        head[0],
        {
            "x": [rate for _, rate, _ in view.dots],
            "y": [accuracy for *_, accuracy in view.dots],
            "text": [name for name, *_ in view.dots],
            "marker": {"color": [m["color"] for m in marks], "symbol": [m["symbol"] for m in marks]},
        },
    ]


def rate_panel_figure(view: RateView) -> go.Figure:
    """The live panel: accuracy as the rounds come in, and the grid that the finished run lands in."""
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.12)
    by_round = {"mode": "lines+markers", "hovertemplate": "round %{x}: %{y:.1%}"}
    black = {"color": LOOKS["head-only"][0], "dash": "dot", "width": 1.5}
    rim = {"size": 13, "line": {"color": "#222222", "width": 1.5}}
    styles: list[dict[str, Any]] = [
        {**by_round, "line": {"color": NEUTRAL, "width": 1.5}, "opacity": 0.4},
        by_round,
        edge("#000000"),
        edge("#000000", fill=True),
        {"mode": "lines+markers", "opacity": 0.6, "hovertemplate": "rate %{x}: %{y:.1%}"},
        {"mode": "lines", "line": black, "name": f"head-only ({seeds(view.head)})"},
        {"mode": "markers", "marker": rim, "name": "runs made here", "hovertemplate": "%{text}, rate %{x}: %{y:.1%}"},
    ]
    for place, (style, data) in enumerate(zip(styles, rate_data(view), strict=True)):
        merged = {**style, **data, "marker": {**style.get("marker", {}), **data.get("marker", {})}}
        figure.add_trace(go.Scatter(**merged), 1, 1 if place < 2 else 2)
    figure.update_layout(
        template=TEMPLATE, title_text=rate_title(view), height=460, autosize=True, legend_traceorder="normal"
    )
    figure.update_xaxes(title_text="round", range=[0, view.rounds + 0.5], dtick=rounds_tick(view.rounds), col=1)
    figure.update_xaxes(title_text=f"{RATE} (log)", type="log", **rate_ticks(view.rates), col=2)
    figure.update_yaxes(title_text=ACCURACY, range=[0, 1], tickformat=".0%", col=1)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", col=2)
    return figure


def rate_title(view: RateView) -> str:
    """What the newest round says."""
    if not view.accuracy:
        return f"{view.method}: ready to train"
    return f"{view.method}: {view.accuracy[-1]:.1%} after {len(view.accuracy)} of {view.rounds} rounds"
