"""Figures: records in, a plotly figure out. Nothing here computes, trains or shows.

One look for every lesson: a method has the same colour, dash and marker wherever it appears (Okabe and Ito's
palette, told apart by colour-blind readers and in grey print). A title states what was found; axes carry units.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.lessons.lens import ACCURACY as ACCURACY_LENS
from lalora_kit.lessons.lesson import epsilon_text

if TYPE_CHECKING:
    import numpy as np

    from lalora_kit.records import Round

#: method -> (colour, dash, marker). Filter variants are dashed.
LOOKS: dict[str, tuple[str, str, str]] = {
    "la-lora": ("#D55E00", "solid", "circle"),
    "la-lora-nofilter": ("#E69F00", "dash", "circle-open"),
    "dp-lora": ("#0072B2", "solid", "square"),
    "dp-lora-filter": ("#56B4E9", "dash", "square-open"),
    "ffa-lora": ("#009E73", "solid", "diamond"),
    "rolora": ("#CC79A7", "solid", "triangle-up"),
    "head-only": ("#000000", "solid", "x"),
}
Line = Mapping[float, Sequence[float]]  # a place on the x axis -> accuracies, one a seed
NEUTRAL, FAINT = "#444444", 0.35
ACCURACY = ACCURACY_LENS.axis
EPSILON = "ε, privacy budget (log scale)"

AXIS = {
    "title": {"font": {"size": 14}, "standoff": 8},
    "automargin": True,
    "showline": True,
    "linecolor": NEUTRAL,
    "ticks": "outside",
    "gridcolor": "#E5E5E5",
    "zeroline": False,
}
#: Plotly's tools that a lesson has no use for: with sliders, few tools are enough, and fewer cover less.
TOOLS = ("zoom2d", "pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d")
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "Arial, Helvetica, sans-serif", "size": 14, "color": "#222222"},
        "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 16}},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": AXIS,
        "yaxis": AXIS,
        "colorway": [colour for colour, _, _ in LOOKS.values()],
        "legend": {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 100},
        "height": 400,
        "hovermode": "closest",
        "modebar": {"orientation": "v", "remove": list(TOOLS)},  # along the right edge, so that no title is covered
    }
)


def look(method: str) -> dict[str, Any]:
    """Line and marker of a method's trace; one that is not in `LOOKS` (your own) is drawn in dotted grey."""
    colour, dash, symbol = LOOKS.get(method, (NEUTRAL, "dot", "star"))
    return {
        "line": {"color": colour, "dash": dash, "width": 2.5},
        "marker": {"color": colour, "symbol": symbol, "size": 8},
    }


def without_noise(style: dict[str, Any]) -> dict[str, Any]:
    """The same look, dotted and small: the same thing without its noise."""
    return {"line": {**style["line"], "dash": "dot"}, "marker": {**style["marker"], "size": 5}}


def curve(method: str, records: Sequence[Round]) -> go.Scatter:
    """A run's accuracy by round, where it was evaluated, in its method's look."""
    tested = [r for r in records if r.evaluated]
    return go.Scatter(
        x=[r.round for r in tested],
        y=[r.accuracy for r in tested],
        name=method,
        mode="lines+markers",
        hovertemplate="round %{x}: %{y:.1%}",
        **look(method),
    )


