"""The figure of the ablation's panel: a run by round, and where it lands in the shipped grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.ablation import (
    AXIS_NAMES,
    RATE,
    axis_ticks,
    head_line,
    head_look,
    moved,
    place,
    series_look,
)
from lalora_kit.figures.common import (
    ACCURACY,
    FAINT,
    NEUTRAL,
    TEMPLATE,
    Line,
    band,
    by_round,
    edge,
    rounds_tick,
    seeds,
)
from lalora_kit.figures.pictures.across import RIVAL_LINES, rival_lines, rival_style
from lalora_kit.trial.rivals import Rival


@dataclass(frozen=True)
class Dot:
    """A run finished here: where it lies on the axis, and whether all else is as in the grid's line."""

    method: str
    value: float
    accuracy: float
    text: str
    comparable: bool = True


@dataclass(frozen=True)
class RateView:
    """What the ablation's panel shows. Bands are of the method and settings that are chosen, curves of runs.

    method, name: of the run on show, and its settings in short.
    accuracy, previous, others: by round (None after one that was not evaluated), of this run, of the one before,
        which is called `previous_name`, and of whole runs that differ by their seed only.
    shipped, shipped_name: the grid's runs at the chosen settings, a curve a seed, or what the name says.
    chosen: the method whose line of the grid is drawn.
    axis, values: the setting on the right, and the grid's values of it.
    grid: of the method chosen, accuracies by that setting; `head` of head-only.
    dots: every run finished here.
    rivals: the shipped baselines nearest to the settings chosen.
    at: the chosen value of the setting on the right; None marks nothing.
    """

    method: str
    name: str
    rounds: int
    accuracy: Sequence[float | None]
    grid: Line
    head: Line
    values: Sequence[float]
    axis: str = RATE
    chosen: str = ""
    previous: Sequence[float | None] = ()
    previous_name: str = "run before"
    others: Sequence[Sequence[float | None]] = ()
    shipped: Sequence[Sequence[float]] = ()
    shipped_name: str = "grid"
    dots: Sequence[Dot] = ()
    rivals: Sequence[Rival] = ()
    at: float | None = None


def rate_data(view: RateView) -> list[dict[str, Any]]:
    """What changes in the panel's sixteen traces, in the order of `rate_panel_figure`."""
    chosen = view.chosen or view.method
    own, its = series_look(view.method), series_look(chosen)
    fill = {"fillcolor": edge(its["line"]["color"], fill=True)["fillcolor"]}
    thin = {"line": {"color": its["line"]["color"]}}
    low, high, mean = band(moved(view.grid, view.values))
    least, most, middle = band(by_round(view.shipped))
    before, now = points(view.previous), points(view.accuracy)
    apart = [point for run in view.others for point in (*points(run), (len(run), None))]
    return [
        {"x": [x for x, _ in before], "y": [y for _, y in before], "name": view.previous_name},
        {"x": [x for x, _ in now], "y": [y for _, y in now], "name": view.name, **own},
        low,
        {**high, **fill},
        {**mean, "name": f"grid: {chosen} ({seeds(view.grid)})", **its},
        {**head_line(view.head, view.axis, view.values), "name": f"head-only ({seeds(view.head)})"},
        dots_data(view),
        least,
        {**most, **fill},
        {**middle, "name": f"{view.shipped_name}: {chosen} by round ({seeds(by_round(view.shipped))})", **thin},
        {"x": [x for x, _ in apart], "y": [y for _, y in apart], "line": {"color": own["line"]["color"]}},
        *rival_lines(view.rivals, (0, view.rounds + 0.5)),
        {"x": [] if view.at is None else [place(view.at, view.values)] * 2, "y": [] if view.at is None else [0, 1]},
        {"x": [None], "y": [None]},
    ]


def points(run: Sequence[float | None]) -> list[tuple[int, float | None]]:
    """The rounds that were evaluated, with their accuracy."""
    return [(t, value) for t, value in enumerate(run, start=1) if value is not None]


