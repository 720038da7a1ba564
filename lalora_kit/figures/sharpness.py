"""Figures of lesson 03: λ_max by the ruler, intruder dimensions, and its panel: clients above their average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import FAINT, LOOKS, NEUTRAL, TEMPLATE, look, rounds_tick
from lalora_kit.lessons.lens import Points
from lalora_kit.lessons.lesson import epsilon_text

if TYPE_CHECKING:
    from lalora_kit.lessons.intruders import Intruders

THRESHOLDS = tuple(i / 20 for i in range(1, 20))  # of |cosine|, from which on a direction is an intruder
ABOVE = "clients above average (nats)"
BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)  # where the forecast is drawn, from very uneven to nearly even
WATCHED = "dp-lora"  # the method of the panel
#: the spaces, drawn in one look wherever they appear: in neither is a method meant.
SPACES = {"factors": {"color": NEUTRAL, "dash": "solid"}, "weights": {"color": NEUTRAL, "dash": "dash"}}


def ruler_figure(
    factors: Mapping[float, float], weights: Mapping[float, float], loss: Mapping[float, float]
) -> go.Figure:
    """λ_max of one model in two spaces, with a slider over the rescaling B→c·B, A→A/c. All by c."""
    figure = go.Figure()
    for name, values in (("factors", factors), ("weights", weights)):
        look = SPACES[name]
        trace = go.Scatter(
            x=list(values), y=list(values.values()), name=f"space of the {name}", mode="lines+markers",
            line={**look, "width": 2.5}, marker={"color": look["color"], "size": 7},
            hovertemplate="c = %{x:g}: %{y:.3g}",
        )  # fmt: skip
        figure.add_trace(trace)
    titles = {
        c: f"c = {c:g}: loss {loss[c]:.4f}, λ_max {factors[c]:.3g} of the factors, {weights[c]:.3g} of the weights"
        for c in factors
    }
    for c in factors:
        here = {"size": 15, "color": LOOKS["dp-lora"][0]}
        dots = go.Scatter(
            x=[c, c], y=[factors[c], weights[c]], mode="markers", marker=here, showlegend=False, visible=c == 1.0,
            hoverinfo="skip",
        )  # fmt: skip
        figure.add_trace(dots)
    steps = [
        {
            "label": f"{c:g}",
            "method": "update",
            "args": [{"visible": [True, True, *(other == c for other in factors)]}, {"title.text": title}],
        }
        for c, title in titles.items()
    ]
    start = list(factors).index(1.0)
    slider = {"steps": steps, "currentvalue": {"prefix": "rescaling c = "}, "pad": {"t": 55}, "active": start}
    figure.update_layout(template=TEMPLATE, title_text=titles[1.0], sliders=[slider], height=480)
    figure.update_layout(legend={"y": 1, "yref": "paper", "yanchor": "bottom"}, title_y=0.96, margin_t=90)
    figure.update_xaxes(title_text="c in B→c·B, A→A/c (log scale)", type="log", tickvals=list(factors))
    ticks = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
    figure.update_yaxes(title_text="λ_max (log scale)", type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks])
    return figure


def intruders_figure(runs: Mapping[str, Sequence[Intruders]], title: str) -> go.Figure:
    """Intruders of all layers against the threshold, a line a run; `runs` names methods, or says what a control is."""
    from lalora_kit.lessons.intruders import THRESHOLD, counts

    figure, others = go.Figure(), iter((("dash", "star"), ("dot", "x"), ("dashdot", "cross")) * len(runs))
    for name, found in runs.items():
        style = look(name)
        if name not in LOOKS:
            style["line"]["dash"], style["marker"]["symbol"] = next(others)
        trace = go.Scatter(
            x=THRESHOLDS, y=counts(found, THRESHOLDS), name=name, mode="lines+markers", **style,
            hovertemplate="|cosine| below %{x:.2f}: %{y}",
        )  # fmt: skip
        figure.add_trace(trace)
    figure.add_vline(
        THRESHOLD, line={"dash": "dot", "color": NEUTRAL}, annotation_text="the paper's", annotation_position="top left"
    )
    figure.update_layout(template=TEMPLATE, title_text=title, margin={"t": 70, "b": 130, "r": 10}, height=430)
    figure.update_xaxes(title_text="threshold of |cosine|")
    figure.update_yaxes(title_text="intruder dimensions", rangemode="tozero")
    return figure


@dataclass(frozen=True)
class HeightView:
    """What the panel shows at its sliders; heights in nats, of the clients above their average.

    epsilon, rank, clients, beta, rounds: where the sliders stand, and the rounds of a run.
    forecast: of round 1; NaN where there is no such split.
    measured, before: after each round of the run on show, and of the one before.
    along: by β, `(β, height)`: of data and noise together, of the data alone, and of the noise alone.
    """

    epsilon: float
    rank: int
    clients: int
    beta: float
    rounds: int
    forecast: float
    measured: Points
    before: Points
    along: tuple[Points, Points, Points]
    name: str = "this run"
    before_name: str = "run before"


def height_data(view: HeightView) -> list[dict[str, Any]]:
    """x, y and name of the panel's seven traces: by round, then the forecast by β with a dot where the sliders are."""
    both, data, noise = view.along
    there = view.forecast == view.forecast
    drawn = [
        ("forecast for round 1", [(1, view.forecast)] * there),
        (view.before_name, view.before),
        (view.name, view.measured),
        ("forecast: data and noise", both),
        ("data alone", data),
        ("here", [(view.beta, view.forecast)] * there),
        ("noise alone", noise),
    ]
    return [{"x": [x for x, _ in points], "y": [y for _, y in points], "name": name} for name, points in drawn]


