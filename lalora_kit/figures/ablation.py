"""Figures of the ablation: one setting against accuracy, a band over seeds for each line.

Head-only, which trains no adapter, is an adapter's rate of zero: its place is at the left end, and a line across.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import ACCURACY, LOOKS, TEMPLATE, Line, band, edge, look, seeds
from lalora_kit.figures.pictures.across import RIVAL_LOOKS, rival_lines, rival_look, rival_style
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.runs.yardsticks import HEAD_ONLY
from lalora_kit.trial.ablation import Runs
from lalora_kit.trial.designs import Design
from lalora_kit.trial.rivals import LINEARS, Rival, rival, untrained

RATE = "learning_rate"
#: setting -> what its axis is called
AXIS_NAMES = {
    RATE: "adapter's learning rate",
    "epsilon": "ε, privacy budget",
    "rank": "rank",
    "clients": "clients, the same people split",
}
#: control -> (whose colour it has, dash, marker)
CONTROL_LOOKS = {
    "la-lora-permuted": ("la-lora", "dot", "star"),
    "la-lora-nofilter × 0.523": ("la-lora-nofilter", "longdash", "cross"),
    "dp-lora × 0.71": ("dp-lora", "dashdot", "hexagon"),
    "dp-lora × 0.5": ("dp-lora", "dot", "star-square"),
}


def series_look(name: str) -> dict[str, Any]:
    """Line and marker of a method, or of a control in the colour of what it controls."""
    if name in RIVAL_LOOKS and name != HEAD_ONLY:
        return rival_look(name)
    if name not in CONTROL_LOOKS:
        return look(name)
    owner, dash, symbol = CONTROL_LOOKS[name]
    colour = LOOKS[owner][0]
    return {
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "symbol": symbol, "size": 9},
    }


def rates_figure(
    lines: Mapping[str, Line],
    rivals: Sequence[Rival],
    title: str,
    here: Mapping[str, tuple[float, float]] | None = None,
) -> go.Figure:
    """Accuracy by rate, mean and range over seeds, baselines across; `here` holds own runs as `(rate, accuracy)`."""
    figure = go.Figure()
    figure.add_traces(
        bands_first([line_traces(name, found, f"{name} ({seeds(found)})") for name, found in lines.items()])
    )
    rates = sorted({rate for points in lines.values() for rate in points})
    for name, (rate, accuracy) in (here or {}).items():
        figure.add_trace(go.Scatter(x=[rate], y=[accuracy], **dot(name), name=f"{name}, run here", showlegend=False))
    for across in rival_lines(rivals, (rates[0], rates[-1]))[: len(rivals)] if rates else ():
        figure.add_trace(go.Scatter(**{**rival_style(), **across}))
    figure.update_layout(template=TEMPLATE, title_text=title, height=440, margin_b=130, legend_traceorder="normal")
    figure.update_xaxes(title_text=f"{AXIS_NAMES[RATE]} (log)", type="log", **axis_ticks(RATE, rates, zero=False))
    figure.update_yaxes(title_text=ACCURACY, range=[0, 1], tickformat=".0%")
    return figure


def axes_figure(lines: Mapping[str, Mapping[str, Line]], title: str) -> go.Figure:
    """Small multiples: for each setting of `lines`, accuracy against it, mean and range over seeds for each method."""
    figure = make_subplots(1, len(lines), shared_yaxes=True, horizontal_spacing=0.04)
    for column, (axis, methods) in enumerate(lines.items(), start=1):
        values = sorted({value for points in methods.values() for value in points})
        drawn = [line_traces(name, moved(points, values), name) for name, points in methods.items()]
        for trace in bands_first(drawn):
            trace.update(legendgroup=trace.name, showlegend=column == 1 and trace.name is not None)
            figure.add_trace(trace, 1, column)
        figure.update_xaxes(
            title_text=AXIS_NAMES[axis].split(",")[0], type="log", **axis_ticks(axis, values), col=column
        )
    figure.update_layout(template=TEMPLATE, title_text=title, height=440, margin_b=130, legend_traceorder="normal")
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title_text=ACCURACY, col=1)
    return figure


def rivals_along(runs: Runs, axis: str, guess: float, design: Design) -> dict[str, dict[float, list[float]]]:
    """Final accuracies of each linear model and of the public guess along ε or clients; the usual place elsewhere.

    Each linear model has a line of its own along the whole axis, also where the other one is ahead.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for x in design.axes[axis]:
        place = {"epsilon": design.usual.epsilon, "clients": design.usual.clients, axis: x}
        trained = [rival(runs, name, place["epsilon"], int(place["clients"]), design) for name in LINEARS]
        for one in [*filter(None, trained), *untrained(guess, design)]:
            found.setdefault(one.name, {})[x] = [curve[-1] for curve in one.curves]
    return found


def line_traces(name: str, points: Line, label: str) -> list[go.Scatter]:
    """A band from the worst seed to the best, and the line of the means."""
    low, high, mean = band(points)
    style = series_look(name)
    colour = style["line"]["color"]
    named = {"name": label, "mode": "lines+markers", "hovertemplate": "%{x}: %{y:.1%}"}
    return [
        go.Scatter(**low, **edge(colour)),
        go.Scatter(**high, **edge(colour, fill=True)),
        go.Scatter(**mean, **named, **style),
    ]


def bands_first(lines: Sequence[Sequence[go.Scatter]]) -> list[go.Scatter]:
    """The traces of `line_traces`, so that no band lies over another line."""
    return [trace for low, high, _ in lines for trace in (low, high)] + [mean for *_, mean in lines]


def place(value: float, values: Sequence[float]) -> float:
    """Where a value lies on its logarithmic axis: infinity one step beyond the largest of `values`."""
    if math.isfinite(value):
        return value
    return 2 * max((v for v in values if math.isfinite(v)), default=1.0)


def moved(points: Line, values: Sequence[float]) -> Line:
    """The same line with every value at its place on the axis of `values`."""
    return {place(value, values): accuracies for value, accuracies in points.items()}


def axis_ticks(axis: str, values: Sequence[float], *, zero: bool = True) -> dict[str, Any]:
    """A tick for each value, and on the axis of rates one for zero, where head-only begins, unless it is not drawn."""
    if not values:
        return {}
    first = [(values[0] / 2, "0")] if axis == RATE and zero else []
    ticks = [*first, *((place(value, values), epsilon_text(value)) for value in values)]
    return {"tickmode": "array", "tickvals": [x for x, _ in ticks], "ticktext": [text for _, text in ticks]}


def head_line(head: Line, axis: str, values: Sequence[float]) -> dict[str, Any]:
    """Head-only's means; the adapter's rate is nothing to it, so there it is a line across from its own place."""
    if axis == RATE and head and values:
        mean = statistics.fmean(next(iter(head.values())))
        return {"x": [values[0] / 2, values[-1]], "y": [mean, mean]}
    return band(moved(head, values))[2]


def head_look() -> dict[str, Any]:
    """Head-only as a thin dotted line."""
    line = {"color": LOOKS["head-only"][0], "dash": "dot", "width": 1.5}
    return {"mode": "lines", "line": line, "hovertemplate": "%{y:.1%}"}


def dot(name: str) -> dict[str, Any]:
    """A run made here and now: the method's marker, large, with a dark rim."""
    marker = {**series_look(name)["marker"], "size": 12, "line": {"color": "#222222", "width": 1}}
    return {"mode": "markers", "marker": marker, "hovertemplate": "%{x}: %{y:.1%}"}
