"""Figures of lesson 03: the way between two clients, λ_max by the ruler, slices of the loss, intruder dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import LOOKS, NEUTRAL, TEMPLATE, look

if TYPE_CHECKING:
    from lalora_kit.lessons.intruders import Intruders
    from lalora_kit.lessons.sharpness import Line, Surface

DASHES, MARKERS = ("solid", "dash", "dot", "dashdot"), ("square", "circle", "diamond", "triangle-up")
THRESHOLDS = tuple(i / 20 for i in range(1, 20))  # of |cosine|, from which on a direction is an intruder
LOSS = "loss on public test digits (nats)"
#: the spaces, drawn in one look wherever they appear: in neither is a method meant.
SPACES = {"factors": {"color": NEUTRAL, "dash": "solid"}, "weights": {"color": NEUTRAL, "dash": "dash"}}


def way_figure(ways: Mapping[str, Line], method: str, title: str) -> go.Figure:
    """Loss on the way from one client's adapter to another's; their average is in the middle."""
    figure, colour = go.Figure(), LOOKS[method][0]
    for place, (name, line) in enumerate(ways.items()):
        trace = go.Scatter(
            x=line.positions, y=line.losses, name=name, mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": DASHES[place % 4]},
            marker={"color": colour, "size": 6, "symbol": MARKERS[place % 4]},
            customdata=line.accuracies, hovertemplate="%{y:.2f} nats, %{customdata:.1%} right",
        )  # fmt: skip
        figure.add_trace(trace)
    figure.add_vline(0.5, line={"dash": "dot", "color": NEUTRAL}, annotation_text="average of the two")
    figure.update_layout(template=TEMPLATE, title_text=title, margin_t=70)
    ends = {"tickvals": [0, 0.25, 0.5, 0.75, 1], "ticktext": ["client 1", "0.25", "0.5", "0.75", "client 2"]}
    figure.update_xaxes(title_text="share of client 2's adapter", **ends)
    figure.update_yaxes(title_text=LOSS)
    return figure


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


def slices_figure(surfaces: Mapping[str, Surface], title: str) -> go.Figure:
    """Loss on planes through one model, a panel a plane, all in one scale of colours."""
    figure = make_subplots(1, len(surfaces), subplot_titles=list(surfaces), horizontal_spacing=0.12)
    low = min(float(surface.losses.min()) for surface in surfaces.values())
    high = max(float(surface.losses.max()) for surface in surfaces.values())
    for column, surface in enumerate(surfaces.values(), start=1):
        at: Sequence[float] = surface.positions.tolist()
        trace = go.Contour(
            x=at, y=at, z=surface.losses.T.tolist(), zmin=low, zmax=high, colorscale="Greys",
            showscale=column == len(surfaces), colorbar={"title": "nats"}, contours={"showlabels": True},
        )  # fmt: skip
        figure.add_trace(trace, 1, column)
    figure.update_layout(template=TEMPLATE, title_text=title, margin_t=80, margin_b=60)
    figure.update_xaxes(title_text="along a random direction")
    figure.update_yaxes(title_text="along another one", col=1)
    return figure


def intruders_figure(runs: Mapping[str, Sequence[Intruders]], title: str) -> go.Figure:
    """Intruders of all layers against the threshold, a line a run; `runs` names methods, or anything else."""
    from lalora_kit.lessons.intruders import THRESHOLD, counts

    figure = go.Figure()
    for place, (name, found) in enumerate(runs.items()):
        grey = {
            "line": {"color": NEUTRAL, "width": 2.5, "dash": DASHES[place % 4]},
            "marker": {"color": NEUTRAL, "symbol": MARKERS[place % 4], "size": 8},
        }
        trace = go.Scatter(
            x=THRESHOLDS, y=counts(found, THRESHOLDS), name=name, mode="lines+markers",
            hovertemplate="|cosine| below %{x:.2f}: %{y}", **(look(name) if name in LOOKS else grey),
        )  # fmt: skip
        figure.add_trace(trace)
    figure.add_vline(THRESHOLD, line={"dash": "dot", "color": NEUTRAL}, annotation_text="the paper's")
    figure.update_layout(template=TEMPLATE, title_text=title, margin_t=70)
    figure.update_xaxes(title_text="threshold of |cosine| with the frozen weight's directions")
    figure.update_yaxes(title_text="intruders among the first ten of each layer", rangemode="tozero")
    return figure