def height_figure(view: HeightView) -> go.Figure:
    """The live panel: how far clients stand above their average, measured by round, and forecast by β."""
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.13)
    style = look(WATCHED)
    run = {"mode": "lines+markers", "hovertemplate": "round %{x}: %{y:.2f} nats"}
    by_beta = {"mode": "lines+markers", "hovertemplate": "β = %{x:g}: %{y:.2f} nats"}
    dot = {"mode": "markers", "marker": {"size": 14, "color": LOOKS["la-lora"][0], "symbol": "diamond"}}
    thin = {"color": NEUTRAL, "width": 2}
    styles: list[dict[str, Any]] = [
        {**dot, "hovertemplate": "forecast: %{y:.2f} nats"},
        {**run, **style, "opacity": FAINT},
        {**run, **style},
        {**by_beta, "line": {"color": NEUTRAL, "width": 3}, "marker": {"color": NEUTRAL, "size": 7}},
        {**by_beta, "line": {**thin, "dash": "dash"}, "marker": {"color": NEUTRAL, "size": 6, "symbol": "square-open"}},
        {**dot, "showlegend": False, "hovertemplate": "here: %{y:.2f} nats"},
        {**by_beta, "line": {**thin, "dash": "dot"}, "marker": {"color": NEUTRAL, "size": 6, "symbol": "circle-open"}},
    ]
    for place, (style_of, data) in enumerate(zip(styles, height_data(view), strict=True)):
        figure.add_trace(go.Scatter(**style_of, **data), 1, 1 if place < 3 else 2)
    figure.update_layout(template=TEMPLATE, title_text=height_title(view), height=440, autosize=True)
    figure.update_layout(legend_traceorder="normal", margin={"l": 55, "r": 10, "t": 70, "b": 140})
    figure.update_xaxes(title_text="round", range=[0, view.rounds + 0.5], dtick=rounds_tick(view.rounds), col=1)
    ticks = {"tickmode": "array", "tickvals": list(BETAS), "ticktext": [f"{beta:g}" for beta in BETAS]}
    figure.update_xaxes(title_text="β: left uneven, right even", type="log", range=[-1.15, 1.15], **ticks, col=2)
    figure.update_yaxes(title_text=ABOVE, col=1)
    figure.update_yaxes(rangemode="tozero")
    return figure


def height_title(view: HeightView) -> str:
    """How high the clients will stand, where the sliders are."""
    at = f"ε = {epsilon_text(view.epsilon)}, rank {view.rank}, {view.clients} clients, β = {view.beta:g}:"
    if view.forecast != view.forecast:
        return f"{at} <br>no such split of these digits"
    return f"{at} <br>forecast, clients {view.forecast:.2f} nats above their average"
