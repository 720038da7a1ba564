"""Figures of lesson 05: what ε each client has spent, and what an audit found beside what was claimed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import FAINT, LOOKS, NEUTRAL, TEMPLATE
from lalora_kit.lessons.lesson import epsilon_text

SPENT, FOUND = LOOKS["dp-lora"][0], LOOKS["ffa-lora"][0]
WRONG = LOOKS["la-lora"][0]
CLAIMS = (0.0, 10.0)  # ε, the ends of the axes


@dataclass(frozen=True)
class PrivacyView:
    """What the panel shows.

    epsilon: the target; infinite without noise.
    spent: ε of each client after all rounds, by client; the largest is reported, never the sum.
    audits: implementation -> `(claimed ε, lower bound)` of each audit so far, oldest first.
    limits: implementation -> where the newest audit's trials end what it can tell, in words; empty where they do not.
    """

    epsilon: float
    spent: Sequence[float]
    audits: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


def privacy_data(view: PrivacyView) -> list[dict[str, Any]]:
    """What changes in the panel's traces: clients, the target, and the audits of either implementation."""
    ordered = sorted((x for x in view.spent if math.isfinite(x)), reverse=True)
    places = list(range(1, len(ordered) + 1))
    target = [view.epsilon] * 2 if math.isfinite(view.epsilon) else []
    data: list[dict[str, Any]] = [
        {"x": places, "y": ordered},
        {"x": [0.5, max(len(view.spent), 1) + 0.5] if target else [], "y": target},
        {"x": list(CLAIMS), "y": list(CLAIMS)},
    ]
    names = [*view.audits, "", ""][:2]
    for name in names:
        points = view.audits.get(name, ())
        shades = [FAINT] * (len(points) - 1) + [1.0] * bool(points)
        data.append({"x": [x for x, _ in points], "y": [y for _, y in points], "name": f"audit: {name}",
                     "marker": {"opacity": shades}})  # fmt: skip
    return data


def privacy_figure(view: PrivacyView) -> go.Figure:
    """Left: ε by client. Right: claims against bounds; a dot above the diagonal contradicts its claim."""
    figure = make_subplots(1, 2, column_widths=[0.45, 0.55], horizontal_spacing=0.14)
    line = {"mode": "lines", "line": {"color": NEUTRAL, "dash": "dot", "width": 1.5}}
    dots = {"mode": "markers", "hovertemplate": "claimed ε %{x:.2f}, shown to be at least %{y:.2f}"}
    styles: list[dict[str, Any]] = [
        {"mode": "markers", "marker": {"color": SPENT, "size": 8}, "name": "ε spent, by client",
         "hovertemplate": "client %{x} by budget spent: ε %{y:.2f}<extra></extra>"},
        {**line, "name": "target ε"},
        {**line, "name": "claim = bound", "line": {"color": NEUTRAL, "width": 1.5}},
        {**dots, "marker": {"color": FOUND, "size": 11, "symbol": "circle"}},
        {**dots, "marker": {"color": WRONG, "size": 12, "symbol": "x"}},
    ]  # fmt: skip
    for place, (style, data) in enumerate(zip(styles, privacy_data(view), strict=True)):
        merged = {**style, **data, "marker": {**style.get("marker", {}), **data.get("marker", {})}}
        figure.add_trace(go.Scatter(**merged), 1, 1 if place < 2 else 2)
    figure.update_layout(template=TEMPLATE, title_text=privacy_title(view), height=430)
    figure.update_xaxes(title_text="clients, most spent first", rangemode="tozero", col=1)
    figure.update_yaxes(title_text="ε spent after all rounds", rangemode="tozero", col=1)
    # Both axes linear: on a logarithmic one the line where bound and claim agree would not be straight.
    figure.update_xaxes(title_text="ε claimed", range=[0, CLAIMS[1]], col=2)
    figure.update_yaxes(title_text="ε at least, by audit", range=[-0.3, CLAIMS[1]], col=2)
    return figure