def accuracy_figure(
    runs: Mapping[str, Sequence[Round]],
    title: str,
    chance: float | None = None,
    shipped: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> go.Figure:
    """Accuracy by round, a line a method; `chance` is that of guessing, `shipped` holds a curve a seed for a band."""
    figure = go.Figure([curve(method, records) for method, records in runs.items()])
    for method, curves in (shipped or {}).items():
        low, high, _ = band(by_round(curves))
        colour = look(method)["line"]["color"]
        name = f"{method}, {seeds(by_round(curves))}"
        figure.add_trace(go.Scatter(**low, **edge(colour)))
        figure.add_trace(go.Scatter(**high, **{**edge(colour, fill=True), "name": name, "showlegend": bool(curves)}))
    if chance is not None:
        figure.add_hline(
            chance,
            line={"dash": "dot", "color": NEUTRAL},
            annotation_text="guessing",
            annotation_position="bottom right",
        )
    figure.update_layout(template=TEMPLATE, title_text=title, legend_traceorder="normal")
    figure.update_xaxes(title_text="round", rangemode="tozero", dtick=rounds_tick(max(map(len, runs.values()))))
    figure.update_yaxes(title_text=ACCURACY, range=[0, 1], tickformat=".0%")
    return figure


def band(points: Line) -> tuple[dict[str, Any], ...]:
    """x and y of the least, the largest and the mean accuracy over seeds."""
    x = sorted(points)
    return tuple({"x": x, "y": [of(points[place]) for place in x]} for of in (min, max, statistics.fmean))


def by_round(curves: Sequence[Sequence[float]]) -> Line:
    """Curves, one a seed, as the accuracies of all seeds at each round."""
    return dict(enumerate(zip(*curves, strict=True), start=1))


def edge(colour: str, fill: bool = False) -> dict[str, Any]:
    """Look of a band's edge: none, but for what lies between the two, pale enough to lie over a line."""
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


def rounds_tick(rounds: int) -> int:
    """Distance of whole-round ticks that leaves about ten of them."""
    return max(1, math.ceil(rounds / 10))


def odds_figure(curve: Sequence[tuple[float, float]], epsilon: float, bound: float) -> go.Figure:
    """What ε promises: `curve` is `(ε, highest belief)`, and `epsilon` with its `bound` is marked on it."""
    x, y = zip(*curve, strict=True)
    figure = go.Figure(
        [
            go.Scatter(x=x, y=y, name="most that anyone can come to believe", line={"color": NEUTRAL, "width": 2.5}),
            go.Scatter(
                x=[epsilon if math.isfinite(epsilon) else max(x)], y=[bound], name=f"ε = {epsilon_text(epsilon)}",
                mode="markers+text", text=[f"ε = {epsilon_text(epsilon)}: {bound:.1%}"], textposition="bottom right",
                marker={"size": 13, "color": LOOKS["la-lora"][0]},
            ),
        ]
    )  # fmt: skip
    figure.add_hline(
        0.5, line={"dash": "dot", "color": NEUTRAL}, annotation_text="before looking", annotation_position="top right"
    )
    title = f"At ε = {epsilon_text(epsilon)} a 50 % suspicion can grow to at most {bound:.1%}"
    figure.update_layout(template=TEMPLATE, title_text=title, showlegend=False, margin_b=60)
    figure.update_xaxes(title_text=EPSILON, type="log", range=[-1.05, 1.3], **log_ticks())
    figure.update_yaxes(title_text="belief that a person is in the data", range=[0.45, 1.04], tickformat=".0%")
    return figure


def log_ticks() -> dict[str, Any]:
    """Ticks of a log axis of ε, as numbers that people say."""
    values = [0.1, 0.2, 0.5, 1, 2, 5, 10]
    return {"tickmode": "array", "tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def leak_figure(
    digit: np.ndarray, readings: Mapping[float, np.ndarray], found: Mapping[float, float], costs: Mapping[float, float]
) -> go.Figure:
    """A digit beside what was read off its upload, with a slider over the noise multiplier σ.

    `readings[σ]` is an 8×8 picture, `found[σ]` the share of digits named rightly, `costs[σ]` the release's ε.
    The slider is plotly's own: it needs no kernel, so it moves in a saved page too.
    """
    figure = make_subplots(1, 2, subplot_titles=("the client's digit", "what its upload shows"))
    figure.add_trace(go.Heatmap(z=digit, colorscale="Greys", showscale=False, hoverinfo="skip"), 1, 1)
    for position, picture in enumerate(readings.values()):
        drawn = go.Heatmap(z=picture, colorscale="Greys", showscale=False, visible=position == 0, hoverinfo="skip")
        figure.add_trace(drawn, 1, 2)
    titles = [
        f"σ = {sigma:g}: {found[sigma]:.0%} of digits are named rightly (ε = {epsilon_text(costs[sigma])})"
        for sigma in readings
    ]
    steps = [
        {
            "label": f"{sigma:g}",
            "method": "update",
            "args": [{"visible": [True, *(other == sigma for other in readings)]}, {"title.text": title}],
        }
        for sigma, title in zip(readings, titles, strict=True)
    ]
    slider = {"steps": steps, "currentvalue": {"prefix": "noise multiplier σ = "}, "pad": {"t": 20}, "active": 0}
    figure.update_layout(template=TEMPLATE, title_text=titles[0], sliders=[slider], margin_t=90, height=430)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain")
    figure.update_yaxes(scaleanchor="x", row=1, col=1)
    figure.update_yaxes(scaleanchor="x2", row=1, col=2)
    return figure
