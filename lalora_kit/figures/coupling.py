"""Figures of lesson 01: surprise by rate and by round, the live rectangle, all methods at one rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.ablation import axis_ticks, rates_figure, rival_look
from lalora_kit.figures.common import FAINT, NEUTRAL, TEMPLATE, Line, epsilon_text, look, rounds_tick, without_noise
from lalora_kit.figures.pictures.corner import FILLS, Sides
from lalora_kit.trial.rivals import Rival

TOGETHER, IN_TURN = "dp-lora", "la-lora-nofilter"
SURPRISE = "surprise, share of the promise"
NARROW = {"l": 50, "r": 10}  # margins that leave a phone some room
Points = Sequence[tuple[int, float]]


def surprise_figure(curves: Mapping[str, Sequence[float]], rates: Sequence[float], title: str) -> go.Figure:
    """Rate against surprise, one value a rate: `noised`, `without noise` (together), `B in turn` and `A in turn`."""
    styles: dict[str, dict[str, Any]] = {
        "noised": look(TOGETHER),
        "without noise": without_noise(look(TOGETHER)),
        "B in turn": look(IN_TURN),
        "A in turn": {**look(IN_TURN), "marker": {**look(IN_TURN)["marker"], "symbol": "x-thin-open", "size": 11}},
    }
    names = {"noised": "together, noised", "without noise": "together, without noise"}
    figure = go.Figure(
        [
            go.Scatter(
                x=rates, y=values, name=names.get(name, name), mode="lines+markers",
                hovertemplate="rate %{x:g}: %{y:.2%}", **styles[name],
            )
            for name, values in curves.items()
        ]
    )  # fmt: skip
    figure.update_layout(template=TEMPLATE, title_text=title, margin=NARROW)
    figure.update_xaxes(title_text="adapter's rate η", rangemode="tozero")
    figure.update_yaxes(title_text=SURPRISE, tickformat="~%", rangemode="tozero")
    return figure


def rounds_figure(surprise: Mapping[str, Sequence[float]], title: str) -> go.Figure:
    """Surprise by round (log scale), `noised` and `without noise`, which is dotted."""
    figure = go.Figure(
        [
            go.Scatter(
                x=list(range(1, len(values) + 1)), y=values, name=kind, mode="lines+markers",
                hovertemplate="round %{x}: %{y:.2%}",
                **(without_noise(look(TOGETHER)) if kind == "without noise" else look(TOGETHER)),
            )
            for kind, values in surprise.items()
        ]
    )  # fmt: skip
    figure.update_layout(template=TEMPLATE, title_text=title, margin=NARROW)
    figure.update_xaxes(title_text="round", rangemode="tozero", dtick=rounds_tick(max(map(len, surprise.values()))))
    figure.update_yaxes(title_text=SURPRISE, type="log", tickformat="~%", dtick=1)
    return figure


def equal_rate_figure(lines: Mapping[str, Line], rivals: Sequence[Rival], title: str) -> go.Figure:
    """Accuracy by the adapter's rate, a band over seeds for each method; what has no adapter lies across."""
    figure = rates_figure(lines, (), title)
    rates = sorted({rate for points in lines.values() for rate in points})
    for one in rivals:  # named in the legend: where baselines are level, names at their lines lie over each other
        across = {"x": [rates[0], rates[-1]], "y": [one.accuracy] * 2, "name": one.text, "mode": "lines"}
        figure.add_trace(go.Scatter(**across, line=rival_look(one.name)["line"], hovertemplate="%{y:.1%}"))
    ticks = axis_ticks("", rates)  # without a place for a rate of zero
    figure.update_xaxes(title_text="adapter's rate η, one for all (log)", **ticks)
    return figure.update_layout(margin={**NARROW, "b": 120})


@dataclass(frozen=True)
class CornerView:
    """What the panel shows at its sliders.

    rate, epsilon, rounds: where they stand, and the rounds of a run.
    sides: of the step that follows the newest round; None before there is one.
    noised, quiet, before: surprise after each round, with the noise, without, and of the run before.
    """

    rate: float
    epsilon: float
    rounds: int
    sides: Sides | None
    noised: Points
    quiet: Points
    before: Points
    name: str = "this run"
    before_name: str = "run before"