def beyond(most: float, trials: int) -> dict[str, Any]:
    """The layout's grey zone on the right: what so many virtual clients cannot show, however broken the loop."""
    zone = {
        "type": "rect", "xref": "x2", "yref": "y2", "x0": CLAIMS[0], "x1": CLAIMS[1], "y0": most, "y1": CLAIMS[1],
        "fillcolor": "#DDDDDD", "opacity": 0.6, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip
    said = {
        "xref": "x2", "yref": "y2", "x": 0.2, "y": CLAIMS[1], "xanchor": "left", "yanchor": "top", "showarrow": False,
        "align": "left", "text": f"{trials:,} virtual clients<br>show no more than {most:.2f}",
    }  # fmt: skip
    return {"shapes": [zone], "annotations": [said]}


def privacy_title(view: PrivacyView) -> str:
    """The headline, and what the newest audit says of it."""
    if not math.isfinite(view.epsilon):
        return "Without noise nothing is promised"
    worst = max(view.spent, default=math.nan)
    contradicted = [name for name, points in view.audits.items() if points and points[-1][1] > points[-1][0]]
    said = f"<br>contradicted by audit: {', '.join(contradicted)}" if contradicted else ""
    ends = "".join(
        f"<br><sup>{name}: {limit.replace(': ', ':<br>', 1)}</sup>"
        for name, limit in view.limits.items() if limit and name not in contradicted
    )  # fmt: skip
    return f"The worst-off of {len(view.spent)} clients spends ε = {epsilon_text(worst)}{said}{ends}"


def spent_figure(spent: Sequence[float], epsilon: float) -> go.Figure:
    """ε of each client after all rounds, most spent first: the largest is reported."""
    ordered = sorted(spent, reverse=True)
    figure = go.Figure(
        go.Bar(
            x=list(range(1, len(ordered) + 1)), y=ordered, showlegend=False, hovertemplate="ε %{y:.2f}",
            marker={"color": [WRONG, *[SPENT] * (len(ordered) - 1)], "line": {"color": "#000", "width": 1}},
        )
    )  # fmt: skip
    figure.add_hline(epsilon, line={"dash": "dot", "color": NEUTRAL}, annotation_text="target")
    least = f"the client who joined least spends {ordered[-1]:.2f}"
    title = f"The largest is reported: ε = {ordered[0]:.2f}, <br>while {least}"
    figure.update_layout(template=TEMPLATE, title_text=title, height=320, margin={"t": 70, "b": 60})
    figure.update_xaxes(title_text="clients, most spent first", dtick=max(1, len(ordered) // 10))
    figure.update_yaxes(title_text="ε spent", rangemode="tozero")
    return figure


def scores_figure(audits: Mapping[str, tuple[Sequence[float], Sequence[bool]]], title: str = "") -> go.Figure:
    """The attacker's scores with and without the canary, a row an implementation: `(scores, held)` each."""
    figure = make_subplots(len(audits), 1, shared_xaxes=False, vertical_spacing=0.24, subplot_titles=list(audits))
    shown = {"with the canary": (True, WRONG, ""), "without": (False, SPENT, "/")}
    for row, (scores, held) in enumerate(audits.values(), start=1):
        low, high = min(scores), max(scores)
        bins = {"start": low, "end": high, "size": (high - low) / 60 or 1.0}
        for name, (world, colour, hatch) in shown.items():
            chosen = [float(score) for score, holds in zip(scores, held, strict=True) if bool(holds) == world]
            bar = go.Histogram(
                x=chosen, name=name, marker={"color": colour, "pattern": {"shape": hatch}}, opacity=0.6, xbins=bins,
                legendgroup=name, showlegend=row == 1, hovertemplate="score %{x}: %{y} clients",
            )  # fmt: skip
            figure.add_trace(bar, row, 1)
        figure.update_yaxes(title_text="virtual clients", row=row)
    figure.update_xaxes(title_text="score: log likelihood ratio, nats", row=len(audits))
    title = title or "Where the clouds part, <br>the attacker knows who holds the canary"
    figure.update_layout(template=TEMPLATE, title_text=title, height=200 + 200 * len(audits), barmode="overlay")
    figure.update_layout(margin={"t": 100})
    return figure


def reach_figure(
    reach: Sequence[tuple[int, float]], audit: tuple[int, float], claims: Sequence[float], title: str
) -> go.Figure:
    """What so many virtual clients can show at most, `(trials, ε)`; what an attack of a loop found; claims as lines."""
    trials, most = zip(*reach, strict=True)
    line = {"color": NEUTRAL, "width": 2.5}
    figure = go.Figure(go.Scatter(x=trials, y=most, mode="lines", name="the most that they can show", line=line))
    cross = {"color": WRONG, "symbol": "x", "size": 14}
    figure.add_trace(
        go.Scatter(x=[audit[0]], y=[audit[1]], name="found in the wrong loop", mode="markers", marker=cross)
    )
    for claim in claims:
        figure.add_hline(claim, line={"dash": "dot", "color": NEUTRAL}, annotation_text=f"claimed: ε = {claim:g}",
                         annotation_position="top left")  # fmt: skip
    figure.update_layout(template=TEMPLATE, title_text=title, margin={"t": 80, "b": 130})
    figure.update_xaxes(type="log", title_text="virtual clients (log scale)", dtick=1)
    figure.update_yaxes(title_text="lower bound on ε", rangemode="tozero")
    return figure
