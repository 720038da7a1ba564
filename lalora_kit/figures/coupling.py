"""Figures of the lesson on gradient coupling: promised and actual moves, surprise by rate, cosines by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import NEUTRAL, TEMPLATE, look, rounds_tick, without_noise

if TYPE_CHECKING:
    import numpy as np

TOGETHER, IN_TURN = "dp-lora", "la-lora-nofilter"
SURPRISE = "surprise, share of the promised move"
PARTS = ("promised", "actual", "actual − promised")


def move_figure(moves: Mapping[float, Sequence[np.ndarray]], surprises: Mapping[float, float]) -> go.Figure:
    """How a step on both factors moves a small W, with a slider over the learning rate.

    `moves[η]` holds the promised and the actual move `(m, n)`; `surprises[η]` their relative distance.
    """
    figure = make_subplots(1, 3, subplot_titles=PARTS, horizontal_spacing=0.05)
    for position, (promised, actual) in enumerate(moves.values()):
        most = float(abs(promised).max())  # a scale for each rate, else the smaller moves would all look white
        for column, values in enumerate((promised, actual, actual - promised), start=1):
            tiles = go.Heatmap(
                z=values, zmin=-most, zmax=most, colorscale="RdBu", visible=position == 0, showscale=False,
                texttemplate="%{z:.2f}", textfont={"size": 11}, hoverinfo="skip", xgap=1, ygap=1,
            )  # fmt: skip
            figure.add_trace(tiles, 1, column)
    titles = [f"Learning rate {rate:g}: surprise {surprises[rate]:.1%}" for rate in moves]
    steps = [
        {
            "label": f"{rate:g}",
            "method": "update",
            "args": [{"visible": [rate == other for other in moves for _ in PARTS]}, {"title.text": title}],
        }
        for rate, title in zip(moves, titles, strict=True)
    ]
    slider = {"steps": steps, "currentvalue": {"prefix": "learning rate η = "}, "pad": {"t": 15}, "active": 0}
    figure.update_layout(template=TEMPLATE, title_text=titles[0], sliders=[slider], margin_t=90, height=400)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed")
    return figure


def surprise_figure(
    panels: Mapping[str, Mapping[str, Sequence[float]]], rates: Sequence[float], title: str
) -> go.Figure:
    """The picture to remember: learning rate against surprise. `panels[where][what]` is one value a rate.

    What is drawn: `together`, and the half-steps `B in turn` and `A in turn`.
    """
    styles: dict[str, dict[str, Any]] = {
        "together": look(TOGETHER),
        "B in turn": look(IN_TURN),
        "A in turn": {**look(IN_TURN), "marker": {**look(IN_TURN)["marker"], "symbol": "x-thin-open", "size": 11}},
    }
    figure = make_subplots(1, len(panels), subplot_titles=list(panels), horizontal_spacing=0.13)
    drawn: set[str] = set()
    for column, curves in enumerate(panels.values(), start=1):
        for name, values in curves.items():
            line = go.Scatter(
                x=rates, y=values, name=name, legendgroup=name, showlegend=name not in drawn, mode="lines+markers",
                hovertemplate="rate %{x:g}: %{y:.2%}", **styles[name],
            )  # fmt: skip
            figure.add_trace(line, 1, column)
            drawn.add(name)
    figure.update_layout(template=TEMPLATE, title_text=title, margin_t=80)
    figure.update_xaxes(title_text="learning rate η", rangemode="tozero")
    figure.update_yaxes(tickformat="~%", rangemode="tozero")
    figure.update_yaxes(title_text=SURPRISE, col=1)
    return figure


def kind_look(method: str, kind: str) -> dict[str, Any]:
    """A method's look, dotted for what was computed without noise."""
    return without_noise(look(method)) if kind == "without noise" else look(method)


def rounds_figure(
    surprise: Mapping[str, Sequence[float]], cosine: Mapping[str, Mapping[str, Sequence[float]]], title: str
) -> go.Figure:
    """Surprise by round (log scale), beside the cosine c_W of each method: `without noise` is dotted.

    `surprise[kind]` and `cosine[method][kind]` hold one value a round.
    """
    figure = make_subplots(1, 2, horizontal_spacing=0.13)
    for kind, values in surprise.items():
        trace = go.Scatter(
            x=list(range(1, len(values) + 1)), y=values, name=f"surprise, {kind}", mode="lines+markers",
            hovertemplate="round %{x}: %{y:.2%}", **kind_look(TOGETHER, kind),
        )  # fmt: skip
        figure.add_trace(trace, 1, 1)
    for method, kinds in cosine.items():
        for kind, values in kinds.items():
            trace = go.Scatter(
                x=list(range(1, len(values) + 1)), y=values, name=f"c_W, {method}, {kind}", mode="lines+markers",
                hovertemplate="round %{x}: %{y:.3f}", **kind_look(method, kind),
            )  # fmt: skip
            figure.add_trace(trace, 1, 2)
    figure.add_hline(0, line={"dash": "dot", "color": NEUTRAL}, row=1, col=2)
    most = max(map(len, surprise.values()))
    figure.update_layout(template=TEMPLATE, title_text=title, height=450, margin_b=130)
    figure.update_xaxes(title_text="round", rangemode="tozero", dtick=rounds_tick(most))
    figure.update_yaxes(title_text=SURPRISE, type="log", tickformat="~%", dtick=1, col=1)
    figure.update_yaxes(title_text="cosine c_W of the two moves of W", col=2)
    return figure
