"""The figures of one run's page, from the records that its directory keeps: accuracy, ε and noise over the rounds.

A page sets their findings above them as text, which wraps on a narrow screen; so the figures carry no titles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from lalora_kit.figures.common import ACCURACY, NEUTRAL, TEMPLATE, look, rounds_tick

Record = Mapping[str, Any]  # a line of rounds.jsonl
#: what an update is made of -> dash and marker of its line
PARTS = {"A": ("solid", "circle"), "B": ("dash", "square"), "head": ("dot", "x")}


def accuracy_by_round(method: str, records: Sequence[Record]) -> go.Figure:
    """Accuracy after each round that was tested."""
    tested = [r for r in records if r["accuracy"] is not None]
    line = go.Scatter(
        x=[r["round"] for r in tested], y=[r["accuracy"] for r in tested], name=method, mode="lines+markers",
        hovertemplate="round %{x}: %{y:.1%}", **look(method),
    )  # fmt: skip
    figure = laid_out(go.Figure(line), records, ACCURACY)
    return figure.update_yaxes(range=[0, 1], tickformat=".0%").update_layout(showlegend=False)


def epsilon_by_round(method: str, records: Sequence[Record], target: float) -> go.Figure:
    """ε spent after each round by the worst-off client, under the line of the target."""
    line = go.Scatter(
        x=[r["round"] for r in records], y=[r["epsilon"] for r in records], name="spent", mode="lines+markers",
        hovertemplate="round %{x}: ε = %{y:.3f}", **look(method),
    )  # fmt: skip
    figure = laid_out(go.Figure(line), records, "ε spent so far")
    figure.add_hline(target, line={"dash": "dot", "color": NEUTRAL}, annotation_text=f"target: ε = {target:g}",
                     annotation_position="bottom left")  # fmt: skip
    most = max([target, *(r["epsilon"] for r in records if r["epsilon"] is not None)])
    return figure.update_yaxes(range=[0, 1.08 * most]).update_layout(showlegend=False)


def noise_by_round(records: Sequence[Record]) -> go.Figure:
    """How long the noised gradients of each part were, on average over clients and steps."""
    figure = go.Figure()
    for part, (dash, symbol) in PARTS.items():
        there = [r for r in records if part in r["update_norms"]]
        if there:
            figure.add_trace(
                go.Scatter(
                    x=[r["round"] for r in there], y=[r["update_norms"][part] for r in there], name=part,
                    mode="lines+markers", hovertemplate="round %{x}: %{y:.3g}",
                    line={"color": NEUTRAL, "dash": dash, "width": 2}, marker={"symbol": symbol, "size": 8},
                )
            )  # fmt: skip
    figure = laid_out(figure, records, "L2 norm of a noised gradient")
    return figure.update_yaxes(rangemode="tozero").update_layout(showlegend=True)


def laid_out(figure: go.Figure, records: Sequence[Record], axis: str) -> go.Figure:
    """The house's look, with rounds along the bottom."""
    last = records[-1]["round"]
    figure.update_layout(template=TEMPLATE, height=340, margin={"l": 60, "r": 20, "t": 20, "b": 90})
    figure.update_xaxes(title_text="round", range=[0, last + 0.5], dtick=rounds_tick(last))
    return figure.update_yaxes(title_text=axis)