def corner_data(view: CornerView) -> list[dict[str, Any]]:
    """x, y and name of the panel's seven traces: surprise by round, then the rectangle's parts and the way."""
    curves = [("without the noise", view.quiet), (view.before_name, view.before), (view.name, view.noised)]
    drawn = [{"x": [x for x, _ in points], "y": [y for _, y in points], "name": name} for name, points in curves]
    if view.sides is None:
        return [*drawn, *({"x": [], "y": [], "name": name} for name in ("B·A now", "promised", "corner", "both move"))]
    a, b, da, db = view.sides.A, view.sides.B, view.sides.dA, view.sides.dB
    strips: dict[str, Any] = {
        "x": [a, a + da, a + da, a, a, None, 0, a, a, 0, 0],
        "y": [0, 0, b, b, 0, None, b, b, b + db, b + db, b],
    }
    return [
        *drawn,
        {"x": [0, a, a, 0, 0], "y": [0, 0, b, b, 0], "name": "B·A now"},
        {**strips, "name": "promised: B·ΔA and ΔB·A"},
        {"x": [a, a + da, a + da, a, a], "y": [b, b, b + db, b + db, b], "name": "corner: ΔB·ΔA"},
        {"x": [a, a + da], "y": [b, b + db], "name": "both move"},
    ]


def corner_frame(view: CornerView) -> dict[str, Any]:
    """Ranges of the rectangle's axes: all of it, whatever the rate."""
    most = 1.05 * max(view.sides.A + view.sides.dA, view.sides.B + view.sides.dB) if view.sides else 1.0
    return {"xaxis2": {"range": [0, most]}, "yaxis2": {"range": [0, most]}}


def corner_figure(view: CornerView) -> go.Figure:
    """The live panel: surprise after each round, beside the rectangle of the step that comes next."""
    figure = make_subplots(1, 2, column_widths=[0.55, 0.45], horizontal_spacing=0.13)
    run = {"mode": "lines+markers", "hovertemplate": "round %{x}: %{y:.2%}"}
    styles: list[dict[str, Any]] = [
        {**run, **without_noise(look(TOGETHER))},
        {**run, **look(TOGETHER), "opacity": FAINT},
        {**run, **look(TOGETHER)},
        *(area(kind) for kind in ("now", "promised", "corner")),
        {"mode": "lines+markers", "line": {"color": "#111111", "width": 3}, "marker": {"size": 9}, "showlegend": False},
    ]
    for place, (style, data) in enumerate(zip(styles, corner_data(view), strict=True)):
        figure.add_trace(go.Scatter(**style, **data), 1, 1 if place < 3 else 2)
    figure.update_layout(template=TEMPLATE, title_text=corner_title(view), height=430, autosize=True, margin=NARROW)
    figure.update_layout(legend_traceorder="normal", margin_b=130)
    figure.update_xaxes(title_text="round", range=[0, view.rounds + 0.5], dtick=rounds_tick(view.rounds), col=1)
    figure.update_yaxes(title_text=SURPRISE, type="log", tickformat="~%", range=[-3.2, 1.2], dtick=1, col=1)
    figure.update_xaxes(title_text="A, then ΔA", col=2)
    figure.update_yaxes(title_text="B, then ΔB", col=2)
    return figure.update_layout(corner_frame(view))


def area(kind: str) -> dict[str, Any]:
    """Look of a part of the rectangle; the corner is hatched, so that grey print tells it."""
    pattern = {"fillpattern": {"shape": "x", "fgcolor": "#ffffff", "bgcolor": FILLS[kind], "size": 6}}
    fill = pattern if kind == "corner" else {"fillcolor": FILLS[kind]}
    rim = {"color": NEUTRAL, "width": 1}
    return {"mode": "lines", "fill": "toself", "line": rim, "hoverinfo": "skip", **fill}


def corner_title(view: CornerView) -> str:
    """How large the surprise is, where the sliders stand."""
    at = f"Rate {view.rate:g}, ε = {epsilon_text(view.epsilon)}"
    if not view.noised:
        return f"{at}: no round yet"
    return f"{at}: what nobody promised is {view.noised[-1][1]:.0%} of the promise"