def dots_data(view: RateView) -> dict[str, Any]:
    """The dots; a run that differs from the grid's line by more than the axis is faint."""
    marks = [series_look(dot.method)["marker"] for dot in view.dots]
    return {
        "x": [place(dot.value, view.values) for dot in view.dots],
        "y": [dot.accuracy for dot in view.dots],
        "text": [dot.text for dot in view.dots],
        "marker": {
            "color": [m["color"] for m in marks],
            "symbol": [m["symbol"] for m in marks],
            "opacity": [1.0 if dot.comparable else FAINT for dot in view.dots],
        },
    }


def rate_layout(view: RateView) -> dict[str, Any]:
    """The right axis: it holds the grid's values and every dot."""
    spots = [place(value, view.values) for value in (*view.values, *(dot.value for dot in view.dots))]
    low = min([*spots, view.values[0] / 2] if view.axis == RATE else spots)
    ends = [math.log10(low / 1.3), math.log10(max(spots) * 1.3)]
    title = {"text": f"{AXIS_NAMES[view.axis].split(',')[0].replace('learning ', '')} (log)"}
    return {"xaxis2": {"title": title, "range": ends, **axis_ticks(view.axis, view.values)}}


def rate_panel_figure(view: RateView) -> go.Figure:
    """The live panel: accuracy as the rounds come in, and the grid that the finished run lands in."""
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.12)
    by_rounds = {"mode": "lines+markers", "hovertemplate": "round %{x}: %{y:.1%}"}
    rim = {"size": 13, "line": {"color": "#222222", "width": 1.5}}
    key = {"mode": "markers", "marker": {**rim, "color": "white", "symbol": "circle"}, "hoverinfo": "skip"}
    faint = {**by_rounds, "mode": "lines", "line": {"width": 1.5}, "opacity": FAINT}
    styles: list[dict[str, Any]] = [
        {**by_rounds, "line": {"color": NEUTRAL, "width": 1.5}, "opacity": 0.4},
        by_rounds,
        edge("#000000"),
        edge("#000000", fill=True),
        {"mode": "lines+markers", "opacity": 0.6, "hovertemplate": "%{x}: %{y:.1%}"},
        head_look(),
        {"mode": "markers", "marker": rim, "showlegend": False, "hovertemplate": "%{text}: %{y:.1%}"},
        edge("#000000"),
        edge("#000000", fill=True),
        {**faint, "line": {"width": 1}, "opacity": 0.6},
        {**faint, "name": "other seeds run here"},
        *([rival_style()] * RIVAL_LINES),
        {
            "mode": "lines",
            "line": {"color": NEUTRAL, "width": 1, "dash": "dot"},
            "name": "the slider",
            "hoverinfo": "skip",
        },
        {**key, "name": "runs made here, each in its method's colour"},
    ]
    for at, (style, data) in enumerate(zip(styles, rate_data(view), strict=True)):
        merged = {**style, **data}
        merged |= {part: {**style.get(part, {}), **data.get(part, {})} for part in ("marker", "line")}
        figure.add_trace(go.Scatter(**merged), 1, 2 if 2 <= at < 7 or at >= len(styles) - 2 else 1)
    figure.update_layout(
        template=TEMPLATE,
        title_text=rate_title(view),
        height=480,
        autosize=True,
        margin_b=130,
        legend_traceorder="normal",
    )
    figure.update_xaxes(title_text="round", range=[0, view.rounds + 0.5], dtick=rounds_tick(view.rounds), col=1)
    figure.update_layout({"xaxis2": {"type": "log"}})
    figure.update_layout(rate_layout(view))
    figure.update_yaxes(title_text=ACCURACY, range=[0, 1], tickformat=".0%", col=1)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", col=2)
    return figure


def rate_title(view: RateView) -> str:
    """What the newest round says."""
    if not view.accuracy:
        return f"{view.method}: ready to train"
    last = view.accuracy[-1]
    told = "not evaluated" if last is None else f"{last:.1%}"
    return f"{view.method}: {told} after {len(view.accuracy)} of {view.rounds} rounds"
