"""Lesson 10's figures: what three servers get wrong, as heatmaps over the number of clients, and as lines.

Colours here mean servers. Products have no colour of their own for stacking and for the residual: the two are equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import EPSILON, NEUTRAL, TEMPLATE, log_ticks
from lalora_kit.figures.gallery.rounds import accuracy_by_round
from lalora_kit.figures.noise import LOG
from lalora_kit.figures.pictures.factors import rounded, tile_look
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.trial.rivals import Rival

#: way -> (label, colour, dash, marker)
LOOKS: dict[str, tuple[str, str, str, str]] = {
    "factors": ("mean of factors", "#0072B2", "solid", "square"),
    "products": ("mean of products, stacking", "#D55E00", "dash", "circle"),
    "SVD": ("SVD, cut to the rank", "#009E73", "dashdot", "diamond"),
}
#: method of the gallery -> (which way its server goes, dash, marker)
SERVERS = {
    "dp-lora": ("factors", "solid", "square"),
    "fedex": ("products", "dash", "circle-open"),
    "flora": ("products", "dot", "circle"),
    "flexlora": ("SVD", "dashdot", "diamond"),
}
DEEPEST = 2.5  # root mean squares at which a heatmap's colour is deepest
EXACT = 1e-6  # what is nearer than that has no place on a log axis
OFF = "off by, as a multiple of the true mean"
Points = Mapping[str, Sequence[tuple[float, float]]]  # way -> (x, how far off)


def mistakes_figure(mistakes: Mapping[int, Mapping[str, np.ndarray]], titles: Sequence[str], active: int) -> go.Figure:
    """One layer's mistake of each server, with a slider over the number of clients; one scale of colours for all.

    Args:
        mistakes: by number of clients and way, result less exact mean, `(m, n)`.
        titles: of each place of the slider.
        active: the place that it opens at.
    """
    ways, places = list(next(iter(mistakes.values()))), list(mistakes)
    figure = make_subplots(1, len(ways), subplot_titles=[LOOKS[way][0] for way in ways], horizontal_spacing=0.04)
    opened = mistakes[places[active]]
    end = DEEPEST * max(float(np.sqrt(np.mean(z**2))) for z in mistakes[places[-1]].values())
    for column, way in enumerate(ways, start=1):
        scale = {"zmin": -end, "zmax": end, "name": LOOKS[way][0]}
        figure.add_trace(go.Heatmap(z=rounded(opened[way]), **scale, **tile_look()), 1, column)
    steps = [
        {
            "label": str(count), "method": "update",
            "args": [{"z": [rounded(found[way]) for way in ways]}, {"title.text": title}],
        }
        for (count, found), title in zip(mistakes.items(), titles, strict=True)
    ]  # fmt: skip
    slider = {"steps": steps, "currentvalue": {"prefix": "clients = "}, "pad": {"t": 20}, "active": active}
    figure.update_layout(template=TEMPLATE, title_text=titles[active], sliders=[slider], height=400)
    figure.update_layout(margin={"l": 10, "r": 10, "t": 100, "b": 20})
    figure.update_annotations(font_size=13)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed")
    return figure


def slopes_figure(expected: Points, sampled: Points, title: str) -> go.Figure:
    """Energy of noise times noise over the number of clients: lines of the closed form, dots of simulations."""
    figure = go.Figure()
    for way, points in expected.items():
        label, colour, dash, symbol = LOOKS[way]
        x, y = zip(*points, strict=True)
        figure.add_trace(go.Scatter(x=x, y=y, name=label, mode="lines", line={"color": colour, "dash": dash}))
        x, y = zip(*sampled[way], strict=True)
        marker = {"color": colour, "symbol": f"{symbol}-open", "size": 9}
        figure.add_trace(go.Scatter(x=x, y=y, name=f"{label}, simulated", mode="markers", marker=marker))
    figure.update_layout(template=TEMPLATE, title_text=title, height=420)
    figure.update_xaxes(title_text="clients N (log scale)", type="log", **counted([n for n, _ in expected["factors"]]))
    figure.update_yaxes(title_text="energy of noise times noise", **LOG)
    return figure


def counted(counts: Sequence[float]) -> dict[str, Any]:
    """Ticks at these numbers of clients."""
    return {"tickmode": "array", "tickvals": list(counts), "ticktext": [f"{n:g}" for n in counts]}


def servers_figure(curves: Mapping[str, Sequence[float]], rivals: Sequence[Rival], title: str) -> go.Figure:
    """Accuracy by round, a line a method of `SERVERS`, in its server's colour."""
    looks = {name: (LOOKS[way][1], dash, symbol) for name, (way, dash, symbol) in SERVERS.items()}
    return accuracy_by_round(curves, looks, rivals, title)


