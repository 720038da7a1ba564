"""Lesson 11's figures: how far a step can follow the gradient for the numbers that it noises, and what a gauge clips.

Colours here mean what a step is seen through: each way has one, with a marker of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import NEUTRAL, TEMPLATE
from lalora_kit.figures.gallery.rounds import accuracy_by_round
from lalora_kit.figures.noise import LOG
from lalora_kit.lessons.gallery.reach import Reach
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.trial.rivals import Rival

#: way -> (label, colour, marker)
LOOKS: dict[str, tuple[str, str, str]] = {
    "full": ("full", "#222222", "x"),
    "LoRA": ("LoRA", "#0072B2", "square"),
    "tangent": ("tangent", "#CC79A7", "triangle-up"),
    "FFA": ("FFA", "#009E73", "diamond"),
    "Fed-SB": ("Fed-SB", "#D55E00", "circle"),
}
#: method of the gallery -> way of its step
METHODS_SHOWN = {"dense-mean": "full", "dp-lora": "LoRA", "dp-lora+tangent": "tangent", "ffa-lora-qr": "FFA",
                 "fed-sb": "Fed-SB"}  # fmt: skip
NUMBERS = "numbers with noise in a step (log scale)"
FOLLOWED = "part of the gradient within reach"
Reaches = Mapping[str, Reach]


def reach_figure(by_rank: Mapping[int, Reaches], titles: Sequence[str], active: int) -> go.Figure:
    """Reach over the numbers that are noised, a mark a way, with a slider over the rank.

    Args:
        by_rank: the ways at each rank.
        titles: of each place of the slider.
        active: the place that it opens at.
    """
    figure, opened = go.Figure(), list(by_rank.values())[active]
    for way, one in opened.items():
        figure.add_trace(go.Scatter(**dot(one), name=LOOKS[way][0], **style(way)))
    steps = [
        {
            "label": str(rank), "method": "update",
            "args": [{"x": [[one.numbers] for one in found.values()], "y": [[one.reach] for one in found.values()]},
                     {"title.text": title}],
        }
        for (rank, found), title in zip(by_rank.items(), titles, strict=True)
    ]  # fmt: skip
    slider = {"steps": steps, "currentvalue": {"prefix": "rank = "}, "pad": {"t": 50}, "active": active}
    figure.update_layout(template=TEMPLATE, title_text=titles[active], sliders=[slider], height=430)
    figure.update_layout(showlegend=False, margin={"l": 60, "r": 20, "t": 80, "b": 40})
    figure.update_xaxes(title_text=NUMBERS, type="log", range=[0.5, 5.8], dtick=1, exponentformat="power")
    figure.update_yaxes(title_text=FOLLOWED, range=[-0.03, 1.12], tickformat=".0%")
    return figure


def dot(one: Reach) -> dict[str, Any]:
    """Where a way lies."""
    return {"x": [one.numbers], "y": [one.reach]}


#: where a name stands beside its mark, so that it covers no other: in the plot of reach, and in that of signal
PLACES = (
    {"LoRA": "bottom right", "tangent": "top left"},
    {"LoRA": "bottom center", "FFA": "bottom left", "full": "top right"},
)


def style(way: str, plot: int = 0) -> dict[str, Any]:
    """A mark with its name beside it."""
    label, colour, symbol = LOOKS[way]
    place = PLACES[plot].get(way, "top center")
    return {
        "mode": "markers+text", "text": [label], "textposition": place, "cliponaxis": False,
        "marker": {"color": colour, "symbol": symbol, "size": 14}, "hovertemplate": "%{x:,} numbers: %{y:.1%}",
    }  # fmt: skip


def gauge_figure(norms: Mapping[float, tuple[Sequence[float], float]], clip_norm: float, title: str) -> go.Figure:
    """Median norm of a sample's gradient over the gauge c: of the two factors, and in the tangent space; and the clip.

    Args:
        norms: by c, the factors' median, lower and upper quartile, and the tangent space's median.
        clip_norm: C.
        title: what was found.
    """
    x, colours = list(norms), (LOOKS["LoRA"][1], LOOKS["tangent"][1])
    middle, low, high = ([quartiles[i] for quartiles, _ in norms.values()] for i in range(3))
    figure = go.Figure()
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_trace(go.Scatter(x=x, y=low, **edge))
    figure.add_trace(go.Scatter(x=x, y=high, fill="tonexty", fillcolor="rgba(0,114,178,0.15)", **edge))
    shown = {"mode": "lines+markers", "hovertemplate": "c = %{x}: %{y:.3g}"}
    line = {"color": colours[0], "width": 2.5}
    figure.add_trace(go.Scatter(x=x, y=middle, name="gradient of the factors", line=line, **shown))
    line = {"color": colours[1], "width": 2.5, "dash": "dash"}
    figure.add_trace(go.Scatter(x=x, y=[y for _, y in norms.values()], name="its tangent part", line=line, **shown))
    figure.add_hline(clip_norm, line={"dash": "dot", "color": NEUTRAL}, annotation_text="C, the clip")
    figure.update_layout(template=TEMPLATE, title_text=title, height=420)
    ticks = {"tickmode": "array", "tickvals": x, "ticktext": [f"{c:g}" for c in x]}
    figure.update_xaxes(title_text="gauge c: B is c times as large, A a c-th (log scale)", type="log", **ticks)
    figure.update_yaxes(title_text="norm of a sample's gradient", **LOG)
    return figure


def runs_figure(curves: Mapping[str, Sequence[float]], rivals: Sequence[Rival], title: str) -> go.Figure:
    """Accuracy by round, a line a method of `METHODS_SHOWN`, in the colour of what it is seen through."""
    looks = {name: (LOOKS[way][1], "solid", LOOKS[way][2]) for name, way in METHODS_SHOWN.items()}
    return accuracy_by_round(curves, looks, rivals, title)


@dataclass(frozen=True)
class ReachView:
    """What the panel of lesson 11 shows.

    epsilon, rank, clients: where the controls stand.
    reaches: each way at this rank.
    ratios: signal over noise of one averaged step, by way; infinite without noise.
    """

    epsilon: float
    rank: int
    clients: int
    reaches: Reaches
    ratios: Mapping[str, float]


def reach_data(view: ReachView) -> list[dict[str, Any]]:
    """x and y of the traces of `reach_panel`: each way's reach, then each way's signal over noise."""
    private = np.isfinite(view.epsilon)
    ratios = [
        {"x": [view.reaches[way].numbers] * bool(private), "y": [ratio] * bool(private)}
        for way, ratio in view.ratios.items()
    ]
    return [*(dot(one) for one in view.reaches.values()), *ratios]


def reach_panel(view: ReachView) -> go.Figure:
    """The live panel: reach, and signal over noise, both over the numbers that are noised."""
    figure = make_subplots(1, 2, horizontal_spacing=0.13)
    for place, data in enumerate(reach_data(view)):
        column, way = 1 + place // len(LOOKS), list(LOOKS)[place % len(LOOKS)]
        figure.add_trace(go.Scatter(**data, name=LOOKS[way][0], **style(way, column - 1)), 1, column)
    figure.update_layout(template=TEMPLATE, title_text=reach_title(view), height=450, autosize=True, showlegend=False)
    figure.update_layout(margin={"l": 60, "r": 10, "t": 80, "b": 60})
    figure.update_xaxes(title_text=NUMBERS, type="log", range=[0.5, 6], dtick=1, exponentformat="power")
    figure.update_yaxes(title_text=FOLLOWED, range=[-0.03, 1.12], tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title_text="signal over noise of a step", range=[-3, 1], row=1, col=2, **LOG)
    return figure


def reach_title(view: ReachView) -> str:
    """Which way has most signal for its noise."""
    at = f"ε = {epsilon_text(view.epsilon)}, rank {view.rank}, {view.clients} clients"
    if not np.isfinite(view.epsilon):
        return f"{at}: <br>no noise, and no privacy; full reaches everything"
    best = max(view.ratios, key=lambda way: view.ratios[way])
    return f"{at}: <br>{LOOKS[best][0]} has most signal for its noise, {view.ratios[best]:.2g}"