@dataclass(frozen=True)
class AveragesView:
    """What the panel of lesson 10 shows.

    epsilon, rank, clients, unequal: where the controls stand.
    by_epsilon, by_clients: how far off each server lands, along each axis, the rest as the controls have it.
    here: by way, at the controls' place.
    """

    epsilon: float
    rank: int
    clients: int
    unequal: bool
    by_epsilon: Points
    by_clients: Points
    here: Mapping[str, float]

    @property
    def nearest(self) -> str:
        """The way that lands nearest to the exact mean."""
        return min(self.here, key=lambda way: self.here[way])


def averages_data(view: AveragesView) -> list[dict[str, Any]]:
    """x and y of the traces of `averages_figure`: for each way a line over ε, its dot, a line over N, its dot."""
    found = []
    for way in LOOKS:
        over_epsilon = view.by_epsilon[way], view.epsilon, math.isfinite(view.epsilon)
        over_clients = view.by_clients[way], float(view.clients), True
        for points, x, has_place in (over_epsilon, over_clients):
            shown = [(at, y) for at, y in points if y > EXACT]
            dot = has_place and view.here[way] > EXACT
            found.append({"x": [at for at, _ in shown], "y": [y for _, y in shown]})
            found.append({"x": [x] * dot, "y": [view.here[way]] * dot})
    return found


def averages_figure(view: AveragesView, counts: Sequence[int]) -> go.Figure:
    """The live panel: how far off each server lands, over ε and over the number of clients."""
    figure = make_subplots(1, 2, horizontal_spacing=0.12)
    data = iter(averages_data(view))
    for label, colour, dash, symbol in LOOKS.values():
        for column in (1, 2):
            line = {"color": colour, "dash": dash, "width": 2.5}
            shown = {"showlegend": column == 1, "legendgroup": label, "hovertemplate": "%{x:.3g}: %{y:.3g}"}
            figure.add_trace(go.Scatter(**next(data), name=label, mode="lines", line=line, **shown), 1, column)
            marker = {"color": colour, "symbol": symbol, "size": 12, "line": {"color": NEUTRAL, "width": 1}}
            dot = {"mode": "markers", "marker": marker, "showlegend": False, "hoverinfo": "skip"}
            figure.add_trace(go.Scatter(**next(data), name=f"{label}, here", **dot), 1, column)
    figure.update_layout(template=TEMPLATE, title_text=averages_title(view), height=470, autosize=True)
    figure.update_layout(margin={"l": 60, "r": 10, "t": 70, "b": 110})
    figure.update_xaxes(title_text=EPSILON, type="log", range=[-1.05, 1.05], **log_ticks(), row=1, col=1)
    figure.update_xaxes(title_text="clients (log scale)", type="log", **counted(counts), row=1, col=2)
    figure.update_yaxes(title_text=OFF, range=[-2, 4], row=1, col=1, **LOG)
    figure.update_yaxes(range=[-2, 4], row=1, col=2, **LOG)
    return figure


def averages_title(view: AveragesView) -> str:
    """Which server lands nearest here."""
    ranks = f"ranks {view.rank} and less" if view.unequal else f"rank {view.rank}"
    at = f"ε = {epsilon_text(view.epsilon)}, {ranks}, {view.clients} clients"
    return f"{at}: <br>nearest is the {LOOKS[view.nearest][0]}, off by {view.here[view.nearest]:.3g}"
